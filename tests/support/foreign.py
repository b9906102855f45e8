"""Test suites that others wrote: fetched by pip at a pinned version and hash, loaded with our class in place of theirs.

A module below tests/conformance takes a foreign file's cases into its own namespace, so that each is a case of pytest:

    SUITE = Sdist("langgraph-checkpoint-sqlite", "3.1.2", "4e3f376f…")
    globals().update(cases(load(SUITE.fetch() / "tests/test_store.py", replacing={"langgraph.store.sqlite": ours})))
    EXCEPTIONS = {"test_of_a_cursor": "tests SQLite itself"}

`EXCEPTIONS`, read by tests/conformance/conftest.py, names every case that is left out, and why. A name is a function's
or, with the parameters in brackets, one case's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from support.source_tree import ROOT

CACHE: Final = ROOT / ".pytest_cache" / "foreign"
FETCH_S_MAX: Final = 110
_numbers: Final = count()


class Sdist(NamedTuple):
    """A source distribution on PyPI, by its name there, version and SHA-256."""

    name: str
    version: str
    sha256: str

    def fetch(self) -> Path:
        """Return the folder with its unpacked source, fetched unless it is there already."""
        folder = CACHE / f"{self.name}-{self.version}-{self.sha256[:16]}"
        if not folder.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(dir=CACHE))
            try:
                self._download(aside)
                # Whoever renames first wins; what is there then is the same.
                if not folder.exists():
                    next(path for path in aside.iterdir() if path.is_dir()).rename(folder)
            finally:
                shutil.rmtree(aside)
        return folder

    def _download(self, folder: Path) -> None:
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{self.name}=={self.version} --hash=sha256:{self.sha256}\n")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", self.name),
                *("--require-hashes", "--requirement", str(requirements), "--dest", str(folder)),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=FETCH_S_MAX,
        )
        assert done.returncode == 0, f"pip could not fetch {self.name} {self.version}:\n{done.stderr[-2_000:]}"
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            _extract(packed, folder)


def _extract(packed: tarfile.TarFile, folder: Path) -> None:
    """Unpack an archive whose hash was checked. Python 3.11 has filters since its fourth patch release only."""
    if hasattr(tarfile, "data_filter"):
        packed.extractall(folder, filter="data")
    else:
        packed.extractall(folder)


@contextmanager
def _replaced(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def load(path: Path, *, replacing: Mapping[str, ModuleType] | None = None) -> ModuleType:
    """Run a foreign Python file as a module; the imports it makes while loading get `replacing`, by module name."""
    name = f"foreign_{next(_numbers)}_{path.stem}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # where annotations written as text are looked up
    with _replaced(replacing or {}):
        spec.loader.exec_module(module)
    return module


def stand_in(name: str, **contents: Any) -> ModuleType:
    """Return a module of this name and contents, to put in a real one's place."""
    module = ModuleType(name)
    module.__dict__.update(contents)
    return module


def cases(module: ModuleType) -> dict[str, Any]:
    """Return what pytest collects from a module, and its fixtures: everything public."""
    return {name: value for name, value in vars(module).items() if not name.startswith(("_", "pytest"))}
