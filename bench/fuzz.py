"""Hostile frames: the parser alone by the million, and a daemon that has to live through them.

The parser's promise: it cuts, decodes or names what is wrong; it never raises anything else, never accepts a message
that does not encode to an equal one, and keeps nothing. The daemon's: it answers or ends the connection, and lives.
"""

from __future__ import annotations

import argparse
import gc
import random
import socket
import tracemalloc
from collections.abc import Callable
from typing import Final, NamedTuple

import psutil

from bench.corpus import corpus
from bench.load import throwaway_daemon
from bench.process import DaemonProcess
from bench.report import Report
from bench.wire import Connection, hello_body
from recollectd.protocol import errors, table
from recollectd.protocol.frames import (
    LENGTH,
    PREAMBLE,
    REQUEST_HEADER,
    FrameSplitter,
    FramingError,
    RequestHeader,
    pack_request,
    unpack_request,
)
from recollectd.protocol.messages.connection import Ping, Pong

FRAMES_DEFAULT: Final = 10_000_000
FRAMES_LONG: Final = 100_000_000
SOCKET_FRAMES: Final = 40_000
SOCKET_FRAMES_LONG: Final = 1_000_000
FRAMES_PER_CONNECTION: Final = 200
LEAK_BYTES_MAX: Final = 512 * 1024
DAEMON_GROWTH_MB_MAX: Final = 64


