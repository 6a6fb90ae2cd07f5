"""Non-blocking sockets: an epoll loop, its shared buffers, and logins."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable, Iterable
from time import monotonic

from benchmarks.dialing import Address, Dial, dial_tcp
from benchmarks.frames import CheckFailed, login, login_answer
from chat_protocol.wire.codec import decode
from chat_protocol.wire.codes import Code

__all__ = [
    "ANSWERS",
    "DELIVERIES",
    "Address",
    "Arrivals",
    "Loop",
    "drain",
    "exactly",
    "log_in",
    "read",
]

Arrivals = list[tuple[float, int]]
"""Pairs of a time (``time.monotonic``) and the total number of messages by then."""

ANSWERS = 16 * 1024
"""Size of the buffer for answers, in bytes."""

DELIVERIES = 64 * 1024
"""Size of the buffer for deliveries, in bytes."""

_CONCURRENT_LOGINS = 32
"""Number of connections that are opened at a time; fewer than Twisted's backlog of 50."""

_TIMEOUT = 60.0
"""Timeout of a login, in seconds."""

_READ = select.EPOLLIN
_READ_WRITE = select.EPOLLIN | select.EPOLLOUT


def log_in(
    address: Address, names: Iterable[str], version: int = 1, dial: Dial = dial_tcp
) -> list[socket.socket]:
    """Connect and log in with each name; return the sockets in the order of the names.

    Raises:
        CheckFailed: a connection fails, or a login is refused or not answered within 60 s.
    """
    waiting = list(names)
    sockets: list[socket.socket] = []
    while waiting:
        batch, waiting = waiting[:_CONCURRENT_LOGINS], waiting[_CONCURRENT_LOGINS:]
        fresh = []
        for name in batch:
            sock = dial(address)
            sock.sendall(login(name, version))
            fresh.append(sock)
        for name, sock in zip(batch, fresh, strict=True):
            _await_login(name, sock, version)
            sock.setblocking(False)
        sockets += fresh
    return sockets


def _await_login(name: str, sock: socket.socket, version: int) -> None:
    try:
        if version == 1:
            wanted = login_answer()
            answer = exactly(sock, len(wanted))
            good = answer == wanted
        else:
            answer = exactly(sock, int.from_bytes(exactly(sock, 4), "big"))
            good = decode(answer)[1].code == Code.OK
    except OSError as error:
        raise CheckFailed(f"the server did not answer the login of {name}: {error}") from None
    if not good:
        raise CheckFailed(f"the server answered the login of {name} with {answer.hex()}")


def drain(sock: socket.socket, wanted: bytes, label: str) -> None:
    """Receive and check the waiting messages of a user who has just logged in.

    Raises:
        CheckFailed: the messages differ from ``wanted``, or do not arrive within 60 s.
    """
    sock.settimeout(_TIMEOUT)
    try:
        if exactly(sock, len(wanted)) != wanted:
            raise CheckFailed(f"{label}: the mailbox contained other messages than expected")
    except OSError as error:
        raise CheckFailed(f"{label}: not all waiting messages arrived: {error}") from None
    sock.setblocking(False)


def exactly(sock: socket.socket, count: int) -> bytes:
    """Receive ``count`` bytes from a blocking socket.

    Raises:
        OSError: the connection ended before.
    """
    data = b""
    # With a timeout, MSG_WAITALL does not wait for all.
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise ConnectionError("the server closed the connection")
        data += piece
    return data


class Loop:
    """An epoll loop that calls a function for each socket that is ready."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[int], None]] = {}
        self._sockets: dict[int, socket.socket] = {}
        self.answers = memoryview(bytearray(ANSWERS))
        self.deliveries = memoryview(bytearray(DELIVERIES))

    def add(self, sock: socket.socket, ready: Callable[[int], None], events: int = _READ) -> None:
        """Call ``ready`` with the epoll events of the socket whenever there are some."""
        self._ready[sock.fileno()] = ready
        self._sockets[sock.fileno()] = sock
        self._epoll.register(sock, events)

    def watch(self, sock: socket.socket, writable: bool) -> None:
        """Set whether to wait for writability in addition to readability."""
        self._epoll.modify(sock, _READ_WRITE if writable else _READ)

    def remove(self, sock: socket.socket) -> None:
        """Stop watching the socket, which must still be open."""
        self._epoll.unregister(sock)
        del self._ready[sock.fileno()], self._sockets[sock.fileno()]

    def turn(self, seconds: float) -> None:
        """Handle all ready sockets; wait for the first at most ``seconds``, rounded to 1 ms."""
        ready = self._ready
        for descriptor, events in self._epoll.poll(max(seconds, 0)):
            # An earlier call of this turn may have removed the socket.
            if descriptor in ready:
                ready[descriptor](events)

    def turn_until(self, when: float) -> None:
        """Handle all ready sockets; wait for the first until ``when``, to about 0.1 ms."""
        select.select([self._epoll], [], [], max(when - monotonic(), 0))
        self.turn(0)

    def close(self) -> None:
        """Close all watched sockets and the epoll object."""
        for sock in self._sockets.values():
            sock.close()
        self._epoll.close()


def read(sock: socket.socket, view: memoryview, label: str) -> int:
    """Receive bytes to the front of ``view``; return their number, 0 if there are none yet.

    TLS and WebSockets have bytes of their own.

    Raises:
        CheckFailed: the connection has ended.
    """
    try:
        count = sock.recv_into(view)
    except (BlockingIOError, ssl.SSLWantReadError):
        return 0
    except OSError as error:
        raise CheckFailed(f"{label}: {error}") from None
    if not count:
        raise CheckFailed(f"{label}: the server closed the connection")
    return count
