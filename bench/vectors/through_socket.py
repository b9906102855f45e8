"""The same vectors as memories of a daemon: what a search costs it, the socket and the record included.

A memory of one word for each vector, with a number from 0 to 99 as metadata, added by the public client; then searches
by vector alone for the ten nearest, sent as frames, so that no client is measured along. Like the peers, the daemon is
given the least effort with which recall@10 is .95, found through the socket; CPU time is that of the whole process, in
rounds that alternate with those of the peers. `ids` asks for ids and scores, which is what the peers answer; `records`
for the memories, too; `own effort` leaves the effort to the daemon, whose samples for its recall are counted along.
"""

from __future__ import annotations

import itertools
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Raw, msgpack

from bench.latency import percentiles
from bench.pauses import MachinePauses
from bench.process import DaemonProcess
from bench.report import Report
from bench.vectors.data import NEAREST, Data, Floats, nearest, recall
from bench.vectors.engines import Engine, cpu_us
from bench.wire import Connection, failure
from recollectd.client import Client, NewMemory
from recollectd.protocol import errors, table
from recollectd.protocol.frames import RequestHeader, pack_request
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages.memories import MemoryAdd, MemoryRanks, MemoryResults, MemorySearch
from recollectd.storage.vectors.effort import SAMPLES_MAX
from recollectd.storage.vectors.options import VectorOptions

NAMESPACE: Final = "vectors"
SPACE: Final = "texts"
BATCH: Final = 250
IN_FLIGHT: Final = (1, 8)
ROUNDS: Final = 3
RECALL: Final = 0.95
# Until the daemon has sampled so many searches it takes them in haste; its own effort stands when it knows as many.
SAMPLES_ENOUGH: Final = SAMPLES_MAX
SETTLING_ROUNDS_MAX: Final = 100
CHURN_ROUNDS: Final = 10
FILTERS: Final = (50, 10, 1)
FILTER_QUERIES: Final = 200
BURST_BATCH: Final = 50
BURST_PER_S: Final = 5_250
SEARCH_PAUSE_S: Final = 0.005


