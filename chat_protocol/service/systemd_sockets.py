"""Listening sockets that systemd passed without names: sd_listen_fds(3).

Twisted's ``systemd:`` endpoints find sockets with names only. systemd-socket-activate gives names
only if it is told to.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from twisted.internet.endpoints import AdoptedStreamServerEndpoint

__all__ = ["inherited_sockets", "only_socket"]

_FIRST = 3
"""File descriptor of the first socket."""

_ENVIRONMENT = "/proc/self/environ"
"""The environment at the start of the process. Twisted removes the variables from the current one
when it is imported."""


def inherited_sockets(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the names of the sockets that systemd passed; empty for one without a name.

    Args:
        environment: the environment at the start of the process; None: that of this process.
    """
    if environment is None:
        environment = _first_environment()
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return []
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    return names if len(names) == int(count) else [""] * int(count)


def only_socket(reactor: Any, names: list[str]) -> AdoptedStreamServerEndpoint | None:
    """Return an endpoint for the socket that systemd passed, whatever the endpoint string says.

    None if there are several sockets, or if the operator gave the socket a name.

    Args:
        reactor: the reactor of the endpoint.
        names: see :func:`inherited_sockets`.
    """
    # systemd gives a socket the name of its unit, or "unknown".
    if len(names) != 1 or not (names[0] in ("", "unknown") or names[0].endswith(".socket")):
        return None
    with socket.socket(fileno=os.dup(_FIRST)) as passed:
        family = passed.family
    return AdoptedStreamServerEndpoint(reactor, _FIRST, family)  # type: ignore[no-untyped-call]


def _first_environment() -> dict[str, str]:
    variables: list[str] = []
    with suppress(OSError), open(_ENVIRONMENT, "rb") as file:
        variables = [os.fsdecode(one) for one in file.read().split(b"\0")]
    return dict(one.split("=", 1) for one in variables if "=" in one)
