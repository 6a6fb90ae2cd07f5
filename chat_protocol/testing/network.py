"""The event loop of in-memory connections; it does for them what a reactor does for sockets."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocolFactory,
    IReactorFDSet,
    IReactorTime,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.testing.link import Link, Transport
from chat_protocol.testing.pipe import PipeSettings

__all__ = ["Network"]

_FIRST_PORT = 40_001


class Attempt(Protocol):
    """An attempt to connect."""

    def refuse(self) -> None:
        """Fail with ConnectionRefusedError."""

    def accept(self, server: IProtocolFactory) -> None:
        """Connect both ends."""


@implementer(IReactorFDSet)
class Network:
    """All links, and all pending connection attempts.

    The network runs in calls of the clock only, in a deterministic order: the links in the order in
    which they were made, the server's end of each link first.

    Args:
        clock: schedules the runs of the network and its timeouts.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self.pipe_settings = PipeSettings(self.wake)
        self.listener: IProtocolFactory | None = None
        """The factory that accepts connections; None: the network refuses connections."""
        self.refusals = 0
        """Number of the next connection attempts that the network refuses despite the listener."""
        self.links: list[Link] = []
        self.attempts: list[Attempt] = []
        self._stalled: tuple[bool, bool] | None = None
        self._readers: dict[Any, None] = {}
        self._writers: dict[Any, None] = {}
        self._call: IDelayedCall | None = None
        self._ports = count(_FIRST_PORT)

    @property
    def quiet(self) -> bool:
        """Whether the network has nothing to do until the next call of an end."""
        return self._call is None

    def next_port(self) -> int:
        """Return an unused port number for a client."""
        return next(self._ports)

    def stall(self, to_server: bool, to_client: bool) -> None:
        """Stall all links in these directions, and delay connection attempts."""
        self._stalled = to_server, to_client
        for link in self.links:
            link.stall(to_server, to_client)

    def resume(self) -> None:
        """Resume all links and connection attempts."""
        self._stalled = None
        for link in self.links:
            link.resume()
        self.wake()

    def wake(self) -> None:
        """Run the network in the next turn of the clock."""
        if self._call is None:
            self._call = self.clock.callLater(0, self._run)

    def _run(self) -> None:
        self._call = None
        if self._stalled is None:
            self._connect_all()
        for link in list(self.links):
            for end in link.ends:
                end.memory_socket.reset_if_peer_closed()
                if link.cut_off:
                    end.connectionLost(Failure(ConnectionLost()))  # type: ignore[no-untyped-call]
                    continue
                if end in self._readers:
                    self._dispatch(end, reading=True)
                if end in self._writers:
                    self._dispatch(end, reading=False)

    def _connect_all(self) -> None:
        # An attempt made meanwhile is handled in the next run. A callback may cancel an attempt.
        for _ in range(len(self.attempts)):
            if not self.attempts:
                return
            attempt = self.attempts.pop(0)
            if self.listener is None:
                attempt.refuse()
            elif self.refusals:
                self.refusals -= 1
                attempt.refuse()
            else:
                attempt.accept(self.listener)

    def _dispatch(self, end: Transport, reading: bool) -> None:
        """Call the end and handle its errors as twisted.internet.posixbase does."""
        try:
            why: Any = (end.doRead if reading else end.doWrite)()
        except Exception as error:
            self._log.failure("A protocol raised an exception")
            why = error
        if why is None:
            return
        self.removeReader(end)
        reason = Failure(why)  # type: ignore[no-untyped-call]
        if reading and isinstance(why, ConnectionDone):
            end.readConnectionLost(reason)
        else:
            end.connectionLost(reason)

    # The reactor interfaces that Twisted's transports use.

    def callLater(
        self, delay: float, function: Callable[..., Any], *args: object, **kw: object
    ) -> IDelayedCall:
        return self.clock.callLater(delay, function, *args, **kw)

    def addReader(self, reader: Any) -> None:
        self._readers[reader] = None
        self.wake()

    def addWriter(self, writer: Any) -> None:
        self._writers[writer] = None
        self.wake()

    def removeReader(self, reader: Any) -> None:
        self._readers.pop(reader, None)

    def removeWriter(self, writer: Any) -> None:
        self._writers.pop(writer, None)

    def removeAll(self) -> list[Any]:
        removed = list(self._readers | self._writers)
        self._readers.clear()
        self._writers.clear()
        return removed

    def getReaders(self) -> list[Any]:
        return list(self._readers)

    def getWriters(self) -> list[Any]:
        return list(self._writers)
