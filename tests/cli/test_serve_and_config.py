"""serve, config: which options reach the daemon, and what is said about them."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from recollectd.config import OPTIONS, Config, template
from support.command_line import Run


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The options that daemons were run with; each ends with 7."""
    configs: list[Config] = []

    def run(config: Config) -> int:
        configs.append(config)
        return 7

    main: Any = types.ModuleType("recollectd.server.main")
    main.run = run
    monkeypatch.setitem(sys.modules, "recollectd.server.main", main)
    return configs


def test_serve_passes_its_flags(run: Run, served: list[Config], tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('[server]\nread_threads = 9\n[data]\ndirectory = "elsewhere"\n')
    flags = ("--data", "d", "--socket", "s", "--listen", "127.0.0.1:7700", "--listen", "[::1]:7700")
    run("serve", *flags, "--config", file, "--set", "journal.seal_idle_ms=50", "--exit-when-idle", "1.5", code=7)
    (config,) = served
    assert config.directory == Path("d")
    assert config.socket_path == Path("s")
    assert config.listen.tcp == ["127.0.0.1:7700", "[::1]:7700"]
    assert config.server.read_threads == 9
    assert config.journal.seal_idle_ms == 50
    assert config.server.exit_when_idle_s == 1.5


def test_the_environment_reaches_the_daemon(run: Run, served: list[Config], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOLLECTD_DATA_DIRECTORY", "from-environment")
    monkeypatch.setenv("RECOLLECTD_LISTEN_TCP", "localhost:7700")
    run("serve", code=7)
    assert served[0].socket_path == Path("from-environment/recollectd.sock")
    assert served[0].listen.tcp == ["localhost:7700"]


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        ((), "Where is the data?", 64),
        (("--data", "d", "--listen", "0.0.0.0:7700"), "cannot authenticate clients yet", 78),
        (("--data", "d", "--set", "server.read_thread=1"), "did you mean server.read_threads?", 78),
        (("--data", "d", "--set", "server.read_threads"), "expected SECTION.OPTION=VALUE", 64),
        (("--data", "d", "--exit-when-idle", "soon"), "server.exit_when_idle_s = 'soon' (flag)", 78),
        (("--data", "d", "--config", "none.toml"), "none.toml: No such file", 66),
    ],
)
def test_serve_refuses(run: Run, served: list[Config], arguments: tuple[str, ...], said: str, code: int) -> None:
    assert said in run("serve", *arguments, code=code).err
    assert served == []


@pytest.mark.parametrize("arguments", [("serve", "--data", "d"), ("demo",)])
def test_missing_packages_are_named_with_the_remedy(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    for name in [name for name in sys.modules if name.startswith("recollectd.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvloop", None)
    ended = run(*arguments, code=69)
    assert "needs the package uvloop, which is not installed" in ended.err
    assert "pip install 'recollectd[daemon]'" in ended.err


def test_config_show_tells_values_and_origins(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text("[history]\ncount = 5\n")
    monkeypatch.setenv("RECOLLECTD_HISTORY_AGE_S", "60")
    arguments = ("config", "show", "--config", file, "--set", "server.log_format=json")
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in run(*arguments).out.splitlines()[1:]}
    assert len(rows) == len(OPTIONS)
    assert rows["history.count"] == ["5", f"file {file}"]
    assert rows["history.age_s"] == ["60", "environment RECOLLECTD_HISTORY_AGE_S"]
    assert rows["server.log_format"] == ['"json"', "flag"]
    assert rows["server.log_level"] == ['"info"', "default"]
    shown = run(*arguments, "--json").json()
    assert shown["history.count"] == {"value": 5, "origin": f"file {file}"}
    assert shown["listen.tcp"] == {"value": [], "origin": "default"}


def test_config_template_is_the_shipped_file(run: Run) -> None:
    assert run("config", "show", "--template").out == template()


def test_config_check(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text("[history]\ncount = 5\n")
    assert run("config", "check", "--config", file).out == "acceptable: 1 option set, the others at their defaults\n"
    file.write_text("[history]\ncount = -5\nsize = 3\n")
    ended = run("config", "check", "--config", file, code=78)
    assert "unknown option history.size" in ended.err
    assert "history.count = -5" in ended.err
    assert "from 0 to" in ended.err
