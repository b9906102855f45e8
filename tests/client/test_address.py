"""URLs, and sockets whose path no socket address can hold."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from client.conftest import Drive
from client.fake import FakeDaemon
from recollectd.client import Client
from recollectd.client.address import URL_DEFAULT, URL_VARIABLE, Address, parse_url, reachable
from recollectd.protocol import errors


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("unix:///run/r.sock", Address("/run/r.sock")),
        ("unix://relative/r.sock", Address("relative/r.sock")),
        ("unix:///with space and ü", Address("/with space and ü")),
        ("tcp://127.0.0.1:7700", Address("", "127.0.0.1", 7700)),
        ("tcp://localhost:1/", Address("", "localhost", 1)),
        ("tcp://[::1]:7700", Address("", "::1", 7700)),
    ],
)
def test_urls_are_understood_and_told(url: str, address: Address) -> None:
    assert parse_url(url) == address
    assert str(address) == url.removesuffix("/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "unix://",
        "/run/r.sock",
        "tcp://",
        "tcp://host",
        "tcp://host:",
        "tcp://:5",
        "tcp://::1:5",
        "tcp://[::1]",
        "tcp://h:x",
        "tcp://h:+5",
        "tcp://h:0",
        "tcp://h:65536",
        "http://host:80",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(errors.InvalidArgument) as raised:
        parse_url(url)
    assert raised.value.field == "url"


def test_the_environment_stands_in_for_a_missing_url(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_VARIABLE, daemon.url)
    with Client() as client:
        client.ping()
    monkeypatch.delenv(URL_VARIABLE)
    assert str(parse_url(None)) == URL_DEFAULT


def test_a_path_too_long_for_a_socket_address_is_reached(tmp_path: Path, drive: Drive) -> None:
    folder = tmp_path / ("long " * 30) / ("longer " * 20)
    folder.mkdir(parents=True)
    fake = FakeDaemon(folder / "d.sock")
    with socket.socket(socket.AF_UNIX) as plain, pytest.raises(OSError, match="too long"):
        plain.connect(str(fake.path))
    descriptors = len(os.listdir("/proc/self/fd"))
    with reachable(str(fake.path)) as path:
        assert len(path) < 40
    assert len(os.listdir("/proc/self/fd")) == descriptors
    with fake, drive(fake) as driver:
        assert driver.do(lambda: driver.client.state.put("k", 1)) == 1


def test_a_long_path_without_its_folder_is_no_daemon(tmp_path: Path, drive: Drive) -> None:
    fake = FakeDaemon(tmp_path / ("missing" * 20) / "d.sock")
    with drive(fake, timeout=0.1) as driver, pytest.raises(errors.DaemonUnavailable):
        driver.do(lambda: driver.client.ping())
