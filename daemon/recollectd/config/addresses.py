"""TCP addresses as options give them: HOST:PORT, loopback only."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

PORT_MAX: Final = 65_535


def parse_address(text: str) -> tuple[str, int]:
    """Split `HOST:PORT` (`[HOST]:PORT` for IPv6) into host and port; port 0 lets the system choose.

    The host comes back as an address: `localhost` stands for 127.0.0.1. Raises ValueError for anything malformed.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > PORT_MAX:
        raise ValueError(f"{text!r} is no address: expected HOST:PORT, the port from 0 to {PORT_MAX}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r} is no address: an IPv6 host stands in brackets, as in [::1]:7700")
    if host == "localhost":
        host = "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host)), int(port)
    except ValueError:
        raise ValueError(f"{text!r} is no address: the host must be an IP address or localhost") from None


def check_loopback(addresses: Sequence[str]) -> None:
    """Raise ValueError unless every address is a loopback address."""
    for text in addresses:
        host, _ = parse_address(text)
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(
                f"{text} is not a loopback address, and the daemon cannot authenticate clients yet: whoever reached "
                "it could read and change everything. Listen on 127.0.0.1 or [::1], and let other machines in "
                "through an SSH tunnel"
            )
