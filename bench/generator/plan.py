"""What a generator shall do, and what it saw.

A `Request` is the bytes of one kind of request with places that the generator fills in each time: `digits` are the
key's number in decimal (divided by a power of ten where only its first digits are wanted), `noise` is the value.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from bench.generator.build import generator

KEY_DIGITS: Final = 9
KEY_MARK: Final = b"0" * KEY_DIGITS  # stands in a template for the key's number
Distribution = Literal["uniform", "zipfian", "latest", "sequential"]
_UNITS: Final = 1e6  # of a millisecond: the generator counts nanoseconds


class Request(NamedTuple):
    """One kind of request. write: it takes a number of the session; inserts: its key is a new one; then: follows it."""

    name: str
    template: bytes
    value_bytes: int = 0
    weight: float = 1.0
    write: bool = False
    inserts: bool = False
    then: int = -1
    key_digits: int = KEY_DIGITS

    def line(self) -> str:
        """Return the plan's line about it. Raises ValueError where the template has no place for key or value."""
        template, mark = self.template, b"0" * self.key_digits
        at = template.index(mark)
        patches = [f"d:{at}:{self.key_digits}:{10 ** (KEY_DIGITS - self.key_digits)}"]
        if self.value_bytes:
            patches.append(f"r:{template.index(noise(self.value_bytes))}:{self.value_bytes}")
        flags = ("w" if self.write else "") + ("i" if self.inserts else "") or "-"
        return f"kind {self.name} {self.weight} {flags} {self.then} {template.hex()} {' '.join(patches)}"


def noise(size: int) -> bytes:
    """Return what stands in a template for a value of so many bytes."""
    return b"\xc1" * size


class Target(NamedTuple):
    """Where requests go. protocol: its first letter counts; prelude: what a connection begins with."""

    socket: Path
    protocol: Literal["ours", "resp", "postgres"]
    prelude: bytes = b""
    prelude_replies: int = 0
    error_tag: int = 0


class Plan(NamedTuple):
    """One run of one generator. rate: requests per second in open loop, 0 closed; operations: 0 for no bound."""

    target: Target
    requests: Sequence[Request]
    connections: int
    depth: int
    seconds: float
    keys: int
    rate: float = 0.0
    operations: int = 0
    seed: int = 1
    distribution: Distribution = "uniform"
    insert_start: int = 0
    insert_step: int = 1

    def text(self) -> str:
        """Return the plan as the generator reads it."""
        target = self.target
        lines = [
            f"socket {target.socket}",
            f"protocol {target.protocol}",
            f"error_tag {target.error_tag}",
            *([f"prelude {target.prelude.hex()} {target.prelude_replies}"] if target.prelude else []),
            *(f"{name} {getattr(self, name)}" for name in ("connections", "depth", "seconds", "keys", "rate", "seed")),
            *([f"operations {self.operations}"] if self.operations else []),
            f"distribution {self.distribution}",
            f"insert_start {self.insert_start}",
            f"insert_step {self.insert_step}",
            *(request.line() for request in self.requests),
            "end",
        ]
        return "\n".join(lines) + "\n"


class Latencies:
    """A histogram: how often each latency, in nanoseconds, was seen."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def add(self, other: Latencies) -> None:
        """Take in another histogram."""
        self.counts.update(other.counts)

    @property
    def samples(self) -> int:
        """How many there are."""
        return self.counts.total()

    def percentile(self, share: float) -> float:
        """Return the latency in milliseconds that so much (0...1) of the samples do not exceed; 0.0 for none."""
        wanted, seen = share * self.samples, 0
        for value in sorted(self.counts):
            seen += self.counts[value]
            if seen >= wanted:
                return value / _UNITS
        return 0.0


class Outcome:
    """What one generator, or several added together, saw.

    seconds: the window; elapsed_s: until the last answer; in_time: answers within the window;
    issued: in open loop, all that were due; cpu_s: the generators' own; latencies by the name of the request;
    missing: answers that say there is nothing; error: the first one's bytes.
    """

    def __init__(self) -> None:
        self.seconds = self.elapsed_s = 0.0
        self.cpu_s = 0.0
        self.issued = self.answered = self.in_time = self.inserted = 0
        self.errors = self.missing = 0
        self.latencies: dict[str, Latencies] = {}
        self.lag = Latencies()
        self.error = b""

    @property
    def per_second(self) -> float:
        """Answers per second of the window."""
        return self.in_time / self.seconds if self.seconds else 0.0

    @property
    def cpu_us(self) -> float:
        """The generators' CPU per request, in microseconds."""
        return self.cpu_s / max(self.answered, 1) * 1e6

    @property
    def all(self) -> Latencies:
        """The latencies of all kinds together."""
        together = Latencies()
        for latencies in self.latencies.values():
            together.add(latencies)
        return together

    def add(self, other: Outcome) -> None:
        """Take in what another generator saw during the same seconds."""
        self.seconds = max(self.seconds, other.seconds)
        self.elapsed_s = max(self.elapsed_s, other.elapsed_s)
        for name in ("cpu_s", "issued", "answered", "in_time", "inserted", "errors", "missing"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for kind, latencies in other.latencies.items():
            self.latencies.setdefault(kind, Latencies()).add(latencies)
        self.lag.add(other.lag)
        self.error = self.error or other.error


def parse(output: str) -> Outcome:
    """Return what a generator printed."""
    outcome, names = Outcome(), list[str]()
    for line in output.splitlines():
        word, *rest = line.split()
        match word:
            case "window":
                outcome.seconds = float(rest[0])
            case "elapsed":
                outcome.elapsed_s = float(rest[0])
            case "cpu":
                outcome.cpu_s = float(rest[0])
            case "issued" | "answered" | "in_time" | "inserted":
                setattr(outcome, word, int(rest[0]))
            case "kind":
                names.append(rest[0])
                outcome.latencies.setdefault(rest[0], Latencies())
                outcome.errors += int(rest[1])
                outcome.missing += int(rest[2])
            case "latency":
                outcome.latencies[names[int(rest[0])]].counts[int(rest[1])] += int(rest[2])
            case "lag":
                outcome.lag.counts[int(rest[1])] += int(rest[2])
            case "error":
                outcome.error = bytes.fromhex(rest[0])
    return outcome


class Generators:
    """Generators that stand connected and begin together. Use as a context; `run` once."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._plans = plans
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Generators:
        program = str(generator())
        for plan in self._plans:
            process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self._processes.append(process)
            assert process.stdin is not None
            process.stdin.write(plan.text())
            process.stdin.flush()
        for process in self._processes:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("a load generator could not connect; its words stand above")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def run(self) -> Outcome:
        """Begin, wait for the end, return what all saw. Raises RuntimeError when one fails."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        together = Outcome()
        for process in self._processes:
            output, _error = process.communicate()
            if process.returncode:
                raise RuntimeError("a load generator failed; its words stand above")
            together.add(parse(output))
        return together


def run(*plans: Plan) -> Outcome:
    """Connect and run generators, return what all saw."""
    with Generators(plans) as generators:
        return generators.run()
