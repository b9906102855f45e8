"""A daemon by one of the routes, and what came of a script played to it.

Both routes must answer the same bytes. The position of a read's reply may differ: it says how much was visible when the
read was carried out, and that is chance by any route, but it never says less than what the reply shows. What a read
sees of the writes that others have under way is chance, too; so while the journal is held, one client speaks, and the
daemon's own chores rest.
"""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pytest

from hot.streams import PEERS, Feed, Frame, Happens, Step
from recollectd.config.environment import HOT_PATH, Way
from recollectd.config.tree import Config
from recollectd.memory import commits
from recollectd.protocol import frames, table
from recollectd.protocol.messages import connection, conversations, logs, state, transactions
from recollectd.storage.keyspace import Family
from support.manual_daemon import ManualDaemon, Peer
from support.wire import Answer, span_of_all

_STATUS_TAG: Final = table.tag_of(connection.Status)


class Outcome(NamedTuple):
    """What came of it, by connection where it is a list of lists.

    journal: the commits. answers: (request id, message) of every request. broken: whether the client has broken the
    framing, so that the connection ended with whatever was answered by then. written: (request id, position) of writes
    that were carried out, in the order of their replies. watched: what each watch was told. errors: by code; None when
    a framing was broken. heard_at: when the last frame came.
    """

    journal: list[object]
    answers: list[list[tuple[int, bytes]]]
    broken: list[bool]
    written: list[list[tuple[int, int]]]
    watched: list[dict[int, list[transactions.Change]]]
    records: dict[Family, dict[bytes, bytes]]
    operations: dict[str, int]
    errors: dict[int, int] | None
    heard_at: list[float]


class Client:
    """One client: a session that goes on over several connections."""

    def __init__(self, manual: ManualDaemon) -> None:
        self._manual = manual
        self.peers = [manual.connect()]
        self.write_ids: list[set[int]] = [set()]
        self._sent = 0
        self._writes: list[Frame] = []

    @property
    def hung_up(self) -> bool:
        """Whether its last connection has ended."""
        return self.peers[-1].transport.is_closing()

    @property
    def peer(self) -> Peer:
        """Its connection: a new one when the last one has ended."""
        if self.hung_up:
            self.peers.append(self._manual.connect(self.peers[0].welcome.session_id))
            self.write_ids.append(set())
        return self.peers[-1]

    def feed(self, step: Feed) -> None:
        """Send frames in pieces, until the daemon ends the connection or does not read."""
        peer = self.peer
        heard = max((answer.position for each in self.peers for answer in each.replies), default=0)
        data = b"".join(self._pack(each, heard) for each in step.frames)
        places = sorted({0, len(data), *(cut % len(data) for cut in step.cuts)})
        for start, end in itertools.pairwise(places):
            if peer.transport.is_closing() or peer.transport.is_paused():
                return
            peer.feed(data[start:end])

    def _pack(self, each: Frame, heard: int) -> bytes:
        self._sent += 1
        number, body = self._number(each)
        if each.write:
            self.write_ids[-1].add(self._sent)
        after = 0 if each.after is None else heard + each.after
        header = frames.RequestHeader(self._sent, number, after, each.deadline_ms, each.flags, span_of_all(number))
        whole = bytearray(frames.pack_request(header, body))
        whole[29] = each.zero
        if each.claim is not None:
            frames.LENGTH.pack_into(whole, 0, each.claim)
        return bytes(whole)

    def _number(self, each: Frame) -> tuple[int, bytes]:
        """Return the number of a frame, and what it says: a retry says the same again, or now and then not."""
        if not each.write or each.number == "zero":
            return 0, each.body
        if each.number in ("far", "huge"):
            return 2**63 - 1 if each.number == "far" else 2**64 - 1, each.body
        if isinstance(each.number, int) and each.number <= len(self._writes):
            again = self._writes[-each.number]
            return len(self._writes) - each.number + 1, each.body if each.number == 6 else again.body
        self._writes.append(each)
        return len(self._writes), each.body


def numbered_by_turns(script: list[Step]) -> list[Step]:
    """Return a script with what takes a number far ahead at its end, each alone.

    Such a write says that all before it are answered. A client that says so while others wait has given those up, and
    whether they still come to pass depends on how soon.
    """
    far = [(step.peer, each) for step in script if isinstance(step, Feed) for each in step.frames if each.is_far]
    early = [
        step._replace(frames=[each for each in step.frames if not each.is_far]) if isinstance(step, Feed) else step
        for step in script
    ]
    late: list[Step] = []
    for peer, each in far:
        late += [Happens("sync"), Feed(peer, [each], [])]
    return [step for step in early if not isinstance(step, Feed) or step.frames] + late


