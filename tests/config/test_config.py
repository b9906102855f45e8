"""Options: where a value may come from, which of them wins, and what is refused in which words."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from recollectd.config import OPTION_BY_PATH, OPTIONS, Config, ConfigError, load, origin_of, template, value_of
from recollectd.journal.interface import SEGMENT_BYTES_MIN

REPOSITORY = Path(__file__).parents[2]


def _file(folder: Path, text: str) -> Path:
    path = folder / "recollectd.toml"
    path.write_text(text)
    return path


def _problems(**given: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**given)
    return "\n".join(caught.value.problems)


def test_defaults_are_acceptable_values() -> None:
    for declared in OPTIONS:
        assert declared.parse(declared.default) == declared.default, declared.path
    assert load() == Config()


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = _file(tmp_path, "[server]\nread_threads = 5\nslow_log_ms = 5\nsweep_interval_ms = 50\n")
    environ = {"RECOLLECTD_SERVER_READ_THREADS": "6", "RECOLLECTD_SERVER_SLOW_LOG_MS": "6"}
    config = load({"server.read_threads": "7"}, environ, file)
    assert (config.server.read_threads, origin_of(config, "server.read_threads")) == (7, "flag")
    assert config.server.slow_log_ms == 6
    assert origin_of(config, "server.slow_log_ms") == "environment RECOLLECTD_SERVER_SLOW_LOG_MS"
    assert config.server.sweep_interval_ms == 50
    assert origin_of(config, "server.sweep_interval_ms") == f"file {file}"
    assert config.server.connections_max == 10_000
    assert origin_of(config, "server.connections_max") == "default"


@pytest.mark.parametrize("declared", OPTIONS, ids=lambda declared: declared.path)
def test_each_option_can_be_set_by_its_variable(declared: Any) -> None:
    samples: dict[Any, tuple[str, Any]] = {
        "server.log_level": ("debug", "debug"),
        "server.log_format": ("json", "json"),
        "listen.socket_mode": ("0600", "0600"),
        "listen.tcp": ("127.0.0.1:7700, [::1]:7700", ["127.0.0.1:7700", "[::1]:7700"]),
    }
    is_number = isinstance(declared.default, int | float)
    text, expected = samples.get(declared.path, (str(declared.meta.ge), declared.meta.ge) if is_number else ("x", "x"))
    if declared.path == "server.unapplied_bytes_max":  # may not be smaller than a batch
        text, expected = "4194304", 4_194_304
    assert value_of(load(environ={declared.variable: text}), declared) == expected


def test_an_unknown_option_in_the_file_names_the_nearest(tmp_path: Path) -> None:
    said = _problems(file=_file(tmp_path, "[server]\nconections_max = 3\n"))
    assert "unknown option server.conections_max; did you mean server.connections_max?" in said
    assert "recollectd.toml" in said


def test_an_unknown_section_and_an_unknown_variable_are_refused(tmp_path: Path) -> None:
    assert "did you mean server?" in _problems(file=_file(tmp_path, "[serve]\nread_threads = 3\n"))
    said = _problems(environ={"RECOLLECTD_DATA_DIR": "x"})
    assert "RECOLLECTD_DATA_DIR; did you mean RECOLLECTD_DATA_DIRECTORY?" in said
    assert "unknown option journal.size" in _problems(flags={"journal.size": "1"})


def test_variables_that_are_no_options_are_left_alone() -> None:
    assert load(environ={"RECOLLECTD_URL": "unix:///x", "RECOLLECTD_REQUIRE_NATIVE": "1", "HOME": "/"}) == Config()


def test_errors_name_option_value_origin_and_what_was_expected(tmp_path: Path) -> None:
    said = _problems(file=_file(tmp_path, "[server]\nread_threads = 0\n"))
    assert said.startswith("server.read_threads = 0 (file ")
    assert said.endswith("expected an integer from 1 to 256 threads")
    said = _problems(environ={"RECOLLECTD_SERVER_LOG_LEVEL": "loud"})
    assert "'loud' (environment RECOLLECTD_SERVER_LOG_LEVEL): expected one of debug, info, warning, error" in said


def test_all_problems_are_told_at_once() -> None:
    said = _problems(flags={"server.read_threads": "many", "history.count": "-1"}, environ={"RECOLLECTD_SHARDS_X": "1"})
    assert len(said.splitlines()) == 3


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("server.read_threads", True),
        ("server.read_threads", 1.5),
        ("server.read_threads", "1.5"),
        ("listen.socket_mode", "0888"),
        ("listen.socket_mode", 432),
        ("listen.tcp", "7700"),
        ("listen.tcp", ["127.0.0.1:70000"]),
        ("listen.tcp", ["example.org:80"]),
        ("listen.tcp", ["::1:80"]),
        ("data.directory", 3),
        ("server.exit_when_idle_s", "nan"),
        ("server.exit_when_idle_s", "-1"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(path: str, value: object) -> None:
    assert path in _problems(flags={path: value})


@pytest.mark.parametrize("address", ["0.0.0.0:7700", "192.168.1.4:7700", "[::]:7700", "[2001:db8::1]:7700"])
def test_tcp_beyond_loopback_is_refused_with_the_reason(address: str) -> None:
    said = _problems(flags={"listen.tcp": [address]})
    assert address in said
    assert "cannot authenticate" in said


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:7700", "[::1]:7700", "127.9.9.9:1"])
def test_loopback_is_accepted(address: str) -> None:
    assert load({"listen.tcp": [address]}).listen.tcp == [address]


def test_a_socket_path_too_long_for_the_system_is_refused() -> None:
    folder = "d" * 100
    assert "107" in _problems(flags={"data.directory": folder})
    assert load({"data.directory": folder, "listen.socket": "s"}).socket_path == Path("s")


def test_the_socket_lies_in_the_data_folder_unless_told() -> None:
    assert load({"data.directory": "memory"}).socket_path == Path("memory/recollectd.sock")


def test_options_that_contradict_each_other_are_refused() -> None:
    said = _problems(flags={"server.batch_bytes_max": 1 << 27})
    assert "server.batch_bytes_max" in said
    assert "server.unapplied_bytes_max" in said


def test_numbers_with_fractions() -> None:
    assert load({"server.exit_when_idle_s": "0.5"}).server.exit_when_idle_s == 0.5
    assert load({"server.exit_when_idle_s": "1e+06"}).server.exit_when_idle_s == 1_000_000
    assert load({"server.exit_when_idle_s": 60}).server.exit_when_idle_s == 60


def test_every_acceptable_segment_is_one_the_journal_accepts() -> None:
    assert OPTION_BY_PATH["journal.segment_bytes"].meta.ge == SEGMENT_BYTES_MIN


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    assert "is not TOML" in _problems(file=_file(tmp_path, "[server\n"))
    assert "must be a table" in _problems(file=_file(tmp_path, "server = 3\n"))
    with pytest.raises(FileNotFoundError):
        load(file=tmp_path / "missing.toml")


def test_the_shipped_file_is_current() -> None:
    """Renew it with: recollectd config show --template > deploy/recollectd.toml."""
    assert (REPOSITORY / "deploy" / "recollectd.toml").read_text() == template()


def test_the_template_sets_nothing_and_uncommented_gives_the_defaults(tmp_path: Path) -> None:
    assert load(file=_file(tmp_path, template())) == Config()
    uncommented = re.sub(r"(?m)^#(?=\w+ = )", "", template())
    document = tomllib.loads(uncommented)
    given = {f"{section}.{name}": value for section, table in document.items() for name, value in table.items()}
    assert given == {path: declared.default for path, declared in OPTION_BY_PATH.items()}


def test_every_option_says_everything() -> None:
    for declared in OPTIONS:
        text = declared.text
        for said in (text.meaning, text.raising, text.lowering, text.unsure):
            assert said.endswith("."), f"{declared.path}: {said}"
        assert text.unit or "one of" in declared.expected, declared.path
        if isinstance(declared.default, int | float):
            assert None not in (declared.meta.ge, declared.meta.le), f"{declared.path} is not bounded"
