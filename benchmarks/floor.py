"""The floor: what it costs at all to bring these bytes from socket to socket in Python.

    python -m benchmarks.floor PORT

It trusts its clients, and knows what this suite sends: version 1, and frames that come in together
have one size and one recipient. They are handed on unread, many at a time. No server that reads
its frames, checks them or keeps them can be as quick; figures beside it hold on any machine.
"""

from __future__ import annotations

import select
import socket
import sys
from collections import deque
from itertools import islice

from benchmarks.frames import login_answer

__all__ = ["Relay", "serve"]

_READ = 256 * 1024
_PIECES = 64
_KEY = slice(5, 7)
_CORRELATION = range(7, 11)
_LOGIN = b"\x00\x01"
_RESPONSE = login_answer()


class _Connection:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.name = b""
        self.rest = b""
        self.out: deque[bytes | bytearray | memoryview] = deque()
        self.watched = False


def _string(frame: bytes, at: int) -> tuple[bytes, int]:
    end = at + 2 + int.from_bytes(frame[at : at + 2], "big")
    return frame[at + 2 : end], end


class Relay:
    """Hands on what comes in at a listening socket."""

    def __init__(self, listening: socket.socket) -> None:
        self._epoll = select.epoll()
        self._listening = listening
        self._epoll.register(listening, select.EPOLLIN)
        self._connections: dict[int, _Connection] = {}
        self._online: dict[bytes, _Connection] = {}
        self._mail: dict[bytes, list[bytes | bytearray]] = {}

    def turn(self, seconds: float | None = None) -> None:
        """Read from all that have something, then write to all that get something."""
        changed: set[_Connection] = set()
        for descriptor, _ in self._epoll.poll(seconds):
            if descriptor == self._listening.fileno():
                self._accept()
            elif descriptor in self._connections:
                connection = self._connections[descriptor]
                changed.add(connection)
                self._read(connection, changed)
        for connection in changed:
            self._write(connection)

    def _accept(self) -> None:
        sock, _ = self._listening.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[sock.fileno()] = _Connection(sock)
        self._epoll.register(sock, select.EPOLLIN)

    def _end(self, connection: _Connection) -> None:
        del self._connections[connection.sock.fileno()]
        self._online.pop(connection.name, None)
        connection.sock.close()

    def _read(self, connection: _Connection, changed: set[_Connection]) -> None:
        try:
            data = connection.rest + connection.sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(connection)
            return
        size = 4 + int.from_bytes(data[:4], "big")
        count = len(data) // size if len(data) >= 4 else 0
        connection.rest = data[count * size :]
        if not count:
            return
        if data[_KEY] == _LOGIN:
            connection.name, _ = _string(data, 11)
            self._online[connection.name] = connection
            connection.out += [_RESPONSE, *self._mail.pop(connection.name, ())]
            return
        recipient, _ = _string(data, _string(data, _string(data, 11)[1])[1])
        handed_on = bytearray(data[: count * size])
        answers = bytearray(_RESPONSE * count)
        for at in _CORRELATION:
            answers[at :: len(_RESPONSE)] = handed_on[at::size]
            handed_on[at::size] = bytes(count)
        self.spoil(answers, handed_on, size)
        connection.out.append(answers)
        to = self._online.get(recipient)
        if to is None:
            self._mail.setdefault(recipient, []).append(handed_on)
        else:
            to.out.append(handed_on)
            changed.add(to)

    def spoil(self, answers: bytearray, handed_on: bytearray, size: int) -> None:
        """What goes back and what goes on, for those who want to see it done wrong."""

    def close(self) -> None:
        """Let go of all connections."""
        for connection in list(self._connections.values()):
            self._end(connection)
        self._epoll.close()

    def _write(self, connection: _Connection) -> None:
        out = connection.out
        while out and connection.sock.fileno() >= 0:
            try:
                taken = connection.sock.sendmsg(list(islice(out, _PIECES)))
            except BlockingIOError:
                break
            except OSError:
                self._end(connection)
                return
            while taken:
                first = out.popleft()
                if len(first) > taken:
                    out.appendleft(memoryview(first)[taken:])
                taken -= min(taken, len(first))
        if bool(out) != connection.watched and connection.sock.fileno() >= 0:
            connection.watched = bool(out)
            events = select.EPOLLIN | (select.EPOLLOUT if out else 0)
            self._epoll.modify(connection.sock, events)


def serve(port: int) -> None:
    """Serve on a port of 127.0.0.1 until the process is killed."""
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listening:
        floor = Relay(listening)
        while True:
            floor.turn()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
