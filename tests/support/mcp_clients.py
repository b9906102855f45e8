"""The official MCP client before our server and before the reference's, each a process of its own on stdio."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

from mcp import Client, StdioServerParameters

from support.npm import Package
from support.source_tree import PACKAGE

REFERENCE: Final = Package(
    "@modelcontextprotocol/server-memory",
    "2026.8.31",
    "sha512-ljj/3S4aGjxdNSQWw6gucKKGnTLdBPWxzapyY/MT2tOVyZwvxChvevXSLPwx59nKJAlVpUVW+cOlnVRXRwiqMQ==",
    "dist/index.js",
)


def ours(url: str, namespace: tuple[str, ...], *more: str, **options: Any) -> Client:
    """Return a client of a server of ours over a daemon; more: words for its command line."""
    words = ["-P", "-m", "recollectd", "mcp", "--url", url, *more]
    for label in namespace:
        words += ["-n", label]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGE.parent)}
    server = StdioServerParameters(command=sys.executable, args=words, env=environment)
    return Client(server, **{"mode": "legacy", **options})


def reference(file: Path, **options: Any) -> Client:
    """Return a client of a reference server over a memory file."""
    environment = {"PATH": os.environ["PATH"], "MEMORY_FILE_PATH": str(file)}
    script = str(REFERENCE.fetch())
    return Client(StdioServerParameters(command="node", args=[script], env=environment), mode="legacy", **options)
