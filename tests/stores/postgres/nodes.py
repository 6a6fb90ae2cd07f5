"""Chat servers in processes of their own, over one database, and a client that speaks bytes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chat_protocol.wire.codec import decode, encode
from chat_protocol.wire.commands import Deliver, Login, Login2, LoginAnswer, Presence, Publish
from tests.blackbox.server import free_port
from tests.stores.postgres.server import PATIENCE

__all__ = ["Client", "Node", "nodes", "wait_for"]

HOST = "127.0.0.1"


def wait_for(
    condition: Callable[[], object], seconds: float = PATIENCE, pause: float = 0.02
) -> None:
    """Wait until it is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(pause)


class Node:
    """One server.

    Args:
        folder: for its log.
        store: the URL.
    """

    def __init__(self, folder: Path, store: str) -> None:
        self.port = free_port()
        self._log = folder / f"log{self.port}"
        self._store = store
        self.clients: list[Client] = []
        self.start()

    def start(self) -> None:
        """Start it; see :meth:`wait`."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("twistd")),
                    *("-n", "--pidfile=", "chatserver", "--store", self._store),
                    *("--listen", f"tcp:{self.port}:interface={HOST}"),
                ],
                cwd=self._log.parent,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text()

    def wait(self) -> None:
        """Wait until it serves, or has ended."""
        wait_for(lambda: "Serving on" in self.log or self.process.poll() is not None)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self) -> None:
        """Kill it if it is there, and close what the test has open to it."""
        for client in self.clients:
            client.close()
        self.process.kill()
        self.process.wait()


@contextmanager
def nodes(folder: Path, store: str, count: int) -> Iterator[list[Node]]:
    """So many nodes that serve, started at once."""
    made = [Node(folder, store) for _ in range(count)]
    try:
        for node in made:
            node.wait()
        yield made
        for node in made:
            assert "Traceback" not in node.log, node.log
            assert "Unhandled" not in node.log, node.log
    finally:
        for node in made:
            node.end()


class Client:
    """A connection to a node."""

    def __init__(self, node: Node) -> None:
        self.socket = socket.create_connection((HOST, node.port))
        self.socket.settimeout(PATIENCE)
        node.clients.append(self)
        self._data = b""

    def send(self, command: Any, correlation_id: int = 1) -> None:
        """Send a command."""
        self.socket.sendall(encode(command, correlation_id))

    def read(self) -> Any:
        """The next command; None at the end."""
        while len(self._data) < 4 or len(self._data) < 4 + int.from_bytes(self._data[:4], "big"):
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._data += data
        end = 4 + int.from_bytes(self._data[:4], "big")
        payload, self._data = self._data[4:end], self._data[end:]
        return decode(payload)[1]

    def ask(self, command: Any) -> Any:
        """Send a command and read its answer; what is pushed meanwhile is lost."""
        self.send(command)
        while True:
            answer = self.read()
            if not isinstance(answer, (Deliver, Presence)):
                return answer

    def log_in(self, name: str, **properties: str) -> LoginAnswer:
        """Log in with version 2."""
        answer = self.ask(Login2(name, properties))
        assert isinstance(answer, LoginAnswer)
        return answer

    def log_in_1(self, name: str) -> int:
        """Log in with version 1; the code."""
        return int(self.ask(Login(name)).code)

    def publish(self, id_: int, text: str, *to: str) -> int:
        """Publish to some, or to all; the code, 0 if the connection ended."""
        answer = self.ask(Publish(id_, text, 0 if to else 1, to, 7))
        return int(answer.code) if answer is not None else 0

    def close(self) -> None:
        """End the connection."""
        self.socket.close()
