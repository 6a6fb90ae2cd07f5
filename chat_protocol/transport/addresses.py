"""Addresses of peers: as limits count them, and as the log writes them."""

from __future__ import annotations

from typing import Any

__all__ = ["host_of", "in_words"]


def host_of(address: Any) -> str:
    """Return an address without its port; empty if it has no host, as on a UNIX socket."""
    return str(getattr(address, "host", ""))


def in_words(address: Any) -> str:
    """Return an address with its port, for the log."""
    host = getattr(address, "host", None)
    return f"{host}:{address.port}" if host is not None else str(address)
