"""Units that options are counted in."""

from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
DAY_S: Final = 86_400
YEAR_S: Final = 366 * DAY_S
