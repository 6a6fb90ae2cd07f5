"""A small version 1 server in threads, for clients in this and other processes.

It uses only :mod:`frames` for the protocol. Its behavior depends on the names:

=========  ===========================================================
login      ``taken``: in use; ``mute``: no answer; else OK, then the frames given for the name
message    to ``nobody``: unknown; ``full``: an Error without a reason; ``mute``: no answer;
           ``hangup``: it closes the connection; else OK, and from ``late`` to ``late`` it is
           delivered a moment later
=========  ===========================================================
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType

from tests.client import frames

PATIENCE = 10.0
"""Seconds to wait for an expected event."""


class ThreadServer:
    def __init__(self, deliveries: dict[str, bytes] | None = None) -> None:
        self.deliveries = deliveries or {}
        self.received: list[tuple[str, str, str]] = []
        """Sender, recipient and text of the messages answered with OK."""
        self.unanswered = 0
        """Number of messages that were not answered."""
        self.logins: list[str] = []
        self.connections: dict[str, socket.socket] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._open: list[socket.socket] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> ThreadServer:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # close() does not wake a thread in accept(); shutdown() does.
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()

    def push(self, name: str, data: bytes) -> None:
        """Send bytes to a user, waiting for the login if necessary."""
        wait_for(lambda: name in self.connections)
        self.connections[name].sendall(data)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        rest = b""
        with connection:
            while True:
                try:
                    data = connection.recv(65536)
                except OSError:
                    break
                if not data:
                    break
                whole, rest = frames.split(rest + data)
                # The client may have closed the connection.
                with suppress(OSError):
                    for frame in whole:
                        if not self._handle(connection, frame):
                            return
        self._open.remove(connection)

    def _handle(self, connection: socket.socket, frame: frames.Frame) -> bool:
        if frame.key == frames.LOGIN:
            (name,) = frames.strings(frame.body, 1)
            if name == "mute":
                return True
            code = frames.ALREADY_LOGGED if name == "taken" else frames.OK
            connection.sendall(frames.response(frame.correlation_id, code))
            if code == frames.OK:
                self.logins.append(name)
                connection.sendall(self.deliveries.get(name, b""))
                self.connections[name] = connection
        else:
            text, sender, to = frames.strings(frame.body, 3)
            if to == "mute":
                self.unanswered += 1
                return True
            if to == "hangup":
                return False
            code = {"nobody": frames.NOT_FOUND, "full": frames.ERROR}.get(to, frames.OK)
            if code == frames.OK:
                self.received.append((sender, to, text))
            connection.sendall(frames.response(frame.correlation_id, code))
            if sender == to == "late":
                time.sleep(0.02)
                connection.sendall(frames.delivery(text, sender, to))
        return True


def wait_for(condition: object) -> None:
    """Wait until ``condition()`` is true."""
    assert callable(condition)
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.01)
