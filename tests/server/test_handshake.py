"""How a connection begins and how an idle one ends: preamble, hello, sessions, limits, refusals."""

from __future__ import annotations

import struct

import pytest

from recollectd.protocol import errors, frames, limits
from recollectd.protocol.messages import connection as messages
from recollectd.protocol.messages import state, transactions
from server.conftest import MakeDaemon, StartDaemon
from support.daemon_process import DaemonProcess
from support.manual_daemon import ManualDaemon, Peer
from support.wire import HELLO, NAMESPACE, Wire, alive, expect, get, put, refusal

HANDSHAKE_REQUIRED = errors.HandshakeRequired.row.code
MALFORMED_FRAME = errors.MalformedFrame.row.code
INVALID_ARGUMENT = errors.InvalidArgument.row.code
HOUR_S = 3_600


def greeted(manual: ManualDaemon) -> Peer:
    """Return a client that has sent its preamble and no hello."""
    peer = manual.connect(hello=None)
    peer.feed(frames.PREAMBLE)
    return peer


def hello(session_id: bytes = b"", **fields: object) -> messages.Hello:
    return messages.Hello(1, 1, "test", session_id, **fields)  # type: ignore[arg-type]


PREAMBLES = {
    "another protocol": b"GET / HTTP/1.1\r\n\r\n",
    "another framing": frames.PREAMBLE[:4] + struct.pack("<HH", 2, 0),
    "no zero": frames.PREAMBLE[:4] + struct.pack("<HH", 1, 7),
    "zeros": bytes(8),
}


@pytest.mark.parametrize("preamble", PREAMBLES.values(), ids=PREAMBLES)
def test_another_preamble_is_refused(manual: ManualDaemon, preamble: bytes) -> None:
    peer = manual.connect(hello=None)
    peer.feed(preamble)
    assert [(answer.request_id, refusal(answer.reply)[0]) for answer in peer.replies] == [(0, MALFORMED_FRAME)]
    assert peer.transport.is_closing()


def test_nothing_is_carried_out_behind_another_preamble(manual: ManualDaemon) -> None:
    peer = manual.connect(hello=None)
    peer.feed(b"RCLX" + frames.PREAMBLE[4:] + peer.prepare(HELLO)[0] + peer.prepare(put("k"))[0])
    assert len(peer.replies) == 1
    assert manual.journal.last_seq == 0


def test_a_preamble_may_come_in_pieces(manual: ManualDaemon) -> None:
    peer = manual.connect(hello=None)
    for byte in frames.PREAMBLE:
        peer.feed(bytes((byte,)))
    expect(messages.Welcome, peer.ask(HELLO))


def test_the_first_message_is_a_hello(manual: ManualDaemon) -> None:
    peer = greeted(manual)
    for request in (messages.Ping(), put("k"), get("k"), messages.StatusRequest(), transactions.Watch(NAMESPACE)):
        assert refusal(peer.ask(request))[0] == HANDSHAKE_REQUIRED
    expect(messages.Welcome, peer.ask(HELLO))
    assert manual.journal.last_seq == 0


def test_there_is_only_one_hello(manual: ManualDaemon) -> None:
    peer = manual.connect()
    assert refusal(peer.ask(HELLO))[0] == HANDSHAKE_REQUIRED
    expect(messages.Pong, peer.ask(messages.Ping()))


@pytest.mark.parametrize("versions", [(1, 1), (0, 1), (1, 9), (0, 2**40)])
def test_a_version_in_common_is_taken(manual: ManualDaemon, versions: tuple[int, int]) -> None:
    assert expect(messages.Welcome, greeted(manual).ask(messages.Hello(*versions))).protocol == 1


@pytest.mark.parametrize("versions", [(0, 0), (2, 9), (9, 0)])
def test_no_version_in_common_is_refused_and_another_hello_may_follow(
    manual: ManualDaemon, versions: tuple[int, int]
) -> None:
    peer = greeted(manual)
    assert refusal(peer.ask(messages.Hello(*versions)))[0] == errors.UnsupportedProtocol.row.code
    expect(messages.Welcome, peer.ask(HELLO))