class Counts(NamedTuple):
    """What became of frames; wrong lists what should not have happened."""

    frames: int
    accepted: int
    refused: int
    unframed: int
    wrong: list[str]


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument("--frames", type=int, help=f"frames for the parser (default {FRAMES_DEFAULT:,})")
    parser.add_argument("--seed", type=int, help="to play a run again")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Fuzz the parser, then a daemon."""
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    frames = arguments.frames or (FRAMES_LONG if arguments.long else FRAMES_DEFAULT)
    fuzz_parser(random.Random(seed), 20_000)  # what is made once and kept is made now
    before = _held_bytes()
    counts = fuzz_parser(random.Random(seed), frames)
    leaked = _held_bytes() - before
    for text in counts.wrong[:20]:
        print(text)
    report.add("frames", "parser", ours=counts.frames, must=f">= {FRAMES_DEFAULT}")
    report.add("  accepted", "parser", ours=counts.accepted)
    report.add("  refused with a reason", "parser", ours=counts.refused)
    report.add("  not to be cut into frames", "parser", ours=counts.unframed)
    report.add("crashes and wrong acceptances", "parser", ours=len(counts.wrong), must="== 0")
    report.add("memory kept", "parser", unit="bytes", ours=leaked, must=f"<= {LEAK_BYTES_MAX}")
    with throwaway_daemon(arguments.folder) as daemon:
        fuzz_daemon(daemon, random.Random(seed), 5_000)
        before_mb = daemon.cost().resident_bytes / 1e6
        sent = fuzz_daemon(daemon, random.Random(seed + 1), SOCKET_FRAMES_LONG if arguments.long else SOCKET_FRAMES)
        grown = daemon.cost().resident_bytes / 1e6 - before_mb
        report.add("frames", "daemon", ours=sent)
        report.add("daemon lives and answers", "daemon", ours=int(answers(daemon)), must="== 1")
        report.add("memory grown", "daemon", unit="MB", ours=max(0.0, grown), must=f"<= {DAEMON_GROWTH_MB_MAX}")
        logged = daemon.log.read_text(errors="replace").count("Traceback")
        report.add("defects in the log", "daemon", ours=logged, must="== 0")


def _held_bytes() -> int:
    gc.collect()
    if tracemalloc.is_tracing():
        return tracemalloc.get_traced_memory()[0]
    return int(psutil.Process().memory_info().rss)


# -- The parser. -------------------------------------------------------------------------------------------------------


def fuzz_parser(rng: random.Random, frames: int) -> Counts:
    """Feed hostile frames to splitter and decoder, in pieces of any size."""
    bodies = corpus()
    accepted = refused = unframed = done = 0
    wrong: list[str] = []
    splitter = FrameSplitter(REQUEST_HEADER.size)
    while done < frames:
        frame = hostile_frame(rng, bodies)
        done += 1
        try:
            whole: list[bytes] = []
            cut = rng.randrange(len(frame) + 1) if rng.random() < 0.2 else len(frame)
            for piece in (frame[:cut], frame[cut:]):
                whole += splitter.feed(piece)
        except FramingError:
            unframed += 1
            splitter = FrameSplitter(REQUEST_HEADER.size)
            continue
        if splitter.pending_bytes > 1 << 20 or rng.random() < 0.01:
            splitter = FrameSplitter(REQUEST_HEADER.size)
        for each in whole:
            verdict = _decode(each)
            if verdict == "accepted":
                accepted += 1
            elif verdict == "refused":
                refused += 1
            else:
                wrong.append(f"{verdict}: {each[:200].hex()}")
    return Counts(done, accepted, refused, unframed, wrong)


def _decode(frame: bytes) -> str:
    try:
        _, body = unpack_request(frame)
    except FramingError:
        return "refused"
    try:
        message = table.decode_request(body)
    except (errors.ProtocolError, errors.RequestError) as error:
        return "refused" if str(error) else "refused without a reason"
    except Exception as error:
        return f"raised {error!r}"
    try:
        again = table.decode_request(table.encode(message))
    except Exception as error:
        return f"accepted what it would not accept again ({error!r})"
    return "accepted" if type(again) is type(message) and table.encode(again) == table.encode(message) else "changed"


# -- Hostile bytes. ----------------------------------------------------------------------------------------------------


def hostile_frame(rng: random.Random, bodies: list[bytes]) -> bytes:
    """Return a frame that is broken somewhere, or whole with a broken message, or (seldom) right."""
    body = rng.choice(_BREAKERS)(rng, rng.choice(bodies), bodies)
    if rng.random() < 0.05:
        body = rng.choice(_BREAKERS)(rng, body, bodies)
    header = RequestHeader(
        rng.randrange(1 << 32), rng.choice((0, 1, 2, rng.randrange(1 << 64))), rng.choice((0, rng.randrange(1 << 64)))
    )
    frame = pack_request(header, body)
    draw = rng.random()
    if draw < 0.03:
        length = rng.choice((0, 1, 27, 28, rng.randrange(1 << 32), (1 << 32) - 1, len(frame)))
        return LENGTH.pack(length) + frame[4:]
    if draw < 0.06:
        at = rng.randrange(4, REQUEST_HEADER.size)
        return frame[:at] + bytes((rng.randrange(256),)) + frame[at + 1 :]
    return frame


def _whole(rng: random.Random, body: bytes, bodies: list[bytes]) -> bytes:
    return body


def _flip(rng: random.Random, body: bytes, bodies: list[bytes]) -> bytes:
    broken = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        if broken:
            broken[rng.randrange(len(broken))] = rng.randrange(256)
    return bytes(broken)


def _shorten(rng: random.Random, body: bytes, bodies: list[bytes]) -> bytes:
    return body[: rng.randrange(len(body) + 1)]


def _lengthen(rng: random.Random, body: bytes, bodies: list[bytes]) -> bytes:
    return body + rng.randbytes(rng.randrange(1, 20))


def _splice(rng: random.Random, body: bytes, bodies: list[bytes]) -> bytes:
    other = rng.choice(bodies)
    return body[: rng.randrange(len(body) + 1)] + other[rng.randrange(len(other) + 1) :]


def _retag(rng: random.Random, body: bytes, bodies: list[bytes]) -> bytes:
    return body[:1] + bytes((rng.randrange(256),)) + body[2:]


def _noise(rng: random.Random, body: bytes, bodies: list[bytes]) -> bytes:
    return rng.randbytes(rng.randrange(60))


def _huge_claims(rng: random.Random, body: bytes, bodies: list[bytes]) -> bytes:
    """Put in a header that announces more than there is: arrays, maps, strings of up to 4 Gi elements."""
    at = rng.randrange(len(body) + 1)
    claim = rng.choice(
        (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff")
    )
    return body[:at] + claim + body[at:]


def _deep(rng: random.Random, body: bytes, bodies: list[bytes]) -> bytes:
    """Nest arrays or maps deeply."""
    depth = rng.choice((10, 65, 500, 2_000))
    return body[:2] + rng.choice((b"\x91", b"\x81\xa1k")) * depth + b"\xc0"


def _bad_text(rng: random.Random, body: bytes, bodies: list[bytes]) -> bytes:
    """Put in text that is not UTF-8."""
    at = rng.randrange(len(body) + 1)
    return body[:at] + b"\xa2" + rng.choice((b"\xff\xfe", b"\xc3\x28", b"\xed\xa0")) + body[at:]


_BREAKERS: Final[tuple[Callable[[random.Random, bytes, list[bytes]], bytes], ...]] = (
    _whole,
    _flip,
    _flip,
    _shorten,
    _lengthen,
    _splice,
    _retag,
    _noise,
    _huge_claims,
    _deep,
    _bad_text,
)


# -- The daemon. -------------------------------------------------------------------------------------------------------


def fuzz_daemon(daemon: DaemonProcess, rng: random.Random, frames: int) -> int:
    """Send hostile frames over many connections; return how many were sent. The daemon may end each connection."""
    bodies = corpus()
    sent = 0
    while sent < frames:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as raw:
            raw.settimeout(5.0)
            raw.connect(str(daemon.socket))
            try:
                if rng.random() < 0.95:
                    raw.sendall(PREAMBLE + pack_request(RequestHeader(1), hello_body()))
                elif rng.random() < 0.5:
                    raw.sendall(rng.randbytes(rng.randrange(40)))
                for _ in range(rng.randrange(FRAMES_PER_CONNECTION)):
                    raw.sendall(hostile_frame(rng, bodies))
                    sent += 1
                    if rng.random() < 0.1:
                        _drain(raw)
            except OSError:
                continue  # the daemon hung up, which is its right
    return sent


def _drain(raw: socket.socket) -> None:
    raw.setblocking(False)
    try:
        while raw.recv(1 << 16):
            pass
    except BlockingIOError:
        pass
    finally:
        raw.settimeout(5.0)


def answers(daemon: DaemonProcess) -> bool:
    """Return whether the daemon is alive and answers an honest client."""
    if not daemon.running:
        return False
    with Connection(daemon.socket) as connection:
        return isinstance(connection.call(Ping()), Pong)
