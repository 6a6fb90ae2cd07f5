"""The endpoints of the options, as Twisted endpoint strings."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.python import usage

from chat_protocol.service.server import PROXY_PREFIX
from chat_protocol.service.systemd_sockets import inherited_sockets, only_socket

__all__ = ["BACKLOG", "parse_endpoint"]

BACKLOG = 1024
"""Connections that wait to be accepted at an endpoint whose string has no ``backlog``; see
listen(2). Twisted's own 50 are too few when all clients come back at once."""


def parse_endpoint(reactor: Any, description: str, option: str = "listen") -> Any:
    """Return the server endpoint of an endpoint string.

    Args:
        reactor: the reactor of the endpoint.
        description: the string; for ``--listen``, it may begin with PROXY_PREFIX.
        option: the name of the option that has the string, for the error.

    Raises:
        UsageError: the string is no server endpoint.
    """
    # The server itself reads the PROXY header: see ProxiedFactory.
    below = description.removeprefix(PROXY_PREFIX) if option == "listen" else description
    try:
        return _parse(reactor, below)
    except Exception as error:
        raise usage.UsageError(
            f"--{option}: {description!r} is not a server endpoint: {_reason(error)}."
            " Give an endpoint such as tcp:5555 or tcp:5555:interface=127.0.0.1."
        ) from None


def _parse(reactor: Any, description: str) -> Any:
    try:
        return serverFromString(reactor, _with_backlog(description))  # type: ignore[no-untyped-call]
    except LookupError:
        # Twisted finds no sockets of systemd if these have no names.
        if not re.search(r":index=[1-9]", description):
            endpoint = only_socket(reactor, inherited_sockets())
            if endpoint is not None:
                return endpoint
        raise


def _with_backlog(description: str) -> str:
    has_one = re.search(r"(?<!\\):backlog=", description)
    takes_one = re.match(r"(tcp|tcp6|ssl|unix):", description)
    return f"{description}:backlog={BACKLOG}" if takes_one and not has_one else description


def _reason(error: Exception) -> str:
    """Return the reason why an endpoint string does not parse."""
    # The parsers of endpoint plugins may raise any exception.
    if isinstance(error, LookupError):
        return _missing_socket(inherited_sockets())
    if isinstance(error, TypeError):
        return "an argument is missing, unknown or superfluous"
    if isinstance(error, ValueError) and "int()" in str(error):
        return "an argument, such as the port, is not a number"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _missing_socket(names: list[str]) -> str:
    if not names:
        return "systemd or systemd-socket-activate did not pass such a socket"
    if any(names):
        return f"the sockets that systemd passed are named {', '.join(map(ascii, names))}"
    return (
        f"{len(names)} sockets were passed, without names. Name them with"
        " systemd-socket-activate --fdname=NAME:NAME and give systemd:domain=INET:name=NAME"
    )
