"""Messages about semantic memories. Tags 96-111 (requests), 96-111 (replies)."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from recollectd.protocol import limits
from recollectd.protocol.messages.fields import (
    Cursor,
    Metadata,
    Namespace,
    OptionalMoment,
    OptionalTime,
    OptionalTtl,
    OptionalVersion,
    PageLimit,
    Part,
    Reply,
    Request,
    Revision,
    Time,
    Vectors,
    Version,
    Write,
    nil_to_none,
)

MemoryId = Annotated[str, Meta(description=f"0 < bytes of UTF-8 <= {limits.KEY_BYTES_MAX}")]
Text = Annotated[str, Meta(description=f"0 < bytes of UTF-8 <= {limits.TEXT_BYTES_MAX}")]
Label = Annotated[str, Meta(description=f"what sort of memory it is, at most {limits.LABEL_BYTES_MAX} bytes, or empty")]
Place = Annotated[
    tuple[float, float] | None, Meta(description="latitude and longitude in degrees (WGS 84), or nil for nowhere")
]
Importance = Annotated[
    Annotated[float, Meta(ge=0, le=1)] | None, Meta(description="0 to 1, or nil where nobody has said")
]
Filter = Annotated[
    str, Meta(description=f"an expression of the filter grammar, at most {limits.FILTER_BYTES_MAX} bytes; empty: all")
]
Hidden = Annotated[bool, Meta(description="also what is forgotten or superseded")]
Lacking = Annotated[
    str, Meta(description="only memories without a vector in this vector space, or alias; empty: whatever they have")
]
ChangedSince = Annotated[int, Meta(ge=0, description="only memories changed behind this commit; 0: all")]
SpaceName = Annotated[str, Meta(description=f"0 < bytes of UTF-8 <= {limits.LABEL_BYTES_MAX}")]


class NewMemory(Part, frozen=True):
    """One memory to write."""

    text: Text
    memory_id: Annotated[str | None, Meta(description="the caller's id, or nil for one of the daemon's")] = None
    kind: Label = ""
    metadata: Metadata = None
    importance: Importance = None
    pinned: Annotated[bool, Meta(description="never to be distilled or dropped")] = False
    valid_at: OptionalMoment = None
    place: Place = None
    derived_from: Annotated[
        tuple[str, ...], Meta(description=f"ids of what it was made from, up to {limits.DERIVED_FROM_MAX}")
    ] = ()
    conversation_id: Annotated[
        str | None, Meta(description="the conversation it was said in; its order there is the order of adding")
    ] = None
    vectors: Vectors = None
    ttl_us: OptionalTtl = None

    def __post_init__(self) -> None:
        nil_to_none(self, "metadata")


class MemoryAdd(Write, frozen=True, tag=96):
    """Adds memories, all or none. Answered by `MemoriesStored`; a known id is `ALREADY_EXISTS`."""

    namespace: Namespace
    memories: Annotated[tuple[NewMemory, ...], Meta(description=f"1 to {limits.OPERATIONS_PER_FRAME_MAX}")]
    if_new: Annotated[
        bool, Meta(description="a memory whose id, or whose very text, the namespace has is not written but named")
    ] = False


class MemoryStored(Part, frozen=True):
    """One memory that was written, or that was there before."""

    memory_id: MemoryId
    version: Version
    created_at: Time
    updated_at: Time
    duplicate: Annotated[bool, Meta(description="true: nothing was written, this memory says the same")] = False


class MemoriesStored(Reply, frozen=True, tag=96):
    """Answers `MemoryAdd` and `MemoryReplace`, in the order sent."""

    memories: Annotated[tuple[MemoryStored, ...], Meta(description="one for each memory sent")]


class MemoryReplace(Write, frozen=True, tag=97):
    """Writes a memory's next version. Answered by `MemoriesStored`; `NOT_FOUND` where there is none.

    All fields are replaced, but vectors where they are nil and the text is the same: those are kept. The conversation
    stays what it was.
    """

    namespace: Namespace
    memory: Annotated[NewMemory, Meta(description="with its memory_id")]
    if_version: OptionalVersion = None
    keep_expiry: Annotated[bool, Meta(description="true: it expires when it would have; ttl_us must be nil")] = False


class MemoryGet(Request, frozen=True, tag=98):
    """Reads memories by id, also forgotten and superseded ones. Answered by `Memories`."""

    namespace: Namespace
    memory_ids: Annotated[tuple[str, ...], Meta(description=f"up to {limits.OPERATIONS_PER_FRAME_MAX} ids")]
    vectors: Annotated[bool, Meta(description="with their vectors")] = False


class Memory(Part, frozen=True):
    """One memory."""

    memory_id: MemoryId
    text: Text
    version: Version
    created_at: Time
    updated_at: Time
    revision: Revision
    kind: Label = ""
    metadata: Metadata = None
    importance: Importance = None
    pinned: Annotated[bool, Meta(description="never to be distilled or dropped")] = False
    valid_at: OptionalMoment = None
    place: Place = None
    derived_from: Annotated[tuple[str, ...], Meta(description="ids of what it was made from")] = ()
    conversation_id: Annotated[str | None, Meta(description="the conversation it was said in")] = None
    position: Annotated[int, Meta(ge=0, description="where in the conversation, from 0; 0 without one")] = 0
    expires_at: OptionalTime = None
    forgotten_at: OptionalTime = None
    superseded_at: OptionalTime = None
    superseded_by: Annotated[str | None, Meta(description="the id of the memory that took its place")] = None
    vectors: Vectors = None
    role: Annotated[
        str, Meta(description="`user` or `assistant` where this is a message of a conversation, found by a search")
    ] = ""
    access_count: Annotated[int, Meta(ge=0, description="how often it was found, where the namespace counts that")] = 0
    last_accessed: OptionalTime = None

    def __post_init__(self) -> None:
        nil_to_none(self, "metadata")


class Memories(Reply, frozen=True, tag=98):
    """Answers `MemoryGet`, in the order asked, nil where absent.

    Ends early after `page_bytes_max` bytes: ask again for the ids that are missing at the end.
    """

    memories: Annotated[tuple[Memory | None, ...], Meta(description="one for each id asked, or fewer")]


class MemoryForget(Write, frozen=True, tag=99):
    """Hides a memory from lists and searches without deleting it. Answered by `MemoryMarked`."""

    namespace: Namespace
    memory_id: MemoryId
    if_version: OptionalVersion = None
    undo: Annotated[bool, Meta(description="true: it is remembered again")] = False


class MemorySupersede(Write, frozen=True, tag=100):
    """Says that another memory took this one's place, which hides it. Answered by `MemoryMarked`.

    Both must be there (`NOT_FOUND`), and differ. A memory cannot take the place of one that took its own, however
    many lie between: they would hide each other.
    """

    namespace: Namespace
    memory_id: MemoryId
    superseded_by: MemoryId
    if_version: OptionalVersion = None


class MemoryMarked(Reply, frozen=True, tag=99):
    """Answers `MemoryForget` and `MemorySupersede`."""

    version: Version
    forgotten_at: OptionalTime
    superseded_at: OptionalTime


class MemoryDelete(Write, frozen=True, tag=101):
    """Deletes a memory, its vectors and its place in every index; versions stay as long as history does.

    Answered by `Deleted`.
    """

    namespace: Namespace
    memory_id: MemoryId
    if_version: OptionalVersion = None


class MemoryList(Request, frozen=True, tag=102):
    """Walks memories in the order of their ids' bytes. Answered by `MemoryPage`.

    A page may be empty and still have a cursor: the walk examines a bounded number of memories a step.
    """

    namespace: Namespace
    filter: Filter = ""
    hidden: Hidden = False
    limit: PageLimit = limits.PAGE_ITEMS_DEFAULT
    cursor: Cursor = b""
    vectors: Annotated[bool, Meta(description="with their vectors")] = False
    lacking: Lacking = ""
    changed_since: ChangedSince = 0


class MemoryPage(Reply, frozen=True, tag=102):
    """Answers `MemoryList`."""

    memories: Annotated[tuple[Memory, ...], Meta(description="in the order of the walk")]
    cursor: Cursor
    valid_until: Annotated[int, Meta(description="the earliest expiry among what was seen: for a range guard")]
    position: Annotated[int, Meta(ge=0, description="the commit it is as of, for guards and `changed_since`")] = 0


class MemoryCount(Request, frozen=True, tag=103):
    """Counts memories, in bounded steps. Answered by `Counted`."""

    namespace: Namespace
    filter: Filter = ""
    hidden: Hidden = False
    cursor: Cursor = b""
    lacking: Lacking = ""
    changed_since: ChangedSince = 0


class MemoryHistory(Request, frozen=True, tag=104):
    """Reads a memory's versions, newest first, without vectors. Answered by `MemoryVersions`."""

    namespace: Namespace
    memory_id: MemoryId
    limit: PageLimit = limits.PAGE_ITEMS_DEFAULT
    before_version: OptionalVersion = None


