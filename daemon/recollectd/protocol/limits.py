"""Every bound of the protocol and of the store's contents, with its unit last, and how the bounds relate.

A bound is here because somebody would otherwise find it out by running out of memory. Bounds an operator may change
are options (`recollectd.config`); what stands here is the same for every daemon, and the handshake tells it to clients.
"""

from typing import Final

PROTOCOL_VERSION: Final = 1

# Wire.
FRAME_BYTES_MAX: Final = 32 * 1024 * 1024
OPERATIONS_PER_FRAME_MAX: Final = 8_192
REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX: Final = 4_096
IN_FLIGHT_BYTES_PER_CONNECTION_MAX: Final = 64 * 1024 * 1024
WATCHES_PER_CONNECTION_MAX: Final = 64
WATCH_QUEUE_BYTES_MAX: Final = 8 * 1024 * 1024
DEADLINE_MS_DEFAULT: Final = 60_000
DEADLINE_MS_MAX: Final = 3_600_000
CLIENT_NAME_BYTES_MAX: Final = 128

# Exactly once: a session remembers the outcome of at most this many numbers below its highest.
SESSION_ID_BYTES: Final = 16
SESSION_WINDOW_NUMBERS: Final = 4_096
SESSION_OUTCOMES_BYTES_MAX: Final = 16 * 1024 * 1024
CLIENT_NUMBER_SPAN_MAX: Final = 2_048

# Names.
NAMESPACE_LABELS_MAX: Final = 16
LABEL_BYTES_MAX: Final = 128
KEY_BYTES_MAX: Final = 1_024
MESSAGE_ID_BYTES_MAX: Final = 256

# Contents.
VALUE_BYTES_MAX: Final = 8 * 1024 * 1024
VALUE_DEPTH_MAX: Final = 64
CONTENT_BYTES_MAX: Final = 4 * 1024 * 1024
METADATA_BYTES_MAX: Final = 64 * 1024
TEXT_BYTES_MAX: Final = 256 * 1024
DERIVED_FROM_MAX: Final = 256
SUCCESSORS_MAX: Final = 1_000
VECTOR_DIMENSIONS_MAX: Final = 4_096
VECTORS_PER_MEMORY_MAX: Final = 16
VECTOR_EFFORT_MAX: Final = 1_024
EMBEDDED_MAX: Final = 64
TTL_US_MAX: Final = 100 * 366 * 86_400 * 1_000_000
TIME_US_MAX: Final = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999Z
VALID_AT_US_MIN: Final = -62_135_596_800_000_000

# One request's work.
COMMIT_BYTES_MAX: Final = 24 * 1024 * 1024
PAGE_ITEMS_MAX: Final = 10_000
PAGE_ITEMS_DEFAULT: Final = 100
PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
SCAN_KEYS_EXAMINED_MAX: Final = 20_000
PATTERN_BYTES_MAX: Final = 1_024
CURSOR_BYTES_MAX: Final = 4_096
FILTER_BYTES_MAX: Final = 16 * 1024
FILTER_DEPTH_MAX: Final = 32
QUERY_BYTES_MAX: Final = 64 * 1024
SEARCH_RESULTS_MAX: Final = 1_000
CONTEXT_TOKENS_MAX: Final = 256 * 1024

assert VALUE_BYTES_MAX <= COMMIT_BYTES_MAX <= FRAME_BYTES_MAX <= IN_FLIGHT_BYTES_PER_CONNECTION_MAX
assert PAGE_BYTES_MAX + VALUE_BYTES_MAX <= FRAME_BYTES_MAX, "a page may be exceeded by its last value"
assert EMBEDDED_MAX * VECTORS_PER_MEMORY_MAX * VECTOR_DIMENSIONS_MAX * 4 < COMMIT_BYTES_MAX, "all vectors of each"
assert CONTENT_BYTES_MAX <= VALUE_BYTES_MAX
assert CLIENT_NUMBER_SPAN_MAX * 2 <= SESSION_WINDOW_NUMBERS, "a client's unanswered writes stay well inside the window"
assert SESSION_WINDOW_NUMBERS <= 0xFFFF, "the span travels as 16 bits"
assert DEADLINE_MS_DEFAULT <= DEADLINE_MS_MAX
assert KEY_BYTES_MAX + NAMESPACE_LABELS_MAX * (LABEL_BYTES_MAX + 1) + 64 <= CURSOR_BYTES_MAX