def test_welcome_tells_the_limits_in_force(make_daemon: MakeDaemon) -> None:
    welcome = make_daemon(server__connections_max=7).connect().welcome
    assert welcome.limits == {**limits.table(), "connections_max": 7}
    assert welcome.protocol == limits.PROTOCOL_VERSION
    assert len(welcome.store_id) == 16
    assert welcome.principal == "uid:1000"
    assert {"state", "log", "conversation", "memory", "transaction", "batch", "watch", "async"} == set(welcome.features)


@pytest.mark.parametrize("name", ["x" * 129, "é" * 65])
def test_a_clients_name_is_bounded_in_bytes(manual: ManualDaemon, name: str) -> None:
    peer = greeted(manual)
    assert refusal(peer.ask(messages.Hello(1, 1, name))) == (INVALID_ARGUMENT, "client_name")
    expect(messages.Welcome, peer.ask(messages.Hello(1, 1, name[:-1])))


# -- sessions ---------------------------------------------------------------------------------------------------------


def test_an_empty_session_id_begins_a_session(manual: ManualDaemon) -> None:
    ids = {manual.connect().welcome.session_id for _ in range(20)}
    assert len(ids) == 20
    assert {len(session_id) for session_id in ids} == {limits.SESSION_ID_BYTES}


def test_a_session_goes_on(manual: ManualDaemon) -> None:
    first = manual.connect()
    first.ask(put("k"))
    assert manual.connect(first.welcome.session_id).welcome.session_id == first.welcome.session_id


def test_a_young_session_without_a_write_goes_on(make_daemon: MakeDaemon) -> None:
    """The daemon knows nothing of it, as after a restart: it has never had a write, so nothing is forgotten."""
    manual = make_daemon(server__session_retention_s=HOUR_S)
    session_id = manual.connect().welcome.session_id
    manual.pass_time(HOUR_S - 10)
    assert manual.connect(session_id).welcome.session_id == session_id


@pytest.mark.parametrize("age_s", [HOUR_S + 1, 100 * HOUR_S, -HOUR_S - 1])
def test_an_unknown_session_of_another_time_becomes_a_new_one(make_daemon: MakeDaemon, age_s: int) -> None:
    manual = make_daemon(server__session_retention_s=HOUR_S)
    made_at = manual.wall_us - age_s * 1_000_000
    session_id = made_at.to_bytes(8, "big") + bytes(8)
    welcome = manual.connect(session_id).welcome
    assert welcome.session_id != session_id
    assert len(welcome.session_id) == limits.SESSION_ID_BYTES


@pytest.mark.parametrize("length", [1, 15, 17, 1_000])
def test_what_is_no_session_id_is_refused(manual: ManualDaemon, length: int) -> None:
    peer = greeted(manual)
    assert refusal(peer.ask(hello(bytes(length)))) == (INVALID_ARGUMENT, "session_id")
    expect(messages.Welcome, peer.ask(HELLO))


def test_a_session_belongs_to_its_principal(manual: ManualDaemon) -> None:
    owner = manual.connect(uid=1_000)
    owner.ask(put("k"))
    foreign = manual.connect(hello=None, uid=1_001)
    foreign.feed(frames.PREAMBLE)
    assert refusal(foreign.ask(hello(owner.welcome.session_id))) == (errors.SessionForeign.row.code, "session_id")
    assert refusal(foreign.ask(put("k")))[0] == HANDSHAKE_REQUIRED
    assert expect(messages.Welcome, foreign.ask(HELLO)).principal == "uid:1001"


def test_a_session_is_not_revived_by_a_clock_that_goes_back(make_daemon: MakeDaemon) -> None:
    """Forgotten at one time, it would be young again at an earlier one, and its retries executed twice."""
    manual = make_daemon(server__session_retention_s=120)
    peer = manual.connect()
    peer.ask(put("k"))
    peer.hang_up()
    manual.daemon.chores.start()
    manual.pass_time(110)
    assert len(manual.daemon.sessions) == 1
    manual.pass_time(50)
    assert len(manual.daemon.sessions) == 0
    manual.wall_us -= 100 * 1_000_000
    assert manual.connect(peer.welcome.session_id).welcome.session_id != peer.welcome.session_id


