"""Google ADK: a session service and a memory service over a recollectd daemon."""

from recollectd.adapters.google_adk.memories import RecollectdMemoryService
from recollectd.adapters.google_adk.sessions import RecollectdSessionService

__all__ = ["RecollectdMemoryService", "RecollectdSessionService"]