class World:
    """One daemon with its clients. Randomness, time and the disk are the script's."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, way: Way, folder: Path, *, cache_bytes: int, chores: bool
    ) -> None:
        monkeypatch.setenv(HOT_PATH, way.value)
        config = Config()
        server = msgspec.structs.replace(config.server, value_cache_bytes=cache_bytes, touch_interval_ms=500)
        data = msgspec.structs.replace(config.data, directory=str(folder))
        self.manual = ManualDaemon(monkeypatch, msgspec.structs.replace(config, server=server, data=data))
        noise = random.Random(0)
        # Ids of messages may be drawn ahead, many at once: their randomness is the same at any time.
        monkeypatch.setattr(os, "urandom", lambda count: noise.randbytes(count) if count == 8 else b"\x5a" * count)
        self._chores = chores
        if chores:
            # A refresh comes when its time has come, not among the writes of a client: that order would be chance.
            monkeypatch.setattr(self.manual.daemon.chores._refresh_now, "set", lambda: None)
            self.manual.daemon.chores.start()
        self.manual.loop.settle()
        self._speaker: Client | None = None
        self.clients = [Client(self.manual) for _ in range(PEERS)]

    def play(self, script: list[Step]) -> Outcome:
        """Play a script to its end, and let everything come that waits."""
        for step in numbered_by_turns(script):
            if isinstance(step, Feed):
                self._speak(step)
            else:
                self._let_happen(step.what, step.amount)
        self._let_happen("sync", 0.0)
        self.manual.pass_time(1.0)
        return self._outcome()

    def _speak(self, step: Feed) -> None:
        if self._speaker is None or not self.manual.journal.held:
            self._speaker = self.clients[step.peer]
        if self._speaker.hung_up and self.manual.journal.held:
            # What waits from its last connection and what it sends on the next have no order between them.
            self._let_happen("sync", 0.0)
        self._speaker.feed(step)

    def _let_happen(self, what: str, amount: float) -> None:
        journal = self.manual.journal
        match what:
            case "time" if journal.held and self._chores:
                return
            case "time":
                self.manual.pass_time(amount)
            case "forget":
                self.manual.forget_values()
            case "hold" if not journal.held:
                journal.held = True
                self._speaker = None
            case "write":
                journal.write()
            case "sync":
                journal.held = False
                journal.sync()
            case "hang up":
                self.clients[0].peer.hang_up()
            case _:
                assert what == "hold", what
        self.manual.loop.settle()

    def _outcome(self) -> Outcome:
        daemon = self.manual.daemon
        assert daemon.committer.idle
        assert daemon.dispatcher.bytes_in_flight == 0
        assert not daemon.failures
        operations: dict[str, int] = {}
        for counted in (daemon.dispatcher.operations, daemon.hot.operations()):
            for kind, count in counted.items():
                operations[kind.__name__] = operations.get(kind.__name__, 0) + count
        connections = [pair for each in self.clients for pair in zip(each.peers, each.write_ids, strict=True)]
        for peer, _ in connections:
            assert peer.connection.requests_in_flight == 0
            for answer in peer.replies:
                check_reply(answer)
        batches = self.manual.journal.batches
        broken = [any(answer.request_id == 0 for answer in peer.replies) for peer, _ in connections]
        return Outcome(
            [comparable(commits.decode(entry)) for batch in batches for entry in batch.entries],
            [answers(peer) for peer, _ in connections],
            broken,
            [written(peer, write_ids) for peer, write_ids in connections],
            [watched(peer) for peer, _ in connections],
            self.manual.engine.families,
            operations,
            None if any(broken) else daemon.dispatcher.errors,
            [peer.connection.last_frame_at for peer, _ in connections],
        )


def is_pushed(answer: Answer) -> bool:
    """Return whether nobody asked for this reply just now."""
    return isinstance(answer.reply, transactions.Changes)


def answers(peer: Peer) -> list[tuple[int, bytes]]:
    """Return what a connection was answered; what status tells of a process is left out."""
    found = [answer for answer in peer.replies if not is_pushed(answer)]
    return sorted((each.request_id, b"" if each.body[1] == _STATUS_TAG else each.body) for each in found)


def written(peer: Peer, write_ids: set[int]) -> list[tuple[int, int]]:
    """Return the writes that were carried out, then those that repeat one: when that is answered depends on how soon
    it was noticed, and promises nothing to other records.
    """
    carried_out: list[tuple[int, int]] = []
    repeated: list[tuple[int, int]] = []
    for answer in peer.replies:
        if answer.request_id in write_ids and not isinstance(answer.reply, connection.ErrorReply):
            again = answer.position and any(answer.position == position for _, position in carried_out)
            (repeated if again else carried_out).append((answer.request_id, answer.position))
    return carried_out + sorted(repeated)


def watched(peer: Peer) -> dict[int, list[transactions.Change]]:
    """Return what watches were told; how it was cut into messages is left out."""
    told: dict[int, list[transactions.Change]] = {}
    for answer in peer.replies:
        if isinstance(answer.reply, transactions.Changes):
            told.setdefault(answer.request_id, []).extend(answer.reply.changes)
    return told


def comparable(commit: commits.Commit) -> object:
    """Return a commit; in one of the daemon's own the order of the records is left out."""
    if commit.operation:
        return commit
    return msgspec.structs.replace(commit, events=tuple(sorted(commit.events, key=lambda event: event.key)))


def check_reply(answer: Answer) -> None:
    """Hold that a reply's position covers what it shows, and that it tells of no defect of ours."""
    reply = answer.reply
    if isinstance(reply, connection.ErrorReply):
        assert not reply.error_id, reply
    elif isinstance(reply, state.StateRecord | logs.LogPage | conversations.History):
        assert answer.position >= reply.revision
    elif isinstance(reply, state.StateRecords):
        assert all(record is None or answer.position >= record.revision for record in reply.records)