def test_too_many_sessions_refuse_new_writers_and_nobody_else(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(server__sessions_max=3)
    writers = [manual.connect() for _ in range(3)]
    for writer in writers:
        writer.ask(put("k"))
    late = manual.connect()
    assert refusal(late.ask(put("k")))[0] == errors.Busy.row.code
    expect(state.StateRecord, late.ask(get("k")))
    returned = manual.connect(writers[0].welcome.session_id)
    expect(state.StateStored, returned.ask(put("k"), number=2))
    assert manual.journal.last_seq == 4


# -- connections that are idle, or too many ---------------------------------------------------------------------------


def idle(manual: ManualDaemon, seconds: float) -> None:
    """Let time pass in which the daemon looks after idle connections."""
    manual.pass_time(seconds)
    manual.daemon.dispatcher.end_idle()
    manual.loop.settle()


def test_an_idle_connection_is_ended(manual: ManualDaemon) -> None:
    peer, silent = manual.connect(), manual.connect(hello=None)
    idle(manual, 299)
    assert not peer.transport.is_closing()
    peer.ask(messages.Ping())
    idle(manual, 2)
    assert not peer.transport.is_closing()
    assert silent.transport.is_closing()
    idle(manual, 299)
    assert peer.transport.is_closing()
    assert not manual.daemon.dispatcher.connections


@pytest.mark.parametrize(("idle_timeout_ms", "ended_after_s"), [(1_500, 2), (400_000, 401), (0, None)])
def test_a_client_may_say_how_long_it_idles(
    manual: ManualDaemon, idle_timeout_ms: int, ended_after_s: int | None
) -> None:
    peer = greeted(manual)
    peer.ask(hello(idle_timeout_ms=idle_timeout_ms))
    if ended_after_s is None:
        idle(manual, 1_000_000)
        assert not peer.transport.is_closing()
        return
    idle(manual, ended_after_s - 1)
    assert not peer.transport.is_closing()
    idle(manual, 1)
    assert peer.transport.is_closing()


def test_who_is_owed_something_is_not_idle(manual: ManualDaemon) -> None:
    watching, waiting = manual.connect(), manual.connect()
    watching.ask(transactions.Watch(NAMESPACE))
    manual.journal.held = True
    write = waiting.send(put("k"))
    idle(manual, 1_000)
    assert not watching.transport.is_closing()
    assert not waiting.transport.is_closing()
    manual.journal.sync()
    manual.loop.settle()
    assert write in waiting.answered()
    idle(manual, 1_000)
    assert waiting.transport.is_closing()


def test_an_idle_client_that_takes_nothing_is_let_go_in_the_end(manual: ManualDaemon) -> None:
    """What it has not taken keeps the transport open; it must not hold its place for ever."""
    peer = manual.connect()
    peer.transport.stuck = True
    peer.send(messages.Ping())
    for _ in range(3):
        idle(manual, 301)
    assert not manual.daemon.dispatcher.connections


def test_one_connection_too_many(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(server__connections_max=2)
    first, _ = manual.connect(), manual.connect()
    refused = manual.connect(hello=None)
    assert refusal(refused.replies[0].reply)[0] == errors.TooManyConnections.row.code
    assert refused.replies[0].request_id == 0
    assert expect(messages.ErrorReply, refused.replies[0].reply).retry_after_ms > 0
    assert refused.transport.is_closing()
    first.hang_up()
    expect(messages.Pong, manual.connect().ask(messages.Ping()))


def test_one_connection_too_many_over_a_real_socket(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(server__connections_max=2).ready()
    first, second = daemon.connect(), daemon.connect()
    with Wire(daemon.socket, hello=None) as refused:
        (answer,) = refused.rest()
        assert refusal(answer.reply)[0] == errors.TooManyConnections.row.code
    first.socket.close()
    second.ask(messages.Ping())
    with alive(daemon.socket):
        second.socket.close()


def test_a_daemon_that_stops_takes_no_connection(manual: ManualDaemon) -> None:
    manual.daemon.dispatcher.stopping = True
    refused = manual.connect(hello=None)
    assert refusal(refused.replies[0].reply)[0] == errors.ShuttingDown.row.code
    assert refused.transport.is_closing()


def test_a_real_client_is_who_it_is(served: DaemonProcess) -> None:
    with served.connect() as wire:
        assert wire.welcome.principal.startswith("uid:")
        assert wire.welcome.limits["frame_bytes_max"] == limits.FRAME_BYTES_MAX
