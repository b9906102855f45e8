"""The daemon's log: one line an event, as text or JSON, on standard error. Never a key's value, never a message."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return time, level, place and message on a line; a traceback below it."""
        line = f"{_time(record)} {record.levelname.lower():<7} {record.name}: {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return an object on a line."""
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def start_logging(level: str, form: str) -> None:
    """Send the log to standard error at this level, as `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger("recollectd")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False
