"""The command line over a store in dicts, and how its commands end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from click.testing import CliRunner

from recollectd.cli.root import root
from support.fake_client import FakeClient
from support.fake_store import FakeStore


class Ended(NamedTuple):
    """How a command ended. out, err: what it printed, as text; raw: standard output as bytes."""

    code: int
    out: str
    err: str
    raw: bytes

    def json(self) -> Any:
        """Return the one JSON document on standard output."""
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        """Return the JSON documents on standard output, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ended]


def over(store: FakeStore) -> Run:
    """Return a function that runs a command line over the store and checks its exit code.

    The command must not end by an exception, nor print a traceback.
    """

    def opener(url: str | None, namespace: tuple[str, ...], timeout: float) -> FakeClient:
        return FakeClient(store, namespace)

    def run(*arguments: object, stdin: bytes | str = b"", code: int = 0) -> Ended:
        result = CliRunner().invoke(root, [str(argument) for argument in arguments], input=stdin, obj=opener)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        assert result.exit_code == code, result.output
        return Ended(result.exit_code, result.stdout, result.stderr, result.stdout_bytes)

    return run