class Asked:
    """Searches over one raw connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ask(
        self, queries: Floats, in_flight: int = 1, filter: str = "", *, records: bool = False, effort: int = 0
    ) -> list[list[int]]:
        """Return the rows that searches find, of which so many are under way at a time."""
        bodies = [table.encode(request_of(query, filter, records=records, effort=effort)) for query in queries]
        found: dict[int, list[int]] = {}
        ids: list[int] = []
        while len(found) < len(bodies):
            # What there is room for leaves together, as from any client that has several searches under way.
            room = bodies[len(ids) : len(found) + in_flight]
            new = [self._connection.next_id() for _ in room]
            self._connection.send(
                b"".join(
                    pack_request(RequestHeader(request_id, 0, 0, 0, 0, 0), body)
                    for request_id, body in zip(new, room, strict=True)
                )
            )
            ids += new
            self._take(found)
            while self._connection.received:
                self._take(found)
        return [found[request_id] for request_id in ids]

    def _take(self, found: dict[int, list[int]]) -> None:
        reply = self._connection.receive()
        decoded = reply.decode()
        if refused := failure(decoded):
            raise refused
        if isinstance(decoded, MemoryRanks):
            found[reply.request_id] = [int(memory_id) for memory_id in decoded.memory_ids]
            return
        assert isinstance(decoded, MemoryResults)
        found[reply.request_id] = [int(result.memory.memory_id) for result in decoded.results]


def request_of(query: Floats, filter: str = "", *, records: bool = False, effort: int = 0) -> MemorySearch:
    """Return a search for the nearest memories alone; records: with what they say, else ids and scores."""
    vectors = {SPACE: query.tobytes()}
    return MemorySearch(
        (NAMESPACE,),
        vectors=vectors,
        filter=filter,
        limit=NEAREST,
        neighbours=0.0,
        turns=0.0,
        records=records,
        effort=effort,
    )


@contextmanager
def filled(folder: Path, base: Floats, options: dict[str, object], report: Report) -> Iterator[DaemonProcess]:
    """A daemon with a memory for each row, all of them merged."""
    folder.mkdir()
    with DaemonProcess(folder) as daemon:
        daemon.start(options)
        with Client(f"unix://{daemon.socket}", name="bench", timeout=120.0) as client:
            view = client.with_namespace(NAMESPACE)
            view.vector_spaces.create(SPACE, base.shape[1], precision="f32")
            started = time.monotonic()
            refused = add(client, base, range(len(base)))
            rate = len(base) / (time.monotonic() - started)
            case = f"{len(base):,} x {base.shape[1]}"
            report.add("adds through the socket", case, unit="memories/s", ours=rate)
            report.add("  answered BUSY", case, unit="times", ours=refused)
            settle(client)
            report.add("  until all are in graphs", case, unit="s", ours=time.monotonic() - started)
        yield daemon


def add(client: Client, base: Floats, rows: Sequence[int], batch: int = BATCH) -> int:
    """Add rows as memories; return how often the daemon was busy."""
    memories = client.with_namespace(NAMESPACE).memories
    refused = 0
    for start in range(0, len(rows), batch):
        new = [
            NewMemory("word", str(row), metadata={"share": row % 100}, vectors={SPACE: base[row % len(base)]})
            for row in rows[start : start + batch]
        ]
        while True:
            try:
                memories.add_many(new)
                break
            except errors.Busy as busy:
                refused += 1
                time.sleep((busy.retry_after_ms or 100) / 1_000)
    return refused


def settle(client: Client) -> None:
    """Wait until no vector waits to be merged, but for a few."""
    few = VectorOptions().quiet_rows_min
    while True:
        figures = client.status()["views"]["memories"]
        left = figures["waiting"] + figures["vectors"]["delta_rows"]
        if left < few and not figures["vectors"]["merging_rows"]:
            return
        time.sleep(0.1)


def compare(daemon: DaemonProcess, data: Data, peers: Sequence[Engine], report: Report, ratio_max: float) -> None:
    """CPU of the daemon per search beside the peers', at the effort they were given."""
    case = f"{len(data.base):,} x {data.base.shape[1]}, through the socket"
    with Connection(daemon.socket) as connection:
        asked = Asked(connection)
        effort, reached = _least_effort(asked, data)
        report.add("effort (ef) for recall@10", case, unit="", ours=effort)
        report.add("  recall@10 reached", case, ours=reached, must=f">= {RECALL}")
        _settle_effort(daemon, asked, data)
        own = recall(asked.ask(data.queries, IN_FLIGHT[-1]), data.truth)
        report.add("  recall@10 with the daemon's own effort", case, ours=own, must=f">= {RECALL}")
        ways: dict[str, tuple[int, dict[str, int | bool]]] = {
            f"ids, {count} in flight": (count, {"effort": effort}) for count in IN_FLIGHT
        }
        ways[f"records, {IN_FLIGHT[-1]} in flight"] = (IN_FLIGHT[-1], {"effort": effort, "records": True})
        ways[f"ids, own effort, {IN_FLIGHT[-1]} in flight"] = (IN_FLIGHT[-1], {})
        spent = _rounds(daemon, asked, data, peers, ways)
        for way in ways:
            for peer in peers:
                theirs = spent[peer.name]
                bound = peer.name == "hnswlib" and way == f"ids, {IN_FLIGHT[-1]} in flight"
                must = f"<= {theirs * ratio_max:.1f}" if bound else None
                kind = f"{case}, {way}"
                report.add(
                    "server CPU per query", kind, unit="us", ours=spent[way], theirs=theirs, peer=peer.name, must=must
                )


