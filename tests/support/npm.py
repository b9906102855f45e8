"""Programs from npm that ours are compared with: installed at a pinned version, once, beside pip's foreign suites."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from support.foreign import CACHE

INSTALL_S_MAX: Final = 110


class Package(NamedTuple):
    """A package on npm, its version and the SHA-512 that npm knows it by, and the script that runs it."""

    name: str
    version: str
    integrity: str
    script: str

    def fetch(self) -> Path:
        """Return the script's path; the package is installed unless it is there already."""
        folder = CACHE / f"{self.name.replace('/', '-').strip('@')}-{self.version}"
        if not folder.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(dir=CACHE))
            try:
                self._install(aside)
                if not folder.exists():
                    aside.rename(folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        return folder / "node_modules" / self.name / self.script

    def _install(self, folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true}\n')
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", f"{self.name}@{self.version}"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_S_MAX,
        )
        if done.returncode:
            raise RuntimeError(f"npm could not install {self.name}:\n{done.stderr}")
        if self.integrity not in (folder / "package-lock.json").read_text():
            raise RuntimeError(f"{self.name} {self.version} is not what it was: its hash differs")
