"""The loop that moves the bytes of connections in memory: what a reactor is to sockets."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

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

from chat_protocol.testing.pipe import Wire

if TYPE_CHECKING:
    from chat_protocol.testing.endpoint import Attempt
    from chat_protocol.testing.link import Link, Transport

__all__ = ["Network"]

_FIRST_PORT = 40_001


@implementer(IReactorFDSet)
class Network:
    """Every link, and every attempt to make one.

    Nothing happens before the clock comes round to it, and what happens is determined: the links
    in the order in which they were made, the server's end of each first.

    Args:
        clock: when to run, and the time of time-outs.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self.wire = Wire(self.wake)
        self.listener: IProtocolFactory | None = None
        """Takes connections; None: they are refused."""
        self.refusals = 0
        """So many of the next are refused all the same."""
        self.links: list[Link] = []
        self.attempts: list[Attempt] = []
        self._stalled: tuple[bool, bool] | None = None
        self._readers: dict[Any, None] = {}
        self._writers: dict[Any, None] = {}
        self._call: IDelayedCall | None = None
        self._ports = count(_FIRST_PORT)

    @property
    def quiet(self) -> bool:
        """Whether nothing will move by itself."""
        return self._call is None

    def next_port(self) -> int:
        """For a client."""
        return next(self._ports)

    def stall(self, to_server: bool, to_client: bool) -> None:
        """Stall all links, and let attempts to connect wait."""
        self._stalled = to_server, to_client
        for link in self.links:
            link.stall(to_server, to_client)

    def resume(self) -> None:
        """Stall nothing any more."""
        self._stalled = None
        for link in self.links:
            link.resume()
        self.wake()

    def wake(self) -> None:
        """See to what can be done, soon."""
        if self._call is None:
            self._call = self.clock.callLater(0, self._run)

    def _run(self) -> None:
        self._call = None
        if self._stalled is None:
            self._connect_all()
        for link in list(self.links):
            for end in link.ends:
                end.memory_socket.bounce()
                if link.cut_off:
                    end.connectionLost(Failure(ConnectionLost()))  # type: ignore[no-untyped-call]
                    continue
                if end in self._readers:
                    self._do(end, reading=True)
                if end in self._writers:
                    self._do(end, reading=False)

    def _connect_all(self) -> None:
        # Those that come now have their turn in the next round; of these some may be cancelled.
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

    def _do(self, end: Transport, reading: bool) -> None:
        """As the loop of a reactor does it: see twisted.internet.posixbase."""
        try:
            why: Any = (end.doRead if reading else end.doWrite)()
        except Exception as error:
            self._log.failure("A protocol failed")
            why = error
        if why is None:
            return
        self.removeReader(end)
        reason = Failure(why)  # type: ignore[no-untyped-call]
        if reading and isinstance(why, ConnectionDone):
            end.readConnectionLost(reason)
        else:
            end.connectionLost(reason)

    # What transports ask of their reactor.

    def callLater(
        self, delay: float, function: Callable[..., Any], *args: object, **kw: object
    ) -> IDelayedCall:
        """See IReactorTime."""
        return self.clock.callLater(delay, function, *args, **kw)

    def addReader(self, reader: Any) -> None:
        """See IReactorFDSet."""
        self._readers[reader] = None
        self.wake()

    def addWriter(self, writer: Any) -> None:
        """See IReactorFDSet."""
        self._writers[writer] = None
        self.wake()

    def removeReader(self, reader: Any) -> None:
        """See IReactorFDSet."""
        self._readers.pop(reader, None)

    def removeWriter(self, writer: Any) -> None:
        """See IReactorFDSet."""
        self._writers.pop(writer, None)

    def removeAll(self) -> list[Any]:
        """See IReactorFDSet."""
        removed = list(self._readers | self._writers)
        self._readers.clear()
        self._writers.clear()
        return removed

    def getReaders(self) -> list[Any]:
        """See IReactorFDSet."""
        return list(self._readers)

    def getWriters(self) -> list[Any]:
        """See IReactorFDSet."""
        return list(self._writers)
