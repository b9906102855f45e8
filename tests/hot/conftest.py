"""Daemons by hand, as the tests of the server have them."""

from __future__ import annotations

from server.conftest import make_daemon

__all__ = ["make_daemon"]
