"""Non-blocking sockets: an epoll, the buffers that all share, and logins."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterable
from time import monotonic

from benchmarks.frames import Failed, login, login_answer
from chat_protocol.wire.codec import decode
from chat_protocol.wire.codes import Code

__all__ = ["ANSWERS", "DELIVERIES", "Address", "Arrivals", "Loop", "drain", "log_in", "read"]

Address = tuple[str, int]
Arrivals = list[tuple[float, int]]
"""When so many had come, by ``time.monotonic``."""

ANSWERS = 16 * 1024
"""Bytes of answers that are read at a time."""

DELIVERIES = 64 * 1024
"""Bytes of deliveries that are read at a time."""

_TOGETHER = 32
"""Connections that are opened at a time: fewer than Twisted's backlog of 50."""

_PATIENCE = 60.0
"""Seconds that a login may take."""

_READ = select.EPOLLIN
_READ_WRITE = select.EPOLLIN | select.EPOLLOUT


def log_in(address: Address, names: Iterable[str], version: int = 1) -> list[socket.socket]:
    """A connection with a session for each name, in their order.

    Raises:
        Failed: there is no connection, one is refused, or not answered within a minute.
    """
    waiting = list(names)
    sockets: list[socket.socket] = []
    while waiting:
        batch, waiting = waiting[:_TOGETHER], waiting[_TOGETHER:]
        fresh = []
        for name in batch:
            sock = _connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(login(name, version))
            fresh.append(sock)
        for name, sock in zip(batch, fresh, strict=True):
            _await_login(name, sock, version)
            sock.setblocking(False)
        sockets += fresh
    return sockets


def _connect(address: Address) -> socket.socket:
    try:
        return socket.create_connection(address, _PATIENCE)
    except OSError as error:
        raise Failed(f"there is no connection: {error}") from None


def _await_login(name: str, sock: socket.socket, version: int) -> None:
    try:
        if version == 1:
            wanted = login_answer()
            answer = _exactly(sock, len(wanted))
            good = answer == wanted
        else:
            answer = _exactly(sock, int.from_bytes(_exactly(sock, 4), "big"))
            good = decode(answer)[1].code == Code.OK
    except OSError as error:
        raise Failed(f"the login of {name} is not answered: {error}") from None
    if not good:
        raise Failed(f"the login of {name} is answered {answer.hex()}")


def drain(sock: socket.socket, wanted: bytes, whose: str) -> None:
    """Take what waited for a user who has just logged in.

    Raises:
        Failed: it is something else, or does not come.
    """
    sock.settimeout(_PATIENCE)
    try:
        if _exactly(sock, len(wanted)) != wanted:
            raise Failed(f"{whose}: other messages waited")
    except OSError as error:
        raise Failed(f"{whose}: not all that waited came: {error}") from None
    sock.setblocking(False)


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = sock.recv(count, socket.MSG_WAITALL)
    if len(data) < count:
        raise ConnectionError("the server closed the connection")
    return data


class Loop:
    """An epoll, and who is to be called."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[int], None]] = {}
        self._sockets: dict[int, socket.socket] = {}
        self.answers = memoryview(bytearray(ANSWERS))
        self.deliveries = memoryview(bytearray(DELIVERIES))

    def add(self, sock: socket.socket, ready: Callable[[int], None], events: int = _READ) -> None:
        """Call ``ready`` with what epoll says of the socket."""
        self._ready[sock.fileno()] = ready
        self._sockets[sock.fileno()] = sock
        self._epoll.register(sock, events)

    def watch(self, sock: socket.socket, writable: bool) -> None:
        """Whether to call when it can be written to, too."""
        self._epoll.modify(sock, _READ_WRITE if writable else _READ)

    def remove(self, sock: socket.socket) -> None:
        """Call no more; the socket must still be open."""
        self._epoll.unregister(sock)
        del self._ready[sock.fileno()], self._sockets[sock.fileno()]

    def turn(self, seconds: float) -> None:
        """Handle what is there; wait at most so long, in steps of a millisecond."""
        ready = self._ready
        for descriptor, events in self._epoll.poll(max(seconds, 0)):
            # Who was called before may have removed it.
            if descriptor in ready:
                ready[descriptor](events)

    def turn_until(self, when: float) -> None:
        """Handle what is there; wait at most until then, to about 0.1 ms."""
        select.select([self._epoll], [], [], max(when - monotonic(), 0))
        self.turn(0)

    def close(self) -> None:
        """Close all sockets that it has, and the epoll."""
        for sock in self._sockets.values():
            sock.close()
        self._epoll.close()


def read(sock: socket.socket, view: memoryview, whose: str) -> int:
    """Bytes that came, at the front of ``view``; a connection that ended is Failed."""
    try:
        count = sock.recv_into(view)
    except OSError as error:
        raise Failed(f"{whose}: {error}") from None
    if not count:
        raise Failed(f"{whose}: the server closed the connection")
    return count
