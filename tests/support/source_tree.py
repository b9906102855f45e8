"""The project's own source, for tests that hold its rules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "daemon" / "recollectd"
FOLDERS: Final = (".ci", "daemon", "native", "tests", "bench", "deploy")
LEFT_BY_TOOLS: Final = ("__pycache__", "build", "dist")


def files(*suffixes: str, below: Path = ROOT) -> list[Path]:
    """Return the project's files with these suffixes (all text files without any), in order of their paths."""
    found = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"] if below == ROOT else []
    for folder in (ROOT / name for name in FOLDERS) if below == ROOT else (below,):
        found += [path for path in folder.rglob("*") if path.is_file()]
    return sorted(path for path in found if _is_ours(path) and (path.suffix in suffixes or not suffixes))


def _is_ours(path: Path) -> bool:
    folders = path.relative_to(ROOT).parts[:-1]
    generated = any(
        name in LEFT_BY_TOOLS or name.endswith(".egg-info") or (name.startswith(".") and name != ".ci")
        for name in folders
    )
    return not generated and path.suffix not in (".so", ".pyc", ".c", ".cpp", ".html")


def shown(path: Path) -> str:
    """Return the path as a person would name it."""
    return path.relative_to(ROOT).as_posix()


@cache
def text_of(path: Path) -> str:
    """Return a file's text."""
    return path.read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    """Return a Python file's syntax tree."""
    return ast.parse(text_of(path), shown(path))


def module_name(path: Path) -> str:
    """Return the import name of a file of the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class Call(NamedTuple):
    """A call as it is written: `time.sleep`, `print`; and where."""

    name: str
    node: ast.Call


def calls(tree: ast.AST) -> Iterator[Call]:
    """Yield every call, its function named by where it was imported from."""
    origins = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            head, dot, rest = ast.unparse(node.func).partition(".")
            yield Call(origins.get(head, head) + dot + rest, node)


class Import(NamedTuple):
    """An imported module; lazy: inside a function; typing_only: below `if TYPE_CHECKING`."""

    name: str
    lazy: bool
    typing_only: bool


def imports(tree: ast.Module) -> Iterator[Import]:
    """Yield every absolute import of a module, wherever it stands, with what is imported from it."""
    yield from _imports_below(tree, lazy=False, typing_only=False)


def _imports_below(node: ast.AST, *, lazy: bool, typing_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, lazy, typing_only) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, "imports are absolute"
            yield from (Import(f"{child.module}.{alias.name}", lazy, typing_only) for alias in child.names)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            checked = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from _imports_below(child, lazy=lazy or inside, typing_only=typing_only or checked)
