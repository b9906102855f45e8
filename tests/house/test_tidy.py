"""Rules of the house that no linter knows: sizes, banned calls, leftovers, forms.

Each rule is a function from text to complaints, so that a second test can show it a breach.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from support.source_tree import ROOT, calls, files, shown, text_of, tree_of

MODULE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 60
CODE: Final = (".py", ".pyi", ".pyx", ".pxd", ".h")
TEXT: Final = (*CODE, ".md", ".toml", ".in", ".txt", ".service", ".conf", ".sh", "")

# -- sizes ----------------------------------------------------------------------------------------------------------


def long_functions(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{node.name} has {lines} lines"


NATIVE_FUNCTION: Final = re.compile(r"^( *)(?:cdef|cpdef|def)\b(?! class)[^=]*\(.*$")


def long_native_functions(text: str) -> Iterator[str]:
    """The same for Cython, by indentation: a function ends where a line stands no deeper than its head."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        head = NATIVE_FUNCTION.match(line)
        if head is None:
            continue
        length = 1
        for after, below in enumerate(lines[number + 1 :], start=2):
            if below.strip() and len(below) - len(below.lstrip()) <= len(head[1]) and below.strip()[0] != ")":
                break
            length = after if below.strip() else length
        if length > FUNCTION_LINES_MAX:
            yield f"{line.strip()} has {length} lines"


C_FUNCTION: Final = re.compile(r"^(\w[^;=#]*?\b(\w+)\([^;]*?\)\s*\{)$.*?^\}$", re.DOTALL | re.MULTILINE)


def long_c_functions(text: str) -> Iterator[str]:
    """The same for C, whose functions begin and end in the first column."""
    for function in C_FUNCTION.finditer(text):
        lines = function[0].count("\n") + 1
        if lines > FUNCTION_LINES_MAX:
            yield f"{function[2]} has {lines} lines"


def test_modules_are_small_enough_to_read_at_once() -> None:
    lines = {shown(path): text_of(path).count("\n") for path in files(*CODE)}
    assert {path: count for path, count in lines.items() if count > MODULE_LINES_MAX} == {}


def test_functions_fit_on_a_screen() -> None:
    found = {shown(path): list(long_functions(tree_of(path))) for path in files(".py")}
    found |= {shown(path): list(long_native_functions(text_of(path))) for path in files(".pyx")}
    found |= {shown(path): list(long_c_functions(text_of(path))) for path in files(".h")}
    assert {path: long for path, long in found.items() if long} == {}


def test_long_functions_are_found() -> None:
    body = "    x = 1\n" * FUNCTION_LINES_MAX
    assert list(long_functions(ast.parse("def f():\n" + body)))
    assert not list(long_functions(ast.parse("def f():\n" + body[10:])))
    assert list(long_native_functions("cdef int f(int a) nogil:\n" + body + "\ncdef int g():\n    pass\n"))
    assert not list(long_native_functions("cdef int f(int a) nogil:\n" + body[10:] + "\n\nx = 1\n"))
    c_body = "    x += 1;\n" * FUNCTION_LINES_MAX
    assert list(long_c_functions("static inline int f(int a,\n    int b)\n{\n" + c_body + "}\n"))
    assert not list(long_c_functions("int f(int a) {\n" + c_body[33:] + "}\n\nint g(void) {\n" + c_body[33:] + "}\n"))


# -- banned calls ---------------------------------------------------------------------------------------------------


class Ban(NamedTuple):
    """A call that is not made below some folders; allowed: files or folders where it is all the same."""

    call: str
    below: tuple[str, ...]
    allowed: tuple[str, ...]
    instead: str


EVERYWHERE: Final = ("daemon", "tests", "bench", "setup.py")
BANS: Final = (
    Ban("time.sleep", ("tests",), ("tests/support",), "wait for a state (tests/support)"),
    Ban("asyncio.sleep", ("tests",), ("tests/support",), "wait for a state (tests/support)"),
    Ban("print", ("daemon",), ("daemon/recollectd/cli",), "people are spoken to by the command line alone; log"),
    Ban("os.system", EVERYWHERE, (), "subprocess.run with a list"),
    Ban("eval", EVERYWHERE, (), "ast.literal_eval, or a table"),
    Ban("exec", EVERYWHERE, (), "a function"),
    Ban("pickle.loads", EVERYWHERE, (), "msgspec"),
    Ban("datetime.datetime.utcnow", EVERYWHERE, (), "datetime.now(UTC)"),
    *(
        Ban(
            clock,
            ("daemon/recollectd/memory",),
            (),
            "time comes with the commit: what is applied twice is the same twice",
        )
        for clock in ("time.time", "time.time_ns", "datetime.datetime.now")
    ),
)