class MemoryVersion(Part, frozen=True):
    """One version of a memory."""

    version: Version
    updated_at: Time
    memory: Annotated[NewMemory | None, Meta(description="what was written, or nil from which it was absent")]


class MemoryVersions(Reply, frozen=True, tag=104):
    """Answers `MemoryHistory`."""

    versions: Annotated[tuple[MemoryVersion, ...], Meta(description="newest first")]
    next_before: Annotated[int, Meta(ge=0, description="before_version for the next page; 0: no more")]
    first_version: Annotated[int, Meta(ge=0, description="the oldest version still kept; 0: no such memory")]


KEYWORD_WEIGHT_DEFAULT: Final = 3.0
NEIGHBOURS_DEFAULT: Final = 0.15
SPEAKER_DEFAULT: Final = 0.2
EXPANSION_DEFAULT: Final = 0.3
TURNS_DEFAULT: Final = 0.2
MEMORIES: Final = "memories"
MESSAGES: Final = "messages"
BOTH: Final = "both"


class MemorySearch(Request, frozen=True, tag=105):
    """Searches memories by words, by vectors, or by both. Answered by `MemoryResults`, or `MemoryRanks`.

    Without `mode` it is by what is given. Scores are fused from each arm's, normalised over its own best 400; what lies
    behind those of every arm comes last, with scores of 0 or less. All pages are of one order, however long each is.
    """

    namespace: Namespace
    text: Annotated[str, Meta(description=f"words, at most {limits.QUERY_BYTES_MAX} bytes; empty: none")] = ""
    vectors: Vectors = None
    weights: Annotated[
        dict[str, float] | None,
        Meta(description="of `keyword` (3 where nothing is said) and of spaces by the names used here (1)"),
    ] = None
    filter: Filter = ""
    limit: Annotated[int, Meta(ge=1, le=limits.SEARCH_RESULTS_MAX, description="results of one page")] = 10
    mode: Annotated[str, Meta(description="`keyword`, `vector`, `hybrid`, or empty")] = ""
    as_of: Annotated[OptionalMoment, Meta(description="only what was so then, in microseconds; nil: now")] = None
    min_score: Annotated[float, Meta(description="only results with at least this score; 0: any")] = 0.0
    hidden: Hidden = False
    exact: Annotated[bool, Meta(description="compare with every vector instead of asking a graph")] = False
    explain: Annotated[bool, Meta(description="with the details of every score")] = False
    recency_half_life_us: Annotated[
        int, Meta(ge=0, description="halves a score for every so many microseconds of age; 0: off")
    ] = 0
    importance_weight: Annotated[
        float, Meta(ge=0, le=1, description="how much of a score importance decides; 0: off")
    ] = 0.0
    diversity: Annotated[
        float, Meta(ge=0, le=1, description="how much to prefer what differs from better results; 0: off")
    ] = 0.0
    neighbours: Annotated[
        float, Meta(ge=0, le=1, description="how much of a memory's score those beside it in conversation get; 0: off")
    ] = NEIGHBOURS_DEFAULT
    speaker: Annotated[
        float, Meta(ge=0, le=4, description="how much more counts what is said by whom the words name; 0: off")
    ] = SPEAKER_DEFAULT
    cursor: Cursor = b""
    expansion: Annotated[float, Meta(ge=0, le=4, description="what words of first results add; 0: off")] = (
        EXPANSION_DEFAULT
    )
    among: Annotated[
        str, Meta(description="`memories`, `messages` of the namespace's conversations, or `both` in one ranking")
    ] = MEMORIES
    access_weight: Annotated[
        float, Meta(ge=0, le=1, description="how much of a score it decides how often a memory was found; 0: off")
    ] = 0.0
    access_half_life_us: Annotated[
        int, Meta(ge=0, description="halves that for so many microseconds since it was found last; 0: never")
    ] = 0
    records: Annotated[
        bool,
        Meta(description="false: ids and scores of memories alone, without cursor and details, which costs the least"),
    ] = True
    effort: Annotated[
        int,
        Meta(ge=0, le=limits.VECTOR_EFFORT_MAX, description="how far graphs are searched; 0: as the daemon sees fit"),
    ] = 0
    turns: Annotated[
        float, Meta(ge=0, le=1, description="how much more counts what answers a question, or says much; 0: off")
    ] = TURNS_DEFAULT


