"""Reading many sockets as one reader of the reactor.

For each readable socket the reactor makes a context for the log, and checks the descriptor and its
state afterwards: a third of the work of a short message. Here the sockets are registered with a
second epoll, which the reactor watches as one descriptor (epoll(7): one epoll may watch another).
The reactor calls :meth:`EpollReader.doRead` once for all sockets that are readable. The turn ends
when they have been read, without a delayed call.

A turn has a budget of time. Sockets that are left over come first in the next one: those of users
and addresses that have sent little, then the others, in turn for each. Connections without a
session have an EpollReader of their own with a small budget. So a crowd of them cannot delay users
who are online.

A transport whose output the kernel takes in the same turn is never watched for writing: that would
cost two system calls a write.
"""

from __future__ import annotations

import fcntl
import select
import struct
import termios
from collections.abc import Hashable
from typing import Any, TypeAlias

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IReactorFDSet,
    IReadDescriptor,
)
from twisted.internet.main import CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.domain.turn import Turn
from chat_protocol.transport.sockets import descriptor_below, is_lost, reactor_of, set_reactor
from chat_protocol.transport.sparse_first_queue import SparseFirstQueue

__all__ = ["CREDIT", "EpollReader", "read_by", "readers_for"]

_AT_ONCE = 1024
"""Sockets that one call asks the kernel for."""

CREDIT = 16384
"""Bytes that a user or an address may send before it waits for its turn: hundreds of short
messages, a quarter of what one read takes at most."""

_Why: TypeAlias = "BaseException | None"


