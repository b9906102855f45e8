"""The LoCoMo conversations imported by the command line, the daemon killed at random moments, and run again.

The file is not part of the project; its path is given. What must come out: every turn once, in order, and an export
by the same mapping that equals the source line by line after JSON parsing.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from bench.load import throwaway_daemon
from bench.machine import ROOT, environment
from bench.process import DaemonProcess
from bench.report import Report
from bench.wire import Connection
from recollectd.protocol.messages.conversations import ConversationList, ConversationPage

KILLS: Final = 3
CONVERSATIONS: Final = 7
TURNS: Final = 4_124
_TIMEOUT_S: Final = 240.0
NAMESPACE: Final = "bench/locomo"

# The first distinct speaker becomes user, the other assistant; names, sessions and captions go to the metadata.
MAPPING: Final = (
    "--as",
    "conversation",
    "--map",
    "conversation_id=conversation",
    "--map",
    "message_id=turn",
    "--map",
    "role=speaker",
    "--map",
    "content=text",
    "--map",
    "valid_at=session_date",
    "--map",
    "metadata.speaker=speaker",
    "--map",
    "metadata.session=session",
    "--map",
    "metadata.photo_caption=photo_caption",
    "--roles",
    "first-speaker",
    "--time-format",
    "%I:%M %p on %d %B, %Y",
)


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument("file", type=Path, nargs="?", help="turns.jsonl of LoCoMo")
    parser.add_argument("--seed", type=int, help="to choose the same moments again")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Import once undisturbed to learn how long it takes, then with kills, then once more, then export."""
    source = [json.loads(line) for line in arguments.file.read_text().splitlines()] if arguments.file else []
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 32)
    kills, again, exported = None, None, None
    if source:
        print(f"seed {seed}")
        with throwaway_daemon(arguments.folder) as daemon:
            started = time.monotonic()
            _added(_start(daemon, "import", arguments.file))
            seconds = time.monotonic() - started
        report.add("import, undisturbed", f"{len(source):,} turns", unit="turns/s", ours=len(source) / seconds)
        with throwaway_daemon(arguments.folder) as daemon:
            kills = _import_with_kills(daemon, arguments.file, random.Random(seed), len(source))
            again = _added(_start(daemon, "import", arguments.file))
            exported = _export(daemon, daemon.folder / "exported.jsonl")
    _verdict(report, source, exported)
    report.add("kills of the daemon while importing", "SIGKILL", ours=kills, must=f"== {KILLS}")
    report.add("messages added by one more run", "import", ours=again, must="== 0")


def _verdict(report: Report, source: list[dict[str, Any]], exported: list[dict[str, Any]] | None) -> None:
    """Compare what came out with what went in."""
    conversations = turns = lost = doubled = equal = None
    if exported is not None:
        wanted, found = (Counter(json.dumps(line, sort_keys=True) for line in lines) for lines in (source, exported))
        conversations = len({line["conversation"] for line in exported})
        turns, lost, doubled = len(exported), (wanted - found).total(), (found - wanted).total()
        equal = int(exported == source)
    report.add("conversations", "export", ours=conversations, must=f"== {CONVERSATIONS}")
    report.add("turns", "export", ours=turns, must=f"== {TURNS}")
    report.add("turns lost or changed", "export", ours=lost, must="== 0")
    report.add("turns doubled or changed", "export", ours=doubled, must="== 0")
    report.add("export equals the source, order too", "export", ours=equal, must="== 1")


def _import_with_kills(daemon: DaemonProcess, file: Path, rng: random.Random, turns: int) -> int:
    """Kill the daemon when random numbers of messages are there; every other time the importing program dies with it.

    Returns how many kills met an import in the middle of its work.
    """
    met = 0
    importing = _start(daemon, "import", file)
    for kill, threshold in enumerate(sorted(rng.sample(range(1, turns * 3 // 4), KILLS))):
        stored = _wait_stored(daemon, importing, threshold)
        time.sleep(rng.uniform(0.0, 0.02))  # between two commits, or within one
        met += importing.poll() is None and stored < turns
        daemon.kill()
        if kill % 2:
            importing.kill()
        daemon.start()
        print(f"killed at {stored} messages, {_stored(daemon)} are there after the restart")
        if importing.poll() is not None:
            importing.communicate()
            importing = _start(daemon, "import", file)
    importing.communicate(timeout=_TIMEOUT_S)
    if importing.returncode:  # it gave up while there was no daemon, and said so
        _added(_start(daemon, "import", file))
    return met


def _wait_stored(daemon: DaemonProcess, importing: subprocess.Popen[bytes], threshold: int) -> int:
    """Wait until so many messages are there, or the import has ended; return how many are."""
    while (stored := _stored(daemon)) < threshold and importing.poll() is None:
        time.sleep(0.002)
    return stored


def _stored(daemon: DaemonProcess) -> int:
    with Connection(daemon.socket) as connection:
        page = connection.call(ConversationList(tuple(NAMESPACE.split("/"))))
        assert isinstance(page, ConversationPage)
        return sum(info.total_messages for info in page.conversations)


def _start(daemon: DaemonProcess, command: str, file: Path) -> subprocess.Popen[bytes]:
    common = ("--json", "--socket", str(daemon.socket), "--namespace", NAMESPACE)
    return subprocess.Popen(
        [sys.executable, "-m", "recollectd", command, str(file), *common, *MAPPING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
    )


def _finished(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    output, error = process.communicate(timeout=_TIMEOUT_S)
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}: {error.decode()}")
    told: dict[str, Any] = json.loads(output)
    return told


def _added(importing: subprocess.Popen[bytes]) -> int:
    """Return how many messages an import added. Raises RuntimeError when it failed."""
    return int(_finished(importing)["added"]["message"])


def _export(daemon: DaemonProcess, file: Path) -> list[dict[str, Any]]:
    _finished(_start(daemon, "export", file))
    return [json.loads(line) for line in file.read_text().splitlines()]