class ScoreDetail(Part, frozen=True):
    """What one arm said of one result."""

    arm: Annotated[str, Meta(description="`keyword`, or a vector space, with the view of the text it looked at")]
    rank: Annotated[int, Meta(ge=1, description="place among the arm's results, from 1")]
    raw: Annotated[float, Meta(description="the arm's own score")]
    normalised: Annotated[float, Meta(description="the score between the worst (0) and best (1) of those looked at")]
    weight: Annotated[float, Meta(description="the arm's weight")]


class MemoryResult(Part, frozen=True):
    """One result."""

    memory: Annotated[Memory, Meta(description="what was found")]
    score: Annotated[float, Meta(description="what results are ordered by, descending; of one arm alone the arm's")]
    details: Annotated[tuple[ScoreDetail, ...], Meta(description="of every arm that found it, if asked for")] = ()
    recency: Annotated[float, Meta(description="the factor of age; 1 where it is off")] = 1.0
    importance: Annotated[float, Meta(description="the factor of importance; 1 where it is off")] = 1.0
    speaker: Annotated[float, Meta(description="the factor of the one named; 1 where it is off")] = 1.0
    neighbours: Annotated[float, Meta(description="what was added for results beside it in conversation")] = 0.0
    highlights: Annotated[
        tuple[tuple[int, int], ...], Meta(description="where the text has words of the query, if details are asked for")
    ] = ()
    access: Annotated[float, Meta(description="the factor of how often it was found; 1 where it is off")] = 1.0
    turn: Annotated[float, Meta(description="the factor of a turn in conversation; 1 where it is off")] = 1.0


