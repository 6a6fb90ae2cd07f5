"""A small blocking client; each wait has an end."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import TypeAlias

from tests.blackbox import wire
from tests.blackbox.wire import Frame, Text

Address: TypeAlias = "tuple[str, int] | str"
"""Host and port, or the path of a UNIX socket."""

PATIENCE = 30.0
"""Seconds after which something that should come is said not to come."""


def connect(address: Address, receive_buffer: int | None = None) -> socket.socket:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE)
        sock.connect(address)
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


class Client:
    """One connection. What comes in is sorted into ``codes`` and ``inbox``.

    Args:
        address: of the server.
        name: log in with it at once.
        receive_buffer: SO_RCVBUF.
        tls: speak TLS, and check that the server is ``localhost``.
    """

    def __init__(
        self,
        address: Address,
        name: str | None = None,
        receive_buffer: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.sock = connect(address, receive_buffer)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.name = name or ""
        self.codes: dict[int, int] = {}
        """The codes of the answers that came and were not asked for yet, by correlationId."""
        self.inbox: deque[Text] = deque()
        """The messages that came and were not asked for yet."""
        self._buffer = bytearray()
        self._last_id = 1000
        if name is not None:
            code = self.login(name)
            assert code == wire.OK, f"login of {name!r}: code {code}"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Vanish with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def finish_writing(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    # Bytes and frames.

    def write(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self, size: int) -> bytes:
        """Exactly so many bytes; EOFError if there are fewer."""
        while len(self._buffer) < size:
            data = self.sock.recv(262144)
            if not data:
                raise EOFError(f"{len(self._buffer)} of {size} bytes, then the end")
            self._buffer += data
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def next_frame(self) -> Frame:
        """The next one; EOFError at the end of the connection."""
        (size,) = struct.unpack(">I", self.read(4))
        assert wire.MIN <= size <= 1024 * 1024, f"a frame of {size} bytes from the server"
        frame = wire.parse(self.read(size))
        assert frame.version == 1, frame
        return frame

    def _sort_next(self) -> None:
        frame = self.next_frame()
        if frame.key == wire.RESPONSE:
            assert frame.correlation_id not in self.codes, f"two answers: {frame}"
            self.codes[frame.correlation_id] = frame.code
        else:
            assert frame.correlation_id == 0, frame
            self.inbox.append(frame.message)

    def quiet(self, seconds: float) -> bool:
        """Whether nothing at all comes for so long."""
        if self._buffer:
            return False
        self.sock.settimeout(seconds)
        try:
            return not self.sock.recv(1, socket.MSG_PEEK) and False
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(PATIENCE)

    def read_to_end(self) -> None:
        """Sort everything up to the end of the connection, be it a FIN or a RST."""
        try:
            while True:
                self._sort_next()
        except (EOFError, ConnectionError, ssl.SSLError):
            pass

    # Requests.

    def new_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def answer(self, correlation_id: int) -> int:
        """Wait for the code of that answer."""
        while correlation_id not in self.codes:
            self._sort_next()
        return self.codes.pop(correlation_id)

    def answers(self, correlation_ids: Iterable[int]) -> list[int]:
        return [self.answer(one) for one in correlation_ids]

    def request(self, data: bytes) -> int:
        """Send a frame and wait for the answer to it."""
        (correlation_id,) = struct.unpack_from(">I", data, 7)
        self.write(data)
        return self.answer(correlation_id)

    def login(self, name: str | bytes) -> int:
        if isinstance(name, str):
            self.name = name
        return self.request(wire.login(name, self.new_id()))

    def send(self, text: str | bytes, to: str | bytes, time: int = 0) -> int:
        """Send a message and wait for the answer."""
        return self.request(wire.message(text, self.name, to, time, self.new_id()))

    def still_works(self) -> bool:
        """Whether requests are answered."""
        return self.request(wire.unknown(self.new_id())) == wire.ERROR

    def receive(self) -> Text:
        """The next message."""
        while not self.inbox:
            self._sort_next()
        return self.inbox.popleft()

    def texts(self, count: int) -> list[str]:
        """The texts of the next messages."""
        return [self.receive().text for _ in range(count)]

    def ended(self) -> bool:
        """Whether the server ends the connection, with nothing more to read but what is sorted."""
        self.read_to_end()
        return True


def log_in_when_free(address: Address, name: str) -> Client:
    """Log in, again and again while the user counts as logged in."""
    deadline = time.monotonic() + PATIENCE
    while True:
        client = Client(address)
        code = client.login(name)
        if code == wire.OK:
            return client
        client.close()
        assert code == wire.ALREADY_LOGGED, code
        assert time.monotonic() < deadline, f"{name} is never freed"
        time.sleep(0.01)