def _rounds(
    daemon: DaemonProcess,
    asked: Asked,
    data: Data,
    peers: Sequence[Engine],
    ways: dict[str, tuple[int, dict[str, int | bool]]],
) -> dict[str, float]:
    """Return the median CPU of a query in microseconds, by way and by peer."""
    spent: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for way, (in_flight, told) in ways.items():
            before = daemon.cost()
            asked.ask(data.queries, in_flight, **told)  # type: ignore[arg-type]
            used_s = daemon.cost().cpu_s - before.cpu_s
            spent.setdefault(way, []).append(used_s / len(data.queries) * 1e6)
        for peer in peers:
            spent.setdefault(peer.name, []).append(statistics.fmean(cpu_us(peer, data.queries)))
    return {name: statistics.median(found) for name, found in spent.items()}


def _least_effort(asked: Asked, data: Data) -> tuple[int, float]:
    """Return the least effort with which the recall is what is wanted, and the recall."""
    low, high = NEAREST, 512
    while low < high:
        middle = (low + high) // 2
        if recall(asked.ask(data.queries, IN_FLIGHT[-1], effort=middle), data.truth) >= RECALL:
            high = middle
        else:
            low = middle + 1
    return low, recall(asked.ask(data.queries, IN_FLIGHT[-1], effort=low), data.truth)


def _settle_effort(daemon: DaemonProcess, asked: Asked, data: Data) -> None:
    """Ask until the daemon has sampled enough searches to know how far its graphs must be searched."""
    with Client(f"unix://{daemon.socket}", name="bench") as client:
        for _ in range(SETTLING_ROUNDS_MAX):
            if client.status()["views"]["memories"]["vectors"]["recall_samples"] >= SAMPLES_ENOUGH:
                return
            asked.ask(data.queries, IN_FLIGHT[-1])


def after_churn(daemon: DaemonProcess, data: Data, share: float, report: Report) -> None:
    """Recall with the daemon's own effort once so much of the memories was deleted and added again."""
    rows = np.random.default_rng(4).permutation(len(data.base))[: int(len(data.base) * share)].tolist()
    with Client(f"unix://{daemon.socket}", name="bench", timeout=120.0) as client:
        view = client.with_namespace(NAMESPACE)
        for start in range(0, len(rows), BATCH):
            with view.pipeline() as pipeline:
                for row in rows[start : start + BATCH]:
                    pipeline.memories.delete(str(row))
        add(client, data.base, rows)
        settle(client)
    case = f"{len(data.base):,}, {share:.0%} deleted and added, through the socket"
    with Connection(daemon.socket) as connection:
        asked = Asked(connection)
        for _ in range(CHURN_ROUNDS):
            asked.ask(data.queries, IN_FLIGHT[-1])
        reached = recall(asked.ask(data.queries, IN_FLIGHT[-1]), data.truth)
    report.add("recall@10 after churn", case, ours=reached, must=f">= {RECALL}")


def filters(daemon: DaemonProcess, data: Data, report: Report) -> None:
    """Recall of filtered searches in a namespace of more than 20,000 memories."""
    queries = data.queries[:FILTER_QUERIES]
    with Connection(daemon.socket) as connection:
        asked = Asked(connection)
        for share in FILTERS:
            case = f"{len(data.base):,} memories, {share} % allowed"
            allowed = [row % 100 < share for row in range(len(data.base))]
            truth = nearest(data.base, queries, np.array(allowed))
            started = time.monotonic()
            asked.ask(queries[:1], filter=f"metadata.share < {share}")
            report.add("first filtered search", case, unit="ms", ours=(time.monotonic() - started) * 1e3)
            before = daemon.cost()
            found = asked.ask(queries, filter=f"metadata.share < {share}")
            used_s = daemon.cost().cpu_s - before.cpu_s
            report.add("recall@10 of filtered searches", case, ours=recall(found, truth), must=">= 0.95")
            report.add("  server CPU per query", case, unit="us", ours=used_s / len(queries) * 1e6)
        with Client(f"unix://{daemon.socket}") as client:
            figures = client.status()["views"]["memories"]["vectors"]
        report.add("recall told by status", f"{figures['recall_samples']} samples", ours=figures["recall"])


