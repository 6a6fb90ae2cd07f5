"""The floor: the minimum cost of moving these bytes between sockets in Python.

    python -m benchmarks.floor PORT

The floor is a relay that trusts its clients and depends on the traffic of this suite: version 1,
and all frames of one read have the same size and the same recipient. It forwards them together and
without parsing. No server that parses, checks or stores its frames can be as fast. Therefore the
ratio of a figure to the floor's is comparable between machines.
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
    """Forwards messages between the connections of a listening socket."""

    def __init__(self, listening: socket.socket) -> None:
        self._epoll = select.epoll()
        self._listening = listening
        self._epoll.register(listening, select.EPOLLIN)
        self._connections: dict[int, _Connection] = {}
        self._online: dict[bytes, _Connection] = {}
        self._mail: dict[bytes, list[bytes | bytearray]] = {}

    def turn(self, seconds: float | None = None) -> None:
        """Read from all readable connections, then write the output that this caused.

        Args:
            seconds: maximum time to wait for a readable connection; None: no maximum.
        """
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
        forwarded = bytearray(data[: count * size])
        answers = bytearray(_RESPONSE * count)
        for at in _CORRELATION:
            answers[at :: len(_RESPONSE)] = forwarded[at::size]
            forwarded[at::size] = bytes(count)
        self.spoil(answers, forwarded, size)
        connection.out.append(answers)
        to = self._online.get(recipient)
        if to is None:
            self._mail.setdefault(recipient, []).append(forwarded)
        else:
            to.out.append(forwarded)
            changed.add(to)

    def spoil(self, answers: bytearray, forwarded: bytearray, size: int) -> None:
        """Do nothing; a subclass may alter the bytes in order to test the checks of the suite."""

    def close(self) -> None:
        """Close all connections."""
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
    """Listen on a port of 127.0.0.1 until the process is killed."""
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listening:
        floor = Relay(listening)
        while True:
            floor.turn()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
