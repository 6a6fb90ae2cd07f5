"""Server addresses in a string: ``tcp:HOST:PORT``, ``tls:HOST:PORT`` or ``unix:PATH``."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["DEFAULT_PORT", "Address", "parse_address"]

DEFAULT_PORT = 5555

_HOST_AND_PORT = re.compile(
    r"(?:(?P<kind>tcp|tls):)?"
    r"(?:\[(?P<six>[0-9a-fA-F:.%\w]+)\]|(?P<host>(?!\d+$|(?:tcp|tls|unix)(?::|$))[^:\[\]/\\=\s]+))"
    r"(?::(?P<port>\d{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: a host and a port, or the path of a socket."""

    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Parse an address. ``tcp:`` and ``:PORT`` may be left out; an IPv6 address is in brackets.

    Raises:
        ValueError: the address is not of one of these forms.
        TypeError: it is not a str.
    """
    if not isinstance(text, str):
        raise TypeError(f"address must be a str or an endpoint, not {type(text).__name__}")
    if text.startswith("unix:") and len(text) > len("unix:"):
        return Address(path=text.removeprefix("unix:"))
    match = _HOST_AND_PORT.fullmatch(text)
    port = int((match and match["port"]) or DEFAULT_PORT)
    if match is None or not 0 < port < 0x10000:
        raise ValueError(
            f"address {text!r}: give tcp:HOST:PORT, tls:HOST:PORT or unix:PATH, with a port from"
            " 1 to 65535 and an IPv6 address in brackets"
        )
    return Address(match["six"] or match["host"], port, tls=match["kind"] == "tls")
