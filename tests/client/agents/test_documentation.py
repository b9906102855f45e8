"""The examples of the pages about agents, MCP and memories are run as they stand, and print what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from recollectd.testing import Daemon
from support.source_tree import PACKAGE, ROOT, text_of

PAGES: Final = ("agents.md", "mcp.md", "memories.md")
EXAMPLE: Final = re.compile(r"^```python\n(.*?)^```\n\nprints\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXAMPLES: Final = [
    pytest.param(*match.groups(), id=f"{page}-{number}")
    for page in PAGES
    for number, match in enumerate(EXAMPLE.finditer(text_of(ROOT / "daemon" / "docs" / page)), 1)
]


def test_every_example_is_run() -> None:
    for page in PAGES:
        found = sum(str(example.id).startswith(page) for example in EXAMPLES)
        assert found == text_of(ROOT / "daemon" / "docs" / page).count("```python") > 0


@pytest.mark.parametrize(("program", "printed"), EXAMPLES)
def test_an_example_prints_what_its_page_says(
    program: str, printed: str, recollectd_daemon: Daemon, tmp_path: Path
) -> None:
    environment = {**os.environ, "RECOLLECTD_URL": recollectd_daemon.url, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed
