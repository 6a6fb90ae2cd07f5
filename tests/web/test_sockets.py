"""The page and WebSockets of a server process: beside frames, in TLS, or not at all."""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox import wire
from tests.blackbox.client import Address, Client, connect
from tests.blackbox.conftest import StartServer, start_server
from tests.blackbox.server import Server, free_port
from tests.certificates import Authority
from tests.web.browser import CLOSE, close, frame, frames, get, upgrade

__all__ = ["start_server"]

MB = 1_000_000


class Socket:
    """A WebSocket, for who knows sockets."""

    def __init__(self, sock: socket.socket) -> None:
        self.below = sock
        self._data = b""
        self._taken = b""
        self.closed: bytes | None = None
        sock.sendall(upgrade())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = sock.recv(1)
            assert byte, head
            head += byte
        assert head.startswith(b"HTTP/1.1 101"), head

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)

    def sendall(self, data: bytes) -> None:
        for at in range(0, len(data), 60_000):
            self.below.sendall(frame(data[at : at + 60_000]))

    def recv(self, size: int) -> bytes:
        """Bytes of binary messages; none behind a Close, and at the end."""
        while not self._taken:
            length = self._whole()
            if length:
                ((kind, payload),) = frames(self._data[:length])
                self._data = self._data[length:]
                if kind == CLOSE:
                    self.closed = payload
                    return b""
                self._taken = payload
            elif more := self.below.recv(65536):
                self._data += more
            else:
                return b""
        found, self._taken = self._taken[:size], self._taken[size:]
        return found

    def _whole(self) -> int:
        data = self._data
        if len(data) < 2:
            return 0
        short = data[1]
        start = {126: 4, 127: 10}.get(short, 2)
        if len(data) < start:
            return 0
        size = int.from_bytes(data[2:start], "big") if start > 2 else short
        return start + size if len(data) >= start + size else 0


def web_client(
    address: Address, name: str, tls: ssl.SSLContext | None = None, buffer: int | None = None
) -> Client:
    client = Client(address, receive_buffer=buffer, tls=tls)
    client.sock = Socket(client.sock)  # type: ignore[assignment]
    client.name = name
    assert client.login(name) == wire.OK
    return client


def port_of(server: Server) -> int:
    assert not isinstance(server.address, str)
    return server.address[1]


@pytest.fixture
def certified(tmp_path: Path) -> tuple[list[str], ssl.SSLContext]:
    authority = Authority()
    path = authority.server().write(tmp_path / "server.pem")
    return ["--certificate", str(path)], authority.trusted()


def test_all_of_them_on_one_port(
    start_server: StartServer, certified: tuple[list[str], ssl.SSLContext]
) -> None:
    options, trusted = certified
    server = start_server(*options)
    https = http.client.HTTPSConnection("localhost", port_of(server), context=trusted, timeout=20)
    for page in (http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=20), https):
        for _ in range(2):
            page.request("GET", "/")
            answer = page.getresponse()
            assert answer.status == 200
            assert answer.read().startswith(b"<!doctype html>")
        page.close()
    with (
        Client(server.address, "plain") as plain,
        Client(server.address, "tls", tls=trusted) as tls,
        web_client(server.address, "web") as web,
    ):
        secure = Client(server.address, tls=trusted)
        # A page that came by http has no business there.
        secure.sock.sendall(upgrade())
        assert secure.sock.recv(100).startswith(b"HTTP/1.1 403")
        secure.close()
        everybody = [plain, tls, web]
        for one in everybody:
            for other in everybody:
                for size in (2, 60_000):
                    text = one.name[0] * size
                    assert one.send(text, other.name) == wire.OK
                    assert other.receive().text == text
    server.wait_for_log("'web' at 127.0.0.1")


def test_a_websocket_in_tls(
    start_server: StartServer, certified: tuple[list[str], ssl.SSLContext]
) -> None:
    options, trusted = certified
    server = start_server(*options, "--require-tls")
    with connect(server.address) as sock:
        sock.sendall(get())
        assert sock.recv(100) == b""
    server.wait_for_log("does not use TLS, and --require-tls is given")
    with Client(server.address, tls=trusted) as client:
        client.sock.sendall(upgrade(origin="https://chat.example:5555"))
        assert client.sock.recv(1000).startswith(b"HTTP/1.1 101")
        client.sock.sendall(frame(wire.login("web")))
        assert client.sock.recv(1000)
        data = wire.message("x" * 60_000, "web", "web", 0, 7)
        client.sock.sendall(frame(data[:20_000]) + frame(data[20_000:]))
        received = b""
        while len(received) < 60_000:
            received += client.sock.recv(65536)
        client.sock.sendall(frame(b"\x03\xe8", CLOSE))
        rest = b""
        with suppress(ConnectionError, ssl.SSLError):
            while more := client.sock.recv(65536):
                rest += more
        assert (received + rest).endswith(b"\x88\x02\x03\xe8")
    server.wait_for_log("(TLS) logged in")
    assert server.terminate() == 0


def test_a_websocket_behind_the_proxy_protocol(tmp_path: Path) -> None:
    port = free_port()
    with Server(tmp_path, [], [f"haproxy:tcp:{port}"], ("127.0.0.1", port)) as server:
        with connect(server.address) as sock:
            sock.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 56324 443\r\n")
            web = Socket(sock)
            web.sendall(wire.login("bob"))
            assert web.recv(100)
            server.wait_for_log("'bob' at 192.0.2.7:56324 logged in")
        assert server.terminate() == 0
    server.check_log()


def test_no_web(start_server: StartServer) -> None:
    server = start_server("--no-web", "--store", "memory:")
    with connect(server.address) as sock:
        sock.sendall(get())
        assert sock.recv(100) == b""
    server.wait_for_log("speaks HTTP, and this server has no web page")
    with Client(server.address, "alice") as alice:
        assert alice.still_works()


def test_first_bytes_one_by_one(start_server: StartServer) -> None:
    server = start_server("--store", "memory:")
    with connect(server.address) as sock:
        for byte in get():
            sock.sendall(bytes([byte]))
            time.sleep(0.001)
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    with connect(server.address) as sock:
        sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        assert sock.recv(100) == b""
    server.wait_for_log("the client speaks SSH")


@pytest.mark.parametrize("stop", ["text", "frame"])
def test_it_says_why_it_ends(start_server: StartServer, stop: str) -> None:
    server = start_server("--store", "memory:")
    with web_client(server.address, "alice") as alice:
        sock = alice.sock
        assert isinstance(sock, Socket)
        sock.below.sendall(frame(b"hello", 1) if stop == "text" else frame(b"\0\0\0\1"))
        assert sock.recv(100) == b""
        assert sock.closed == close(1003 if stop == "text" else 1000)[1]
        if stop == "frame":
            sock.below.sendall(frame(sock.closed, CLOSE))
        assert sock.below.recv(100) == b""


def test_who_takes_nothing_costs_little_and_loses_nothing(start_server: StartServer) -> None:
    server = start_server()
    slow = web_client(server.address, "slow", buffer=4096)
    text, count = "x" * 50_000, 600
    with Client(server.address, "alice") as alice:
        before = server.rss()
        for _ in range(count):
            assert alice.send(text, "slow") == wire.OK
        assert server.rss() - before < 20 * MB
    # Some are in the kernel, at least one is not, and that one comes again.
    for _ in range(30):
        assert slow.receive().text == text
    struct_linger = struct.pack("ii", 1, 0)
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct_linger)
    slow.close()
    server.wait_for_log("'slow' left")
    with web_client(server.address, "slow") as again:
        texts = again.texts(count - 200)
        assert set(texts) == {text}
