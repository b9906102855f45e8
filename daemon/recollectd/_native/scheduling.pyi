"""How long a thread runs at a time, as Linux's scheduler (EEVDF, from 6.12 on) lets everybody choose.

Who has short turns is soon replaced by somebody who wakes up, and soon comes again: its share of the processor stays.
"""

def take_turns_of(turn_us: int) -> bool:
    """Ask for turns of so many microseconds, 100 to 100,000, for this thread; False where the kernel has none."""

def turn_of() -> int:
    """Return the microseconds of this thread's turns, 0 where the kernel does not say."""
