"""Errors as replies."""

from __future__ import annotations

from recollectd.protocol import errors
from recollectd.protocol.messages.connection import ErrorReply


def error_reply(error: errors.RecollectdError) -> ErrorReply:
    """Return the reply that tells a client of an error."""
    return ErrorReply(error.code, error.message, error.field, error.retry_after_ms, error.error_id)
