"""What is declared once stays declared once: errors, limits, options, environment, names on disk."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

import pytest

from recollectd.protocol import errors, limits
from support.source_tree import PACKAGE, files, shown, text_of, tree_of

SOURCES: Final = files(".py", below=PACKAGE)


# -- errors ---------------------------------------------------------------------------------------------------------


def errors_declared(tree: ast.AST) -> Iterator[str]:
    classes: list[type[errors.RecollectdError]] = [
        errors.RecollectdError,
        *errors.RecollectdError.__subclasses__(),
        *errors.ERRORS,
    ]
    ours = {error.__name__ for error in classes}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).split(".")[-1] in ours for base in node.bases):
            yield node.name


def test_errors_are_declared_in_the_one_table() -> None:
    found = {shown(path): list(errors_declared(tree_of(path))) for path in SOURCES}
    declared = {path: names for path, names in found.items() if names}
    assert list(declared) == ["daemon/recollectd/protocol/errors.py"]
    groups = {error.__name__ for error in errors.RecollectdError.__subclasses__()}
    assert (
        set(declared["daemon/recollectd/protocol/errors.py"]) - groups
        == {error.__name__ for error in errors.ERRORS} - groups
    )


def test_an_error_elsewhere_is_found() -> None:
    assert list(errors_declared(ast.parse("class Mine(errors.Busy):\n    pass"))) == ["Mine"]


# -- limits ---------------------------------------------------------------------------------------------------------

# Small numbers, and round ones up to some megabytes, are limits and a hundred other things; the rest is no chance.
ROUND: Final = {1 << shift for shift in range(24)}
BIG: Final = {value: name for name, value in limits.table().items() if value > 1_000_000 and value not in ROUND}
HANDLES_REQUESTS: Final = ("protocol", "client", "memory", "server", "cli")


def number(node: ast.AST) -> int | None:
    """Return the value of a number written as one, or as a product, sum, power or shift of such."""
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return value
        case ast.BinOp(left=left, op=ast.Mult() | ast.Add() | ast.Sub() | ast.LShift() | ast.Pow(), right=right):
            if (a := number(left)) is None or (b := number(right)) is None or abs(b) > 1 << 62:
                return None
            if isinstance(node.op, ast.LShift | ast.Pow) and not 0 <= b <= 64:
                return None
            operations = {ast.Mult: int.__mul__, ast.Add: int.__add__, ast.Sub: int.__sub__, ast.LShift: int.__lshift__}
            result = a**b if isinstance(node.op, ast.Pow) else operations[type(node.op)](a, b)
            return int(result)
        case _:
            return None


def limits_written_out(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        value = number(node)
        if value in BIG:
            yield f"line {node.lineno}: {BIG[value]}"  # type: ignore[attr-defined]


def test_limits_are_written_once() -> None:
    found = {
        shown(path): list(limits_written_out(tree_of(path)))
        for path in SOURCES
        if path.relative_to(PACKAGE).parts[0] in HANDLES_REQUESTS and path.name != "limits.py"
    }
    assert {path: written for path, written in found.items() if written} == {}


@pytest.mark.parametrize("source", ["x = 33554432", "x = 32 * 1024 * 1024", "x = f(32 << 20)", "x = 2**25"])
def test_a_limit_written_out_is_found(source: str) -> None:
    assert list(limits_written_out(ast.parse(source))) == ["line 1: frame_bytes_max"]


# -- environment ----------------------------------------------------------------------------------------------------

READS_THE_ENVIRONMENT: Final = ("config", "cli", "client", "testing")


def environment_reads(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "getenv" | "environb" as name):
                yield f"line {node.lineno}: os.{name}"
            case ast.ImportFrom(module="os", names=names) if {"environ", "getenv"} & {alias.name for alias in names}:
                yield f"line {node.lineno}: from os import environ"


def test_the_environment_is_read_in_few_places() -> None:
    found = {
        shown(path): list(environment_reads(tree_of(path)))
        for path in SOURCES
        if path.relative_to(PACKAGE).parts[0].removesuffix(".py") not in READS_THE_ENVIRONMENT
    }
    assert {path: reads for path, reads in found.items() if reads} == {}


def test_an_environment_read_is_found() -> None:
    assert list(environment_reads(ast.parse("import os\nos.environ['X']"))) == ["line 2: os.environ"]
    assert list(environment_reads(ast.parse("from os import getenv"))) == ["line 1: from os import environ"]


# -- names on disk --------------------------------------------------------------------------------------------------

# Names in the data folder that could be nothing else: written once, imported everywhere else.
ON_DISK: Final = ("STORE", "STORE.creating", "ballast", ".segment", "spare-", ".postings")


@pytest.mark.parametrize("name", ON_DISK)
def test_names_on_disk_are_written_once(name: str) -> None:
    places = [
        f"{shown(path)}, line {node.lineno}"
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and node.value == name
    ]
    assert len(places) == 1, places


FIXED: Final = (
    *("protocol/frames.py", "protocol/errors.py", "protocol/messages/fields.py"),
    *("journal/format.py", "storage/keyspace.py", "storage/store_file.py", "storage/folder.py", "memory/commits.py"),
    "storage/keywords/manifest.py",
)


@pytest.mark.parametrize("file", FIXED)
def test_what_is_on_disk_or_wire_says_so(file: str) -> None:
    assert re.search(r"\b[Dd]o not change\b", text_of(PACKAGE / file))