MEANINGS: Final[dict[str, str]] = {
    "protocol_version": "the newest version of this protocol",
    "frame_bytes_max": "a whole frame, header included",
    "operations_per_frame_max": "operations of a batch or transaction, items, keys or messages of one request",
    "requests_in_flight_per_connection_max": "requests sent and not answered; beyond: `BUSY`",
    "in_flight_bytes_per_connection_max": "bytes of those requests; beyond: `BUSY`",
    "watches_per_connection_max": "watches open at once on one connection",
    "watch_queue_bytes_max": "what waits for a watcher that does not read; beyond: `RESYNC`",
    "deadline_ms_default": "the deadline of a request that names none",
    "deadline_ms_max": "the longest deadline",
    "client_name_bytes_max": "a client's name",
    "session_id_bytes": "a session id is exactly this long",
    "session_outcomes_bytes_max": "bytes of replies a session remembers; beyond, the oldest outcomes are forgotten",
    "session_window_numbers": "how many numbers below its highest a session remembers the outcomes of",
    "client_number_span_max": "a client has at most so many numbers between its lowest unanswered and its next one",
    "namespace_labels_max": "labels of a namespace",
    "label_bytes_max": "one label, in UTF-8",
    "key_bytes_max": "a key, log id or conversation id, in UTF-8",
    "message_id_bytes_max": "a message id, in UTF-8",
    "value_bytes_max": "one value or item, in msgpack",
    "value_depth_max": "how deep maps and arrays of a value may lie in each other",
    "content_bytes_max": "the content of one message, in UTF-8",
    "metadata_bytes_max": "metadata, in msgpack",
    "ttl_us_max": "the longest time to live",
    "time_us_max": "the last time there is; stands for never",
    "valid_at_us_min": "the first time that a memory may have been true at: the year 1",
    "text_bytes_max": "the text of one memory, in UTF-8",
    "derived_from_max": "ids a memory may name as what it was made from",
    "successors_max": "memories that took each other's place, one after the other, before one that takes another's",
    "vector_dimensions_max": "components of a vector",
    "vectors_per_memory_max": "vector spaces one memory has vectors in",
    "vector_effort_max": "of a search's effort: how many vectors near the query a graph keeps in view",
    "embedded_max": "memories that one request gives a vector",
    "commit_bytes_max": "what one request may write",
    "page_items_max": "the greatest `limit` of a page",
    "page_items_default": "the `limit` of a page where none is given",
    "page_bytes_max": "a page ends after so many bytes, even before its `limit`",
    "scan_keys_examined_max": "keys that one page of a walk looks at",
    "pattern_bytes_max": "a glob pattern, in UTF-8",
    "cursor_bytes_max": "a cursor",
    "filter_bytes_max": "a filter expression, in UTF-8",
    "filter_depth_max": "how deep the parts of a filter may lie in each other",
    "query_bytes_max": "the words of a search, in UTF-8",
    "search_results_max": "the greatest `limit` of a search, and of all its pages together",
    "context_tokens_max": "the greatest budget of a context",
}


def table() -> dict[str, int]:
    """Return every limit by its lower-case name, as the handshake and the protocol document give them."""
    return {name.lower(): value for name, value in globals().items() if name.isupper() and isinstance(value, int)}


assert set(MEANINGS) == set(table()), "every limit has one meaning, and nothing else has"
