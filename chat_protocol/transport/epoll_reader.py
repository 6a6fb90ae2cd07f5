"""Reading many sockets as one reader of the reactor.

For each readable socket the reactor makes a context for the log, and checks the descriptor and its
state afterwards: a third of the work of a short message. Here the sockets are registered with a
second epoll, which the reactor watches as one descriptor (epoll(7): one epoll may watch another).
The reactor calls :meth:`EpollReader.doRead` once for all sockets that are readable. The turn ends
when they have been read, without a delayed call.

Connections without a session have an EpollReader of their own, which reads few of them per turn.
So a burst of new connections cannot delay users who are online.
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
from chat_protocol.transport.sockets import descriptor_below, reactor_of, set_reactor

__all__ = ["AT_ONCE", "NEWCOMERS_AT_ONCE", "EpollReader", "read_by", "readers_for"]

AT_ONCE = 256
"""Sockets that are read in one turn at most; the others are read in the next."""

NEWCOMERS_AT_ONCE = 8
"""Sockets of connections without a session that are read in one turn at most."""

_Why: TypeAlias = "BaseException | None"


@implementer(IReadDescriptor)
class EpollReader:
    """The part of a reactor that transports are read by: it becomes their ``reactor``.

    Args:
        reactor: provides IReactorFDSet and IReactorTime; everything but reading stays with it.
        turn: ends after each call of :meth:`doRead`.
        at_once: sockets that one call reads at most.
    """

    log = Logger()

    def __init__(self, reactor: Any, turn: Turn, at_once: int) -> None:
        self._reactor = reactor
        self._turn = turn
        self._at_once = at_once
        self._epoll = select.epoll()
        self._readers: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Any:
        # Whatever else a transport asks of its reactor: writing, delayed calls.
        return getattr(self._reactor, name)

    def adopt(self, transport: FileDescriptor) -> None:
        """Read a transport here from now on; a paused one when it is resumed."""
        before = reactor_of(transport)
        is_read = not isinstance(before, EpollReader) or before.reads(transport)
        before.removeReader(transport)
        set_reactor(transport, self)
        if is_read:
            self.addReader(transport)

    def reads(self, transport: FileDescriptor) -> bool:
        """Return whether a transport is read here, and is not paused."""
        descriptor: int = transport.fileno()  # type: ignore[no-untyped-call]
        return self._readers.get(descriptor) is transport

    def addReader(self, reader: Any) -> None:
        descriptor = reader.fileno()
        if descriptor not in self._readers:
            self._epoll.register(descriptor, select.EPOLLIN)
            self._readers[descriptor] = reader
            if len(self._readers) == 1:
                self._reactor.addReader(self)

    def removeReader(self, reader: Any) -> None:
        descriptor = reader.fileno()
        if self._readers.get(descriptor) is reader:
            del self._readers[descriptor]
            self._epoll.unregister(descriptor)
            if not self._readers:
                self._reactor.removeReader(self)

    # IReadDescriptor

    def fileno(self) -> int:
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        return "connections"

    def doRead(self) -> None:
        """Read from the sockets that are readable, and end the turn."""
        readers = self._readers
        with self._turn:
            for descriptor, _ in self._epoll.poll(0, self._at_once):
                reader = readers.get(descriptor)
                # A connection that was read before may have closed or paused this one.
                if reader is not None:
                    try:
                        why: _Why = reader.doRead()
                    except Exception as error:
                        self.log.failure("A connection failed")
                        why = error
                    if why is not None:
                        try:
                            self._disconnect(reader, why)
                        except Exception:
                            self.log.failure("A connection failed when it ended")

    def _disconnect(self, reader: Any, why: BaseException) -> None:
        # As the reactor does it: see twisted.internet.posixbase.
        self.removeReader(reader)
        failure = Failure(why)  # type: ignore[no-untyped-call]
        if isinstance(why, ConnectionDone) and IHalfCloseableDescriptor.providedBy(reader):
            reader.readConnectionLost(failure)
        else:
            reader.connectionLost(failure)

    def connectionLost(self, reason: Failure) -> None:
        """End all connections: the reactor ends."""
        for reader in list(self._readers.values()):
            reader.connectionLost(reason)


def readers_for(reactor: Any, turn: Turn, at_once: int) -> EpollReader | None:
    """Return an EpollReader for a reactor; None if the reactor does not watch descriptors."""
    if hasattr(select, "epoll") and IReactorFDSet.providedBy(reactor):
        return EpollReader(reactor, turn, at_once)
    return None


def read_by(readers: EpollReader | None, transport: object) -> None:
    """Have the socket below a transport read by ``readers``.

    Without readers, or where that is not possible, it is read as before.
    """
    descriptor = descriptor_below(transport)
    if readers is not None and descriptor is not None and reactor_of(descriptor) is not None:
        readers.adopt(descriptor)
