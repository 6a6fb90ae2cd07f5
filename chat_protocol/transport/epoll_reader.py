"""Many connections as one reader of the reactor.

For each socket that has bytes the reactor makes a context for the log, checks the descriptor and
looks at what became of it: a third of the work that a short message is. Here the sockets stand
in an epoll of their own (epoll(7): one epoll may watch another), the reactor calls once for all
that have bytes, and when they are read the turn is ended without a delayed call.

Who has no session yet stands in another one, of which few are read in a turn: a crowd that comes
takes its turns among those of the users who are on-line, however large it is.
"""

from __future__ import annotations

import select
from typing import Any, TypeAlias

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IReactorFDSet,
    IReadDescriptor,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.domain.turn import Turn
from chat_protocol.transport.sockets import descriptor_below

__all__ = ["AT_ONCE", "NEWCOMERS_AT_ONCE", "Readers", "read_by", "readers_for"]

AT_ONCE = 256
"""Sockets that are read in one turn; the others come in the next."""

NEWCOMERS_AT_ONCE = 8
"""Of those without a session."""

_Why: TypeAlias = "BaseException | None"


@implementer(IReadDescriptor)
class Readers:
    """The part of a reactor that transports read by: give it to them as their ``reactor``.

    Args:
        reactor: provides IReactorFDSet and IReactorTime.
        turn: is ended behind each round of reading.
        at_once: sockets that are read in a round.
    """

    log = Logger()

    def __init__(self, reactor: Any, turn: Turn, at_once: int) -> None:
        self._reactor = reactor
        self._turn = turn
        self._at_once = at_once
        self._epoll = select.epoll()
        self._readers: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Any:
        # Whatever else a transport wants: writers, delayed calls.
        return getattr(self._reactor, name)

    def adopt(self, transport: FileDescriptor) -> None:
        """Read a transport here from now on; one that is paused, when it is resumed."""
        before: Any = transport.reactor
        is_read = not isinstance(before, Readers) or before.reads(transport)
        before.removeReader(transport)
        transport.reactor = self  # type: ignore[assignment]
        if is_read:
            self.addReader(transport)

    def reads(self, transport: FileDescriptor) -> bool:
        """Whether it is read here, and now."""
        descriptor: int = transport.fileno()  # type: ignore[no-untyped-call]
        return self._readers.get(descriptor) is transport

    def addReader(self, reader: Any) -> None:
        """See IReactorFDSet."""
        descriptor = reader.fileno()
        if descriptor not in self._readers:
            self._epoll.register(descriptor, select.EPOLLIN)
            self._readers[descriptor] = reader
            if len(self._readers) == 1:
                self._reactor.addReader(self)

    def removeReader(self, reader: Any) -> None:
        """See IReactorFDSet."""
        descriptor = reader.fileno()
        if self._readers.get(descriptor) is reader:
            del self._readers[descriptor]
            self._epoll.unregister(descriptor)
            if not self._readers:
                self._reactor.removeReader(self)

    # IReadDescriptor

    def fileno(self) -> int:
        """See IFileDescriptor."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """See ILoggingContext."""
        return "connections"

    def doRead(self) -> None:
        """Read from every socket that has something."""
        readers = self._readers
        with self._turn:
            for descriptor, _ in self._epoll.poll(0, self._at_once):
                reader = readers.get(descriptor)
                # One that was read before it may have closed or paused this one.
                if reader is not None:
                    try:
                        why: _Why = reader.doRead()
                    except Exception as error:
                        self.log.failure("A connection failed")
                        why = error
                    if why is not None:
                        self._disconnect(reader, why)

    def _disconnect(self, reader: Any, why: BaseException) -> None:
        """As the reactor does it."""
        self.removeReader(reader)
        failure = Failure(why)  # type: ignore[no-untyped-call]
        if isinstance(why, ConnectionDone) and IHalfCloseableDescriptor.providedBy(reader):
            reader.readConnectionLost(failure)
        else:
            reader.connectionLost(failure)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends, and with it all connections."""
        for reader in list(self._readers.values()):
            reader.connectionLost(reason)


def readers_for(reactor: Any, turn: Turn, at_once: int) -> Readers | None:
    """What may read in place of the reactor; None where it does not watch descriptors."""
    if hasattr(select, "epoll") and IReactorFDSet.providedBy(reactor):
        return Readers(reactor, turn, at_once)
    return None


def read_by(readers: Readers | None, transport: object) -> FileDescriptor | None:
    """Have what is below a transport read by these; returns what that is."""
    descriptor = descriptor_below(transport)
    if readers is not None and descriptor is not None:
        readers.adopt(descriptor)
    return descriptor
