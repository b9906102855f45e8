"""The native build; everything else about the package stands in pyproject.toml.

Each `native/<stem>.pyx` becomes `recollectd._native.<stem>`. Three environment variables matter:
RECOLLECTD_REQUIRE_NATIVE=1 turns a failed build from a warning into an error (a client alone works without),
RECOLLECTD_NATIVE_DEBUG=1 builds with assertions, symbols and line tracing, CC and CXX choose the compilers.

`python3 setup.py preflight` needs nothing but the standard library and says in one sentence what is missing.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent
DEBUG = os.environ.get("RECOLLECTD_NATIVE_DEBUG") == "1"
REQUIRED = os.environ.get("RECOLLECTD_REQUIRE_NATIVE") == "1"
# Without -ffp-contract=off some machines round scores once where others round twice.
FLAGS = [*(["-O0", "-g", "-UNDEBUG"] if DEBUG else ["-O2"]), "-ffp-contract=off"]


def compiles(variable: str, suffix: str, source: str) -> bool:
    """Whether the compiler the build will use for this kind of source translates this one."""
    configured = os.environ.get(variable) or sysconfig.get_config_var(variable) or "cc"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "probe" + suffix)
        path.write_text(source)
        include = sysconfig.get_paths()["include"]
        command = [*shlex.split(configured), "-fPIC", f"-I{include}", "-c", str(path), "-o", str(path) + ".o"]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return False


def missing() -> str:
    """Return one sentence naming the Debian package that is missing for the build, or an empty string."""
    if not compiles("CC", ".c", "int answer;\n") or not compiles("CXX", ".cpp", "#include <vector>\n"):
        return "recollectd's native modules need a working C++ compiler: install the Debian package build-essential."
    if not compiles("CC", ".c", "#include <Python.h>\n"):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return (
            f"recollectd's native modules need the headers of Python {version}: install the Debian package python3-dev."
        )
    return ""


def preflight() -> str:
    """Return one sentence about the first thing a fresh machine lacks, or an empty string."""
    if sys.version_info < (3, 11):  # noqa: UP036 (this file runs before anybody has checked)
        return f"recollectd needs Python 3.11 or newer, and this is {sys.version.split()[0]}: install a newer python3."
    if not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
        return "recollectd's quick start makes a virtual environment: install the Debian package python3-venv."
    return missing()


def main() -> None:
    """Run setuptools with the native modules."""
    from setuptools import Extension, setup
    from setuptools.command.build_ext import build_ext

    class BuildNative(build_ext):
        """Runs Cython as late as possible: earlier, an sdist would list the generated files and no source."""

        def build_extensions(self) -> None:
            if lack := missing():
                if REQUIRED:
                    sys.exit(lack)
                self.warn(lack)
                return
            from Cython.Build import cythonize

            generated = cythonize(
                self.extensions,
                build_dir=None if DEBUG else "build/cython",  # coverage finds a .pyx only through the C beside it
                annotate=DEBUG,
                include_path=["native", "daemon"],  # declarations of headers, and of modules for each other (*.pxd)
                compiler_directives={"language_level": "3", "linetrace": DEBUG},
            )
            for extension, translated in zip(self.extensions, generated, strict=True):
                # setuptools' own objects are kept: it has hung attributes of its own on them.
                extension.sources, extension.language = translated.sources, translated.language
            super().build_extensions()

    extensions = [
        Extension(
            f"recollectd._native.{path.stem}",
            [str(path.relative_to(ROOT))],
            depends=sorted(str(header.relative_to(ROOT)) for header in ROOT.glob("native/recollectd_*.*")),
            include_dirs=["native"],
            define_macros=[("CYTHON_TRACE_NOGIL", "1")] if DEBUG else [],
            extra_compile_args=[*FLAGS, "-pthread"],
            extra_link_args=["-pthread"],
            optional=not REQUIRED,
        )
        for path in sorted(ROOT.glob("native/*.pyx"))
    ]
    setup(ext_modules=extensions, cmdclass={"build_ext": BuildNative})


if __name__ == "__main__" and sys.argv[1:] == ["preflight"]:
    sys.exit(preflight() or None)
main()