def banned_calls(tree: ast.AST, file: str) -> Iterator[str]:
    for call in calls(tree):
        for ban in BANS:
            if (
                call.name != ban.call
                or not file.startswith(ban.below)
                or (ban.allowed and file.startswith(ban.allowed))
            ):
                continue
            if call.name == "asyncio.sleep" and ast.unparse(call.node) == "asyncio.sleep(0)":
                continue  # gives the others their turn; it waits for no time
            yield f"{file}, line {call.node.lineno}: {ban.call}: {ban.instead}"


def test_banned_calls() -> None:
    assert [found for path in files(".py") for found in banned_calls(tree_of(path), shown(path))] == []


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("import time\ntime.sleep(1)", "tests/x.py"),
        ("from time import sleep as nap\nnap(1)", "tests/x.py"),
        ("async def f():\n    await asyncio.sleep(0.1)", "tests/x.py"),
        ("print('x')", "daemon/recollectd/server/x.py"),
        ("from datetime import datetime\ndatetime.now()", "daemon/recollectd/memory/x.py"),
    ],
)
def test_banned_calls_are_found(source: str, file: str) -> None:
    assert len(list(banned_calls(ast.parse(source), file))) == 1


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("import time\ntime.sleep(1)", "tests/support/x.py"),
        ("async def f():\n    await asyncio.sleep(0)", "tests/x.py"),
        ("print('x')", "daemon/recollectd/cli/x.py"),
    ],
)
def test_what_is_allowed_is_not_found(source: str, file: str) -> None:
    assert list(banned_calls(ast.parse(source), file)) == []


# -- leftovers ------------------------------------------------------------------------------------------------------

# Written so that they do not find themselves.
LEFTOVERS: Final = {
    "a note to oneself": re.compile(r"\b(?:FIX" r"ME|TO" r"DO|XX" r"X)\b"),
    "a path of one machine": re.compile(r"(?<![\w.])/(?:home|root|work|Users)/\w"),
    "a line number that will be wrong tomorrow": re.compile(r"\b[\w/]+\.(?:py|pyx|pyi|h):\d+"),
}


def leftovers(text: str) -> Iterator[str]:
    for what, pattern in LEFTOVERS.items():
        yield from (f"{what}: {match[0]}" for match in pattern.finditer(text))


def test_nothing_is_left_lying_about() -> None:
    found = {shown(path): list(leftovers(text_of(path))) for path in files(*TEXT) if path != Path(__file__)}
    assert {path: left for path, left in found.items() if left} == {}


@pytest.mark.parametrize("text", ["# TODO: later", "see /home/ada/notes", "in `server/main.py:123`"])
def test_leftovers_are_found(text: str) -> None:
    assert len(list(leftovers(text))) == 1


# -- forms ----------------------------------------------------------------------------------------------------------

CHANGE: Final = re.compile(
    r"\[\d{4}-\d\d-\d\d\] - \[\d+\.\d+\.\d+\] - \[[^\]]+\] - \[(?:Added|Changed|Fixed|Removed|Security)\] - \[[^\]]+\]"
)


def test_changelog_has_its_form() -> None:
    lines = [line for line in text_of(ROOT / "CHANGELOG.md").splitlines() if line.startswith("[")]
    assert lines
    assert [line for line in lines if not CHANGE.fullmatch(line)] == []
    dates = [line[:12] for line in lines]
    assert dates == sorted(dates, reverse=True), "the newest entries come first"


def test_the_changelog_knows_the_version() -> None:
    import recollectd

    assert f"[{recollectd.__version__}]" in text_of(ROOT / "CHANGELOG.md")


def test_roots_are_no_packages() -> None:
    """`daemon` as an import belongs to another distribution; with an `__init__.py` here ours would hide it."""
    roots = ("daemon", "native", "bench", "deploy", "tests")
    assert [root for root in roots if (ROOT / root / "__init__.py").exists()] == []


def test_every_native_module_has_its_stub() -> None:
    modules = {path.stem for path in (ROOT / "native").glob("*.pyx")}
    stubs = {path.stem for path in (ROOT / "daemon" / "recollectd" / "_native").glob("*.pyi")}
    assert modules == stubs - {"__init__"}


def test_headers_cannot_hide_the_systems() -> None:
    names = [path.name for path in (ROOT / "native").glob("*.h")]
    assert [name for name in names if not name.startswith("recollectd_")] == []
