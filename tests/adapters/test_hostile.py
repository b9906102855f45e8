"""Every adapter under bad names, bad values, a daemon that is away and one that is killed: nothing lost or doubled."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread
from typing import Final

import pytest

from adapters.subjects import SUBJECTS, Subject
from recollectd.client import Client
from recollectd.testing import Daemon

# LangChain announces the end of its interface for histories, in a version to come.
pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")

every = pytest.mark.parametrize("kind", SUBJECTS.values(), ids=SUBJECTS)
NAMES: Final = (
    *("a", "ab", "a:b", "a/b", "a/", "/", "/a", ":", "*", "a*", "?", "[a]", "..", "a\\b", "a\0", "\0", "%2F", "-1"),
    *("😀", "é", "e\u0301", "a\nb", "l/", "r/a", "t/a", "session/3/ada", "app", "x" * 900),
)
WRITES: Final = 40
KILLS: Final = 3


@every
def test_no_name_is_taken_for_another(kind: type[Subject], client: Client) -> None:
    subject = kind(client)
    for name in NAMES:
        subject.add(name, f"first of {name!r}")
        subject.add(name, f"second of {name!r}")
    for name in NAMES:
        assert subject.texts(name) == [f"first of {name!r}", f"second of {name!r}"]


@every
@pytest.mark.parametrize("name", ["", "x" * 10_240, "😀" * 300, "half an emoji: \ud83d"])
def test_a_name_that_cannot_be_is_refused(kind: type[Subject], client: Client, name: str) -> None:
    subject = kind(client)
    if name or kind is not SUBJECTS["google-adk"]:  # ADK makes up an id where none is given
        with pytest.raises(kind.refused):
            subject.add(name, "text")
    assert list(client.namespaces(client.namespace)) == [] or not name


@every
def test_what_cannot_be_written_leaves_nothing_behind(kind: type[Subject], client: Client) -> None:
    subject = kind(client)
    subject.add("name", "before")
    with pytest.raises(kind.refused):
        subject.spoil("name")
    assert subject.texts("name") == ["before"]
    subject.add("name", "after")
    assert subject.texts("name") == ["before", "after"]


@every
def test_a_daemon_that_is_away_is_told_in_the_frameworks_terms(kind: type[Subject], tmp_path: Path) -> None:
    with Client(f"unix://{tmp_path}/nobody", timeout=0.5) as client:
        subject = kind(client)
        with pytest.raises(kind.failed):
            subject.add("name", "text")
        with pytest.raises(kind.failed):
            subject.texts("name")


@every
def test_kills_lose_and_double_nothing(kind: type[Subject], recollectd_daemon: Daemon) -> None:
    """A writer goes on without knowing that the daemon is killed again and again."""
    written: list[str] = []
    reached = [Event() for _ in range(WRITES)]
    failures: list[BaseException] = []
    with recollectd_daemon.client(timeout=60) as client:
        subject = kind(client)

        def write() -> None:
            try:
                for number in range(WRITES):
                    subject.add("name", str(number))
                    written.append(str(number))
                    reached[number].set()
            except BaseException as error:
                failures.append(error)
            finally:
                for event in reached:
                    event.set()

        writer = Thread(target=write)
        writer.start()
        for kill in range(1, KILLS + 1):
            reached[kill * WRITES // (KILLS + 2)].wait()
            recollectd_daemon.restart(kill=True)
        writer.join()
        assert failures == []
        assert subject.texts("name") == written == [str(number) for number in range(WRITES)]
