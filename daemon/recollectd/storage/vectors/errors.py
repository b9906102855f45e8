"""What the vector view raises.

VectorsError
├── SpaceUnknown      there is no such space
├── SpaceRebuilding   its files were damaged; it answers again when it is rebuilt
├── FileDamaged       a file is not what the manifest says (found before it is mapped; opening turns it into a report)
└── BuildFailed       the process that builds segments failed; what was there stays in use
    └── BuildStopped  it was ended, by the view or from outside
"""

from __future__ import annotations


class VectorsError(Exception):
    """Base of everything the vector view raises on purpose."""


class SpaceUnknown(VectorsError):
    """There is no such space."""


class SpaceRebuilding(VectorsError):
    """The space's files were damaged. It answers again when it is rebuilt from the records."""


class FileDamaged(VectorsError):
    """A file is missing, or not what the manifest says."""


class BuildFailed(VectorsError):
    """A segment could not be built. What was there stays in use, and the attempt is made again later."""


class BuildStopped(BuildFailed):
    """The build was ended, by the view or from outside: the next one goes on with what was parked."""
