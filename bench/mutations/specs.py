"""The mutations: each breaks one promise on purpose, by replacing text in a copy of the tree.

An anchor is text that must stand exactly once in its file: a mutation whose source has changed fails loudly instead of
testing nothing. A mutant breaks its one promise only: the tests in SOUND still pass, or it is no mutation but a wreck
that any test would notice. `suites` are where it ought to be caught; if it is not, the whole suite is asked.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Replacement(NamedTuple):
    """One change of text: path below the tree, what stands there, what stands there instead."""

    path: str
    anchor: str
    instead: str


class Mutation(NamedTuple):
    """One broken promise."""

    name: str
    replacements: tuple[Replacement, ...]
    suites: tuple[str, ...]

    @property
    def native(self) -> bool:
        """Whether native code changes, so that the copy must be built."""
        return any(change.path.endswith((".pyx", ".pxd", ".h")) for change in self.replacements)


SOUND: Final = (
    "tests/crash/test_promises.py::test_an_undisturbed_daemon_does_its_work",
    "tests/crash/test_promises.py::test_the_absent_stay_absent",
)

_THREAD: Final = "native/recollectd_journal_thread.h"
_HOT_WRITES: Final = "native/hot_writes.pyx"
_COMMITTER: Final = "daemon/recollectd/server/committer.py"

# Who breaks a promise about what is in the file, but not durable, must hear of it.
_TELL_WRITTEN: Final = Replacement(
    _COMMITTER, "tell_written=self._asynchronous_seq >= items[0].seq,", "tell_written=True,"
)

MUTATIONS: Final = (
    Mutation(
        "no sync",
        (Replacement(_THREAD, "if (fdatasync(writer->fd) != 0) {", "if (0) {"),),
        ("tests/crash/test_promises.py", "tests/journal", "tests/native"),
    ),
    Mutation(
        "reply before sync",
        (
            _TELL_WRITTEN,
            Replacement(
                "daemon/recollectd/server/pending.py",
                "        if self._ticket.asynchronous:\n",
                "        if self._ticket:\n",
            ),
            Replacement(
                _HOT_WRITES,
                '        """Nothing is told before it is durable: an asynchronous write goes the ordinary way."""\n',
                "        reply = self.part(self.reply_at, self.reply_bytes)\n"
                "        self._lane.intake.reply(self.request_id, self.seq, reply)\n"
                "        self._lane.connection.flush_replies()\n"
                "        self.request_id = 0\n",
            ),
            Replacement(
                _HOT_WRITES,
                "        self._lane.intake.queue(self.request_id, self.seq, self._outcome.reply)\n",
                "        if self.request_id:\n"
                "            self._lane.intake.queue(self.request_id, self.seq, self._outcome.reply)\n",
            ),
        ),
        ("tests/crash/test_promises.py", "tests/server"),
    ),
    Mutation(
        "apply before sync",
        (
            _TELL_WRITTEN,
            Replacement(
                _COMMITTER,
                "        if written and written[-1].seq <= progress.synced_seq:\n",
                "        for each in written:\n"
                "            if self._engine.applied_seq < each.seq <= progress.written_seq:\n"
                "                early: list[Write] = []\n"
                "                each.add_rows(early)\n"
                "                self._engine.write(early, each.seq)\n"
                "        if written and written[-1].seq <= progress.synced_seq:\n",
            ),
            Replacement(
                _COMMITTER,
                "                self._engine.write(writes, items[-1].seq)\n",
                "                if items[-1].seq > self._engine.applied_seq:\n"
                "                    self._engine.write(writes, items[-1].seq)\n",
            ),
        ),
        ("tests/crash/test_promises.py", "tests/server"),
    ),
    Mutation(
        "no directory sync",
        (
            Replacement(
                _THREAD,
                "error = fsync(writer->directory_fd) ? errno : 0;",
                "error = 0;",
            ),
        ),
        ("tests/crash/test_promises.py", "tests/journal"),
    ),
    Mutation(
        "guards against committed state only",
        (
            Replacement(
                "daemon/recollectd/_native/facts.pxd",
                "return entry.pending if entry.seq else entry.applied",
                "return entry.applied if entry.known else entry.pending",
            ),
        ),
        ("tests/crash/test_promises.py", "tests/memory", "tests/server"),
    ),
    Mutation(
        "retry executed twice",
        (
            Replacement(
                "daemon/recollectd/memory/sessions.py",
                "        known = session.outcomes.get(number)\n",
                "        known = None\n",
            ),
        ),
        ("tests/crash/test_promises.py", "tests/memory", "tests/server"),
    ),
)
