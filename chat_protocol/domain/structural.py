"""Structural types for type checkers that do not know zope.interface.

With mypy-zope a class that is declared to provide IReactorTime is one. Without it, and to pyright,
no class is. So what applications pass may also be anything that has the methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

__all__ = ["ClientEndpoint", "ReactorTime", "ServerEndpoint"]


class ReactorTime(Protocol):
    """See twisted.internet.interfaces.IReactorTime."""

    def seconds(self) -> float:
        """Return the time."""

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],  # noqa: A002
        *args: object,
        **kw: object,
    ) -> Any:
        """Call a function later."""


class ClientEndpoint(Protocol):
    """See twisted.internet.interfaces.IStreamClientEndpoint."""

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """Connect."""


class ServerEndpoint(Protocol):
    """See twisted.internet.interfaces.IStreamServerEndpoint."""

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        """Listen."""
