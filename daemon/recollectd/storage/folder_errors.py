"""Why a data folder is not opened.

FolderError
├── FolderLocked       another process has it
├── FolderForeign      it holds something that is not a store, or is no folder
├── FolderDamaged      it holds a store of which something is missing or unreadable
├── FolderFormat       its format is not one that this program reads
└── MigrationRefused   bringing it to this program's format cannot begin; nothing was changed
"""

from __future__ import annotations


class FolderError(Exception):
    """Base of everything the data folder is refused for; the message names the folder and says what to do."""


class FolderLocked(FolderError):
    """Another process has the folder."""


class FolderForeign(FolderError):
    """The folder holds something that is not a store, or is no folder."""


class FolderDamaged(FolderError):
    """The folder holds a store of which something is missing or unreadable. It is never made anew."""


class FolderFormat(FolderError):
    """The folder's format is not one that this program reads."""


class MigrationRefused(FolderError):
    """A migration cannot begin. Nothing was changed."""
