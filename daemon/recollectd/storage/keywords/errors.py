"""Why a keyword view is not opened. It is made anew from the records then: nothing is in it alone.

KeywordsError
├── KeywordsDamaged    a file is missing, altered or cut short
└── KeywordsOutdated   it was written by another analysis, or for other fields
"""

from __future__ import annotations


class KeywordsError(Exception):
    """Base of everything a keyword view is not opened for; the message names the file. `rebuild` makes it anew."""


class KeywordsDamaged(KeywordsError):
    """A file is missing, altered or cut short. Found before anything of it is mapped."""


class KeywordsOutdated(KeywordsError):
    """The view is whole, but its terms are not those that a query would be made of today."""
