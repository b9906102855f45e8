"""The command `recollectd demo`: its steps, in order."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from recollectd.cli import daemon_packages
from recollectd.cli.demo import samples, speed
from recollectd.cli.demo.daemon import DaemonFailed, DemoDaemon
from recollectd.cli.demo.writers import Writer, missing_units, whole_units
from recollectd.cli.exits import ExitCode
from recollectd.cli.failures import Failure
from recollectd.cli.output import count
from recollectd.protocol.errors import RecollectdError

WRITERS = 8
PATIENT_S = 30.0
IMPATIENT_S = 0.5
UNITS_BEFORE_KILL = 400
UNITS_AFTER_KILL = 20
WRITE_S_MAX = 8.0
PROBLEMS_SHOWN = 10
POLL_S = 0.005


class Demo:
    """One run: a daemon, its writers, and what is wrong so far."""

    def __init__(self, daemon: DemoDaemon) -> None:
        self._daemon = daemon
        self._writers: list[Writer] = []
        self._step = 0

    def run(self) -> None:
        """Go through all steps. Raises DaemonFailed, or Failure when something is missing."""
        self._tell(f"start      a daemon in a temporary folder: ready after {self._daemon.start():.2f} s")
        with self._daemon.client() as client:
            samples.store(client)
        messages = len(samples.conversation())
        self._tell(
            f"store      {count(samples.AGENTS, 'agent state')}, a conversation of {count(messages, 'message')}, "
            "a transaction over three kinds of record"
        )
        self._kill_while_writing()
        self._tell(f"start      the journal is replayed: ready after {self._daemon.start():.2f} s")
        self._let_patient_writers_finish()
        self._check()
        self._measure()
        self._daemon.stop()
        self._tell("stop       SIGTERM, and the folder is removed")

    def _tell(self, text: str) -> None:
        self._step += 1
        click.echo(f"  {self._step}  {text}")

    # -- the kill ---------------------------------------------------------------------------------------------------

    def _kill_while_writing(self) -> None:
        for index in range(WRITERS):
            patient = index % 2 == 0
            client = self._daemon.client(PATIENT_S if patient else IMPATIENT_S)
            self._writers.append(Writer(index, client, patient=patient))
        for writer in self._writers:
            writer.start()
        self._tell(f"write      {WRITERS} connections; each write is one transaction: state, log and conversation")
        self._wait(lambda: self._acknowledged() >= UNITS_BEFORE_KILL and any(w.in_flight for w in self._writers))
        self._daemon.kill()
        self._tell(
            f"kill -9    in the middle of it: {count(self._acknowledged(), 'write')} acknowledged, "
            f"{sum(writer.in_flight for writer in self._writers)} without a reply yet"
        )
        for writer in self._writers:
            if not writer.patient and not writer.join(PATIENT_S):
                raise DaemonFailed(f"{writer.name} did not give up")

    def _let_patient_writers_finish(self) -> None:
        patient = [writer for writer in self._writers if writer.patient]
        goals = {writer.name: writer.acknowledged + UNITS_AFTER_KILL for writer in patient}
        self._wait(lambda: all(writer.acknowledged >= goals[writer.name] or not writer.running for writer in patient))
        for writer in patient:
            writer.stop()
        for writer in patient:
            if not writer.join(PATIENT_S):
                raise DaemonFailed(f"{writer.name} still waits for a reply")

    def _acknowledged(self) -> int:
        return sum(writer.acknowledged for writer in self._writers)

    def _wait(self, reached: Callable[[], bool]) -> None:
        """Wait for a state, but not for ever: a slow disk makes a smaller demo, not a failed one."""
        end = time.monotonic() + WRITE_S_MAX
        while not reached() and time.monotonic() < end:
            time.sleep(POLL_S)

    # -- afterwards -------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        problems: list[str] = []
        with self._daemon.client() as client:
            problems.extend(samples.missing(client))
            for writer in self._writers:
                if writer.failure is not None:
                    problems.append(f"{writer.name} ended with {type(writer.failure).__name__}: {writer.failure}")
                problems.extend(missing_units(client, writer))
            uncertain = [writer for writer in self._writers if writer.uncertain is not None]
            whole = sum(whole_units(client, writer) for writer in uncertain)
        if problems:
            shown = "\n".join(f"  {problem}" for problem in problems[:PROBLEMS_SHOWN])
            raise Failure(f"{count(len(problems), 'problem')} after the kill:\n{shown}", code=ExitCode.DEMO_FAILED)
        self._tell(
            f"check      all {count(self._acknowledged(), 'acknowledged write')} are there, each once and in order; "
            f"the records of step 2 too"
        )
        click.echo(
            f"                {sum(writer.patient for writer in self._writers)} writers retried over the restart and "
            "went on: nothing was done twice"
        )
        click.echo(
            f"                {len(uncertain)} gave up without a reply: {whole} of their last writes are there whole, "
            f"{len(uncertain) - whole} not at all"
        )

    def _measure(self) -> None:
        with self._daemon.client() as client:
            puts, gets = speed.measure_puts(client), speed.measure_gets(client)
        self._tell("measure    200-byte values, over one connection")
        click.echo("                                one at a time               many at once")
        click.echo("                         ops/s       p50       p99            ops/s")
        for name, figures in (("synced puts", puts), ("gets", gets)):
            click.echo(
                f"          {name:<12}{figures.per_second:>11,.0f}{figures.p50_ms:>7.2f} ms{figures.p99_ms:>7.2f} ms"
                f"{figures.together_per_second:>17,.0f}"
            )
        raw_ms = speed.raw_sync_ms(self._daemon.data)
        click.echo(f"          a bare 4 KiB write with its sync takes {raw_ms:.2f} ms on this disk")


@click.command()
def demo() -> None:
    """Kill a daemon while it is written to, and check every write.

    A daemon is started, filled, killed with SIGKILL in the middle of writing, and started again: every acknowledged
    write must be there, once and whole. Then it is measured. Everything happens in a temporary folder (TMPDIR says
    where) and is removed afterwards. Ends with 80 if anything is missing.
    """
    with daemon_packages.needed("the demo"):
        import recollectd.server.main  # noqa: F401 - a package that is missing is told here, not by the daemon's log
    began = time.monotonic()
    click.echo("recollectd demo")
    try:
        with DemoDaemon() as daemon:
            Demo(daemon).run()
    except (DaemonFailed, RecollectdError) as error:
        raise Failure(str(error), code=ExitCode.DEMO_FAILED) from error
    click.echo(f"nothing was lost ({time.monotonic() - began:.1f} s)")