def burst(daemon: DaemonProcess, data: Data, count: int, report: Report) -> None:
    """Add at a steady rate from another process while this one searches."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    arguments = (str(daemon.socket), data.base, len(data.base), count, told)
    adding = context.Process(target=_add_steadily, args=arguments)
    spans: list[tuple[int, int]] = []
    with Connection(daemon.socket) as connection, MachinePauses() as pauses:
        asked = Asked(connection)
        adding.start()
        told.get()
        number = 0
        while told.empty() and adding.is_alive():
            started = time.perf_counter_ns()
            asked.ask(data.queries[number % len(data.queries) :][:1])
            spans.append((started, time.perf_counter_ns()))
            number += 1
            time.sleep(SEARCH_PAUSE_S)
    seconds, refused = told.get(timeout=60)
    adding.join()
    case = f"{count:,} memories into {len(data.base):,}, searched meanwhile, through the socket"
    found = percentiles([(end - start) / 1_000 for start, end in spans])
    undisturbed = percentiles([(end - start) / 1_000 for start, end in spans if not pauses.met(start, end)])
    report.add("burst of adds", case, unit="memories/s", ours=count / seconds, must=">= 5000")
    report.add("  answered BUSY", case, unit="times", ours=refused)
    report.add("  searches meanwhile p50", case, unit="ms", ours=found.p50)
    report.add("  searches meanwhile p99", case, unit="ms", ours=found.p99, must="< 10")
    report.add("  searches meanwhile max", case, unit="ms", ours=found.longest)
    report.add("  searches meanwhile p99, while the machine ran", case, unit="ms", ours=undisturbed.p99)
    report.add("  pauses of the machine of 2 ms and more", case, unit="times", ours=len(pauses.pauses))
    whose = "of everybody in this guest" if pauses.real_time else "or of who measured it, without real-time priority"
    report.add("  longest pause of the machine", whose, unit="ms", ours=pauses.longest_ms)
    with Client(f"unix://{daemon.socket}") as client:
        freezes = client.status()["freezes"]
    for span, name in (("recent", "  longest freeze of the loop in this minute and the last"), ("longest", "  ever")):
        report.add(name, freezes[f"{span}_cause"] or case, unit="ms", ours=freezes[f"{span}_ms"])


def _add_steadily(socket: str, base: Floats, first: int, count: int, told) -> None:  # type: ignore[no-untyped-def]
    """Send requests made before at a steady rate, each behind the reply to the one before it."""
    bodies = [
        table.encode(MemoryAdd((NAMESPACE,), tuple(_wire_memory(base, row) for row in range(start, end))))
        for start in range(first, first + count, BURST_BATCH)
        for end in [min(start + BURST_BATCH, first + count)]
    ]
    refused, writes = 0, itertools.count(1)
    with Connection(Path(socket)) as connection:
        told.put("ready")
        started = time.monotonic()
        for number, body in enumerate(bodies):
            time.sleep(max(0.0, started + number * BURST_BATCH / BURST_PER_S - time.monotonic()))
            while (refusal := failure(connection.call_raw(body, number=next(writes)).decode())) is not None:
                if not isinstance(refusal, errors.Busy):
                    raise refusal
                refused += 1
                time.sleep((refusal.retry_after_ms or 100) / 1_000)
        told.put((time.monotonic() - started, refused))


def _wire_memory(base: Floats, row: int) -> messages.NewMemory:
    vectors = {SPACE: base[row % len(base)].tobytes()}
    return messages.NewMemory("word", str(row), metadata=Raw(msgpack.encode({"share": row % 100})), vectors=vectors)