class MemoryResults(Reply, frozen=True, tag=105):
    """Answers `MemorySearch`."""

    results: Annotated[tuple[MemoryResult, ...], Meta(description="best first")]
    cursor: Cursor = b""


class MemoryRanks(Reply, frozen=True, tag=107):
    """Answers `MemorySearch` without records."""

    memory_ids: Annotated[tuple[str, ...], Meta(description="best first")]
    scores: Annotated[tuple[float, ...], Meta(description="of each of them")]


class MemoryContext(Request, frozen=True, tag=106):
    """Searches, and assembles what was found with its neighbours in conversation. Answered by `ContextText`."""

    search: Annotated[MemorySearch, Meta(description="what to search for, with its tag")]
    tokens: Annotated[int, Meta(ge=1, le=limits.CONTEXT_TOKENS_MAX, description="the budget; 4 characters are one")]
    beside: Annotated[int, Meta(ge=0, le=8, description="how many before and behind each result")] = 1


class ContextText(Reply, frozen=True, tag=106):
    """Answers `MemoryContext`: lines in the order of conversations and times, none twice."""

    text: Annotated[str, Meta(description="one line a memory, with its date")]
    memory_ids: Annotated[tuple[str, ...], Meta(description="of the memories used, in the order of the text")]
    tokens: Annotated[int, Meta(ge=0, description="what the text takes of the budget")]
