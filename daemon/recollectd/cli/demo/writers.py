"""Writers that go on writing while the daemon is killed, and the proof of what became of each write.

A writer writes units, one after the other. A unit is one transaction over three kinds of record: a state, an item of
the writer's log and a message of its conversation, all holding the unit's number. After the kill every unit that was
acknowledged must be there, once and whole; a unit whose reply never came must be there whole or not at all.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from recollectd.cli.demo.samples import contents
from recollectd.protocol.errors import CapacityError, ClientError, OutcomeUnknown

if TYPE_CHECKING:
    from recollectd.client import Client, Transaction

PAYLOAD: Final = "x" * 150


class Writer:
    """One thread with a client of its own.

    patient: its client retries over the restart; otherwise it gives up soon, and what became of its last unit is not
    known to it. acknowledged, uncertain: numbers of units. failure: what ended it, if nothing should have.
    """

    def __init__(self, index: int, client: Client, *, patient: bool) -> None:
        self.name = f"writer-{index}"
        self.patient = patient
        self.started = 0
        self.acknowledged = 0
        self.uncertain: int | None = None
        self.failure: Exception | None = None
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """Create the writer's conversation and begin to write."""
        self._client.conversations.create(self.name)
        self._thread.start()

    def stop(self) -> None:
        """Let the writer end after the unit it is at."""
        self._stop.set()

    def join(self, timeout: float) -> bool:
        """Wait for the writer's end and say whether it came."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def running(self) -> bool:
        """Whether it still writes."""
        return self._thread.is_alive()

    @property
    def in_flight(self) -> bool:
        """Whether a unit has been sent and not been answered."""
        return self.started > self.acknowledged

    def _run(self) -> None:
        try:
            with self._client:
                while not self._stop.is_set():
                    self.started += 1
                    self._client.transact(self._unit(self.started))
                    self.acknowledged = self.started
        except (ClientError, CapacityError, OutcomeUnknown) as error:
            self.uncertain = self.started
            if self.patient:
                self.failure = error
        except Exception as error:
            self.failure = error

    def _unit(self, number: int) -> Callable[[Transaction], None]:
        def write(transaction: Transaction) -> None:
            transaction.state.put(f"{self.name}/{number:08d}", {"unit": number, "payload": PAYLOAD})
            transaction.logs.append(self.name, [number])
            transaction.conversations.append(self.name, "user", str(number))

        return write


def missing_units(client: Client, writer: Writer) -> list[str]:
    """Return a sentence for everything about a writer's units that is not as it must be."""
    states = Counter(record.value["unit"] for record in client.state.scan(f"{writer.name}/"))
    items = [item.value for item in client.logs.iterate(writer.name)]
    messages = [int(content) for content in contents(client, writer.name)]
    return list(_judge(writer, states, items, messages))


def _judge(writer: Writer, states: Counter[int], items: list[int], messages: list[int]) -> Iterator[str]:
    counts = {"state": states, "log": Counter(items), "conversation": Counter(messages)}
    for number in range(1, writer.acknowledged + 1):
        for kind, found in counts.items():
            if found[number] != 1:
                yield f"{writer.name}: unit {number} was acknowledged and is {found[number]} times in the {kind}"
    if writer.uncertain is not None:
        found_in = [kind for kind, found in counts.items() if found[writer.uncertain]]
        if 0 < len(found_in) < len(counts):
            yield f"{writer.name}: unit {writer.uncertain} is half there: only in the {' and the '.join(found_in)}"
        if any(found[writer.uncertain] > 1 for found in counts.values()):
            yield f"{writer.name}: unit {writer.uncertain} is there twice"
    beyond = max(writer.acknowledged, writer.uncertain or 0)
    for kind, found in counts.items():
        unknown = [number for number in found if not 1 <= number <= beyond]
        if unknown:
            yield f"{writer.name}: the {kind} holds what was never written: {unknown[0]}"
    for kind, numbers in (("log", items), ("conversation", messages)):
        if numbers != sorted(numbers):
            yield f"{writer.name}: the {kind} is out of order"


def whole_units(client: Client, writer: Writer) -> bool:
    """Say whether the unit that the writer had no reply for is there."""
    return writer.uncertain is not None and client.state.get(f"{writer.name}/{writer.uncertain:08d}") is not None
