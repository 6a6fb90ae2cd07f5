"""A proxy between a store and its database that interrupts a COMMIT."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from psycopg.conninfo import conninfo_to_dict, make_conninfo

__all__ = ["Link", "Proxy"]


class Link:
    """One connection of the store, and the one to the database behind it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.interrupted = False
        """Answers are withheld: the store must not hear of a commit before the cut."""

    def cut_client(self) -> None:
        """The store loses the connection; the database does not notice."""
        with suppress(OSError):
            self.client.shutdown(socket.SHUT_RDWR)

    def cut_server(self) -> None:
        """The database loses the connection."""
        with suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Passes bytes on, in threads of its own.

    Args:
        url: of the database, on a UNIX socket.
    """

    def __init__(self, url: str) -> None:
        parts = conninfo_to_dict(url)
        self._target = f"{parts['host']}/.s.PGSQL.5432"
        self._folder = tempfile.TemporaryDirectory(prefix="chat-proxy-")
        self.url = make_conninfo(url, host=self._folder.name)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(Path(self._folder.name, ".s.PGSQL.5432")))
        self._listener.listen()
        self._interrupt: Callable[[Link, bytes], None] | None = None
        self.came_back = Event()
        """Set by each connection that comes after a COMMIT was interrupted."""
        self._links: list[Link] = []
        self._threads: list[Thread] = []
        self._start(self._accept)

    def interrupt(self, how: Callable[[Link, bytes], None]) -> None:
        """Call this with the bytes of the next COMMIT in place of passing them on."""
        self._interrupt = how
        self.came_back.clear()

    def _start(self, work: Callable[[], None]) -> None:
        thread = Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._target)
            except OSError:
                client.close()
                server.close()
                continue
            self.came_back.set()
            link = Link(client, server)
            self._links.append(link)
            self._start(lambda link=link: self._pass_on(link))  # type: ignore[misc]
            self._start(lambda link=link: self._pass_back(link))  # type: ignore[misc]

    def _pass_on(self, link: Link) -> None:
        with suppress(OSError):
            while data := link.client.recv(1 << 20):
                how = self._interrupt
                if how is not None and b"COMMIT" in data:
                    self._interrupt = None
                    link.interrupted = True
                    how(link, data)
                    return
                link.server.sendall(data)
        link.cut_server()

    def _pass_back(self, link: Link) -> None:
        with suppress(OSError):
            while data := link.server.recv(1 << 20):
                if not link.interrupted:
                    link.client.sendall(data)
        link.cut_client()

    def close(self) -> None:
        """Cut everything."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            link.cut_client()
            link.cut_server()
        for thread in self._threads:
            thread.join()
        for link in self._links:
            link.client.close()
            link.server.close()
        self._folder.cleanup()
