"""The options of what clients see: where the data lies, where the daemon listens, how it serves."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import field

from recollectd.config.addresses import check_loopback
from recollectd.config.declare import Section, option
from recollectd.config.units import GIB, KIB, MIB, YEAR_S
from recollectd.protocol import limits

SOCKET_NAME: Final = "recollectd.sock"
SOCKET_PATH_BYTES_MAX: Final = 107  # sockaddr_un holds 108 bytes with the final zero


class DataOptions(Section, frozen=True):
    """Where the data lies."""

    directory: Annotated[
        str,
        option(
            "The data folder: journal, records and lock. It is made when it does not exist. One daemon per folder.",
            unit="a path",
            raising="Another folder is another store; nothing moves by itself. To move it, stop the daemon.",
            lowering="Left empty, the daemon does not start: it never guesses where data belongs.",
            unsure="a folder of its own on a local disk, not on a network file system.",
        ),
    ] = ""


class ListenOptions(Section, frozen=True):
    """Where clients connect."""

    socket: Annotated[
        str,
        option(
            f"The Unix socket's path. Empty: {SOCKET_NAME} inside the data folder.",
            unit="a path",
            raising=f"Another path, of at most {SOCKET_PATH_BYTES_MAX} bytes, in a folder that exists.",
            lowering="Empty: nothing to configure, and whoever may enter the data folder finds it.",
            unsure="leave it empty; under systemd a path in the service's runtime folder.",
        ),
    ] = ""
    socket_mode: Annotated[
        str,
        option(
            "The Unix socket's permissions, in octal. Who may write to the socket may read and change everything.",
            unit="octal permissions, such as 0660",
            pattern="^0?[0-7]{3}$",
            raising="More permissions, such as 0666, let every user of the machine in.",
            lowering="Fewer, such as 0600, let in the daemon's own user alone.",
            unsure="leave it: the daemon's user and group.",
        ),
    ] = "0660"
    tcp: Annotated[
        list[str],
        option(
            "TCP addresses to listen on beside the Unix socket; loopback only until the daemon authenticates clients.",
            unit="HOST:PORT",
            check=check_loopback,
            raising="Each address lets in every user of this machine, whatever the socket's permissions say.",
            lowering="None: clients need the Unix socket, and its permissions decide.",
            unsure="leave it empty.",
        ),
    ] = field(default_factory=list)

    @property
    def socket_permissions(self) -> int:
        """`socket_mode` as a number for chmod."""
        return int(self.socket_mode, 8)


class ServerOptions(Section, frozen=True):
    """Connections, requests and the order of their work."""

    connections_max: Annotated[
        int,
        option(
            "How many clients may be connected at once; one more is refused with TOO_MANY_CONNECTIONS.",
            unit="connections",
            ge=1,
            le=1_000_000,
            raising="More file descriptors (the process's limit must allow them) and a few KiB of memory each.",
            lowering="Clients are refused earlier; the daemon is safer against a program that leaks connections.",
            unsure="leave it.",
        ),
    ] = 10_000
    idle_timeout_s: Annotated[
        int,
        option(
            "End a connection after so long without a frame, unless its client asked for another time. 0: never.",
            unit="seconds",
            ge=0,
            le=YEAR_S,
            raising="Connections of vanished clients stay longer and count against connections_max.",
            lowering="Clients that pause reconnect more often: about a millisecond each time.",
            unsure="leave it.",
        ),
    ] = 300
    in_flight_bytes_max: Annotated[
        int,
        option(
            "Bytes of requests being worked on, over all connections; over it the answer is BUSY.",
            unit="bytes",
            ge=limits.IN_FLIGHT_BYTES_PER_CONNECTION_MAX,
            le=1 << 40,
            raising="More memory at the worst moment; bursts of large writes get through without a retry.",
            lowering="Clients see BUSY, and retry, earlier.",
            unsure="leave it, or a sixteenth of the machine's memory.",
        ),
    ] = 256 * MIB
    read_threads: Annotated[
        int,
        option(
            "Threads that read from disk what no cache holds.",
            unit="threads",
            ge=1,
            le=256,
            raising="More reads wait for the disk side by side: good on disks that like depth, useless beyond that.",
            lowering="Cold reads queue up behind each other; cached reads do not notice.",
            unsure="leave it.",
        ),
    ] = 4
    drain_timeout_s: Annotated[
        int,
        option(
            "How long a stopping daemon waits for requests that are under way before it ends their connections.",
            unit="seconds",
            ge=0,
            le=3_600,
            raising="Slow requests get to finish; a stop may take that long.",
            lowering="Faster stops; clients of unfinished requests retry after the restart.",
            unsure="leave it, below the supervisor's own stop timeout.",
        ),
    ] = 10
    batch_commits_max: Annotated[
        int,
        option(
            "The most commits made durable by one sync of the journal.",
            unit="commits",
            ge=1,
            le=1_000_000,
            raising="More throughput under many small writes; each of them may wait for a larger group.",
            lowering="Shorter waits, more syncs: throughput falls with the disk's sync time.",
            unsure="leave it.",
        ),
    ] = 4_096
    batch_bytes_max: Annotated[
        int,
        option(
            "The most bytes of commits made durable by one sync; a single larger commit still goes, alone.",
            unit="bytes",
            ge=4 * KIB,
            le=GIB,
            raising="More throughput of large writes; small ones in the same group wait longer.",
            lowering="Shorter waits behind large writes, more syncs.",
            unsure="leave it.",
        ),
    ] = 4 * MIB
    unapplied_bytes_max: Annotated[
        int,
        option(
            "What may be durable in the journal but not yet in the records; at it, writes are answered BUSY.",
            unit="bytes",
            ge=MIB,
            le=64 * GIB,
            raising="Longer bursts are absorbed while the records stall, for that much memory.",
            lowering="BUSY comes earlier when the records' compaction falls behind.",
            unsure="leave it.",
        ),
    ] = 64 * MIB
    head_cache_count: Annotated[
        int,
        option(
            "Heads of records (version, times, tail) kept in memory, so that a write need not read first. 0: from the "
            "machine's memory.",
            unit="heads",
            ge=0,
            le=1_000_000_000,
            raising="Writes to that many recently used records skip a read; about 320 bytes of memory each, taken as "
            "they come.",
            lowering="Writes to other records wait for a read from the records first, at some twice the cost.",
            unsure="leave it: 3 to 8 % of the memory the daemon may use.",
        ),
    ] = 0
    value_cache_bytes: Annotated[
        int,
        option(
            "Memory for values as they go out: state records, and the newest items of logs and conversations. What is "
            "there is read without a thread. 0: from the machine's memory.",
            unit="bytes",
            ge=0,
            le=32 * GIB - 8,
            raising="More reads never reach RocksDB. The memory is taken as it fills and not given back.",
            lowering="More reads go to RocksDB's own cache, at some ten times the cost, or to the disk.",
            unsure="leave it: 5 to 20 % of the memory the daemon may use.",
        ),
    ] = 0
    memory_cache_bytes: Annotated[
        int,
        option(
            "Memory for semantic memories as searches read them, decoded (3/8 of it), for which of many more are "
            "in sight (3/8), and for what filters allow. 0: none of it.",
            unit="bytes",
            ge=0,
            le=1 << 40,
            raising="Searches in more and larger namespaces read no records; about 1.5 KB for each memory.",
            lowering="More searches fetch and decode what they find, some 15 us for each memory, or filter anew.",
            unsure="1,500 times the number of memories that are searched again and again.",
        ),
    ] = 128 * MIB
    vector_recall_percent: Annotated[
        int,
        option(
            "How many of the truly nearest vectors searches in graphs find at least: samples are asked again exactly, "
            "and each space is searched so far that they show it at 95 %. 0: as far as `server.vector_effort` says, "
            "whatever comes of it.",
            unit="percent",
            ge=0,
            le=99,
            raising="Fewer of the nearest are missed; searches cost more: .97 costs half as much again as .95.",
            lowering="Searches cost less and miss more.",
            unsure="leave it; `status` tells the recall that searches have.",
        ),
    ] = 95
    vector_effort: Annotated[
        int,
        option(
            "How many vectors near the query a search in a graph keeps in view (`ef`), until it is known how many "
            "`server.vector_recall_percent` needs. Spaces of up to 10,000 vectors and strict filters are searched "
            "exactly, whatever this is.",
            unit="vectors",
            ge=16,
            le=1_024,
            raising="More of the true nearest are found; a search costs more, about in proportion.",
            lowering="Searches cost less and miss more; `status` tells the recall that searches have.",
            unsure="leave it: .97 of the ten nearest of 100,000 sentences are found.",
        ),
    ] = 64
    vector_exact_rows_max: Annotated[
        int,
        option(
            "Spaces of up to so many vectors are searched exactly; larger ones get a graph.",
            unit="vectors",
            ge=1,
            le=10_000_000,
            raising="Nothing is missed in larger spaces; a search costs in proportion, 60 us for each 1,000 vectors.",
            lowering="Smaller spaces are searched by graph: sooner, and now and then one of the nearest is missed.",
            unsure="leave it.",
        ),
    ] = 10_000
    vector_flush_rows: Annotated[
        int,
        option(
            "So many vectors of a space may wait in memory before a process begins to merge them into its files.",
            unit="vectors",
            ge=8,
            le=100_000,
            raising="Fewer and larger merges; searches look at more vectors one by one meanwhile.",
            lowering="More merges, each of which begins a process; searches under a load of writes cost less.",
            unsure="leave it.",
        ),
    ] = 16_384
    keyword_flush_bytes: Annotated[
        int,
        option(
            "Memory of keywords from which on they are written to a segment.",
            unit="bytes",
            ge=4 * KIB,
            le=GIB,
            raising="Fewer and larger segments; more memory, and more to be told again after a crash.",
            lowering="Less memory; more segments are written and merged.",
            unsure="leave it.",
        ),
    ] = 64 * MIB
    erase_interval_s: Annotated[
        int,
        option(
            "How often what was deleted or replaced is erased from the files of keywords and vectors, if anything "
            "was. Searches never see it, erased or not. 0: only when asked, by `recollectd erase`.",
            unit="seconds",
            ge=0,
            le=YEAR_S,
            raising="Bytes of deleted memories stay in files for longer; fewer files are written anew.",
            lowering="They are gone sooner; every time, files with something deleted in them are written anew.",
            unsure="leave it: a day.",
        ),
    ] = 86_400
    touch_interval_ms: Annotated[
        int,
        option(
            "Reads that extend a time to live are gathered so long before one event records them.",
            unit="milliseconds",
            ge=1,
            le=60_000,
            raising="Fewer events for often-read records; a crash forgets up to that much of extension.",
            lowering="A crash forgets less; more journal and records traffic from mere reads.",
            unsure="leave it.",
        ),
    ] = 1_000
    sweep_interval_ms: Annotated[
        int,
        option(
            "How often expired records and pruned history are removed. Reads never see what has expired, swept or not.",
            unit="milliseconds",
            ge=10,
            le=3_600_000,
            raising="Fewer, larger sweeps; expired data stays on disk longer.",
            lowering="Disk is freed sooner, for more wake-ups of an idle daemon.",
            unsure="leave it.",
        ),
    ] = 500
    session_retention_s: Annotated[
        int,
        option(
            "How long the outcomes of a silent client's writes are remembered, so that its retries are not done twice.",
            unit="seconds",
            ge=60,
            le=YEAR_S,
            raising="A client may come back later and still learn what became of its writes; more disk per session.",
            lowering="A client away for longer gets OUTCOME_UNKNOWN and must read to see.",
            unsure="leave it.",
        ),
    ] = 7_200
    sessions_max: Annotated[
        int,
        option(
            "Sessions remembered at once; beyond it new clients are told BUSY until silent ones have been forgotten.",
            unit="sessions",
            ge=1,
            le=10_000_000,
            raising="More clients may have written within the retention time, at some 500 bytes of memory each.",
            lowering="Less memory; commands run in a loop, a session each, meet the bound sooner.",
            unsure="leave it.",
        ),
    ] = 200_000
    clock_step_s_max: Annotated[
        int,
        option(
            "A forward jump of the clock larger than this pauses expiry, and says so, until an operator has looked.",
            unit="seconds",
            ge=1,
            le=YEAR_S,
            raising="Larger jumps count as real time: a wrong clock can expire what should have lived.",
            lowering="Smaller corrections of the clock pause expiry.",
            unsure="leave it.",
        ),
    ] = 3_600
    exit_when_idle_s: Annotated[
        float,
        option(
            "End the daemon after so long without a connection. 0: never.",
            unit="seconds",
            ge=0,
            le=YEAR_S,
            raising="A daemon started on demand stays warm longer for its next client.",
            lowering="It goes sooner; the next client waits for its start.",
            unsure="leave it; only daemons that clients start by themselves set it.",
        ),
    ] = 0.0
    slow_log_ms: Annotated[
        int,
        option(
            "Requests that took at least so long are logged, without their values. 0: none.",
            unit="milliseconds",
            ge=0,
            le=3_600_000,
            raising="Only the worst are logged.",
            lowering="More of them; below the disk's sync time that is nearly every write.",
            unsure="leave it.",
        ),
    ] = 100
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        option(
            "The least severity that is logged, to standard error. Values of records are never logged.",
            raising="warning and error leave out the daemon's normal life, such as its start.",
            lowering="debug tells of every connection and batch, which costs throughput.",
            unsure="leave it.",
        ),
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"],
        option(
            "The form of log lines.",
            raising="json is one object a line, for log collectors.",
            lowering="text is for people.",
            unsure="text, unless something collects the logs.",
        ),
    ] = "text"