@implementer(IReadDescriptor)
class EpollReader:
    """The part of a reactor that transports are read by: it becomes their ``reactor``.

    Args:
        reactor: provides IReactorFDSet and IReactorTime; everything but reading stays with it. It
            watches for writing from the end of a turn on.
        turn: ends after each call of :meth:`doRead`.
        seconds: time for the sockets that one call reads. At least one is read.
    """

    log = Logger()

    def __init__(self, reactor: Any, turn: Turn, seconds: float) -> None:
        self._reactor = reactor
        self._turn = turn
        self._seconds = seconds
        self._epoll = select.epoll()
        self._readers: dict[int, Any] = {}
        self._paused: dict[int, Any] = {}
        """Sockets that are open and not read: the kernel tells of a reset all the same."""
        self._keys: dict[int, Hashable] = {}
        """The users or addresses of all of them."""
        self._left: SparseFirstQueue[int] = SparseFirstQueue(CREDIT)
        """Sockets that were readable when the time was up."""
        self._waiting: set[int] = set()
        """Those in the queue."""
        self._reading = False
        self._writers: dict[Any, None] = {}
        """Transports that want to write, and that the reactor does not watch yet."""

    def __getattr__(self, name: str) -> Any:
        # Whatever else a transport asks of its reactor: writing, delayed calls.
        return getattr(self._reactor, name)

    def adopt(self, transport: FileDescriptor, key: Hashable = None) -> None:
        """Read a transport here from now on; a paused one when it is resumed.

        Args:
            transport: of a connection.
            key: the user or the address of the connection.
        """
        before = reactor_of(transport)
        if before is not self:
            is_read = not isinstance(before, EpollReader) or before.reads(transport)
            if isinstance(before, EpollReader):
                before.release(transport)
            else:
                before.removeReader(transport)
            set_reactor(transport, self)
            self._add(transport, is_read)
        self._keys[_descriptor(transport)] = key

    def reads(self, transport: FileDescriptor) -> bool:
        """Return whether a transport is read here, and is not paused."""
        return self._readers.get(_descriptor(transport)) is transport

    def release(self, transport: FileDescriptor) -> None:
        """Watch a transport no more."""
        descriptor = _descriptor(transport)
        if self._readers.get(descriptor) is transport:
            del self._readers[descriptor]
        elif self._paused.get(descriptor) is transport:
            del self._paused[descriptor]
        else:
            return
        self._keys.pop(descriptor, None)
        self._epoll.unregister(descriptor)
        if transport in self._writers:
            del self._writers[transport]
            self._reactor.addWriter(transport)
        if not self._readers and not self._paused:
            self._reactor.removeReader(self)

    def addReader(self, reader: Any) -> None:
        descriptor = reader.fileno()
        if descriptor in self._readers:
            return
        if self._paused.pop(descriptor, None) is reader:
            self._epoll.modify(descriptor, select.EPOLLIN)
            self._readers[descriptor] = reader
        else:
            self._add(reader, True)

    def _add(self, reader: Any, is_read: bool) -> None:
        if not self._readers and not self._paused:
            self._reactor.addReader(self)
        descriptor = reader.fileno()
        self._epoll.register(descriptor, select.EPOLLIN if is_read else 0)
        (self._readers if is_read else self._paused)[descriptor] = reader

    def removeReader(self, reader: Any) -> None:
        if is_lost(reader):
            self.release(reader)
            return
        descriptor = reader.fileno()
        if self._readers.get(descriptor) is reader:
            del self._readers[descriptor]
            self._paused[descriptor] = reader
            self._epoll.modify(descriptor, 0)

    def addWriter(self, writer: Any) -> None:
        if not self._reading and not self._turn.ending:
            self._reactor.addWriter(writer)
            return
        if not self._reading and not self._writers:
            self._reactor.callLater(0, self._watch_writers)
        self._writers[writer] = None

    def removeWriter(self, writer: Any) -> None:
        self._writers.pop(writer, None)
        self._reactor.removeWriter(writer)

    def _watch_writers(self) -> None:
        writers, self._writers = self._writers, {}
        for writer in writers:
            self._reactor.addWriter(writer)

    @property
    def idle(self) -> bool:
        """Whether no socket waits to be read."""
        return not self._waiting and not self._epoll.poll(0, 1)

    # IReadDescriptor

    def fileno(self) -> int:
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        return "connections"

    def doRead(self) -> None:
        """Read from the sockets that are readable while there is time, and end the turn."""
        self._reading = True
        try:
            with self._turn:
                self._read_all()
        finally:
            self._reading = False
            self._watch_writers()

    def _read_all(self) -> None:
        seconds, readers, waiting = self._reactor.seconds, self._readers, self._waiting
        error, end = select.EPOLLERR, seconds() + self._seconds
        in_time = True
        for descriptor, events in self._epoll.poll(0, _AT_ONCE):
            # A connection that was read before may have closed or paused this one.
            reader = readers.get(descriptor)
            if events & error:
                self._reset(descriptor)
            elif reader is None:
                self._hung_up(descriptor)
            elif in_time and not waiting:
                self._read(reader)
                in_time = seconds() < end
            elif descriptor not in waiting:
                waiting.add(descriptor)
                self._left.push(self._keys.get(descriptor), descriptor, _bytes_in(descriptor))
        while in_time and waiting:
            descriptor = self._left.pop()
            waiting.discard(descriptor)
            reader = readers.get(descriptor)
            if reader is not None:
                self._read(reader)
                in_time = seconds() < end

    def _read(self, reader: Any) -> None:
        try:
            why: _Why = reader.doRead()
        except Exception as error:
            self.log.failure("A connection failed")
            why = error
        if why is not None:
            self._disconnect(reader, why)

    def _reset(self, descriptor: int) -> None:
        """End a connection that its peer has reset. What has arrived is dropped unread."""
        reader = self._readers.get(descriptor) or self._paused.get(descriptor)
        if reader is not None:
            self._disconnect(reader, CONNECTION_LOST)

    def _hung_up(self, descriptor: int) -> None:
        """Watch a paused socket no more whose peer has closed it. It is read when it is resumed."""
        reader = self._paused.get(descriptor)
        if reader is not None:
            self.release(reader)

    def _disconnect(self, reader: Any, why: BaseException) -> None:
        # As the reactor does it: see twisted.internet.posixbase.
        try:
            self.removeReader(reader)
            failure = Failure(why)  # type: ignore[no-untyped-call]
            if isinstance(why, ConnectionDone) and IHalfCloseableDescriptor.providedBy(reader):
                reader.readConnectionLost(failure)
            else:
                reader.connectionLost(failure)
        except Exception:
            self.log.failure("A connection failed when it ended")

    def connectionLost(self, reason: Failure) -> None:
        """End all connections: the reactor ends."""
        for reader in [*self._readers.values(), *self._paused.values()]:
            reader.connectionLost(reason)


def _descriptor(transport: FileDescriptor) -> int:
    descriptor: int = transport.fileno()  # type: ignore[no-untyped-call]
    return descriptor


def _bytes_in(descriptor: int) -> int:
    """Return how many bytes a socket has received that were not read yet: ioctl_tty(2)."""
    (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))
    return int(count)


def readers_for(reactor: Any, turn: Turn, seconds: float) -> EpollReader | None:
    """Return an EpollReader for a reactor; None if the reactor does not watch descriptors."""
    if hasattr(select, "epoll") and IReactorFDSet.providedBy(reactor):
        return EpollReader(reactor, turn, seconds)
    return None


def read_by(readers: EpollReader | None, transport: object, key: Hashable) -> None:
    """Have the socket below a transport read by ``readers``.

    Without readers, or where that is not possible, it is read as before.

    Args:
        readers: reads it.
        transport: of a connection.
        key: see EpollReader.adopt.
    """
    descriptor = descriptor_below(transport)
    if readers is not None and descriptor is not None and reactor_of(descriptor) is not None:
        readers.adopt(descriptor, key)
