"""Connections through a proxy: PROXY headers on real sockets, and HAProxy itself."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox import wire
from tests.blackbox.client import Address, Client, connect
from tests.blackbox.server import START_SECONDS, Server, free_port
from tests.certificates import Authority

V2 = b"\r\n\r\n\0\r\nQUIT\n"
TCP4 = bytes([203, 0, 113, 66, 192, 0, 2, 9]) + b"\x0f\xa0\x15\xb3"
HEADERS = {
    "version 1": (b"PROXY TCP4 203.0.113.66 192.0.2.9 4000 5555\r\n", "203.0.113.66:4000"),
    "version 1, UNKNOWN": (b"PROXY UNKNOWN\r\n", "a client of the proxy 127.0.0.1:"),
    "version 2": (V2 + b"\x21\x11\x00\x0c" + TCP4, "203.0.113.66:4000"),
    "version 2, LOCAL": (V2 + b"\x20\x00\x00\x00", "a client of the proxy 127.0.0.1:"),
}
OK = bytes.fromhex("00000009 01 0003 00000001 0001")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Server]:
    """A server that needs PROXY headers, and speaks TLS as well."""
    directory = tmp_path_factory.mktemp("proxied")
    authority.server().write(directory / "server.pem")
    port = free_port()
    with Server(
        directory,
        ("--store", "memory:", "--certificate", "server.pem"),
        [f"haproxy:tcp:{port}:interface=127.0.0.1"],
        ("127.0.0.1", port),
    ) as server:
        yield server
    server.check_log()


class Bytewise:
    """A connection that sends each byte in a segment of its own."""

    def __init__(self, address: Address, header: bytes, tls: ssl.SSLContext | None) -> None:
        self._socket = connect(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        if tls is not None:
            self._tls = tls.wrap_bio(self._in, self._out, server_hostname="localhost")
        self._send(header)

    def _send(self, data: bytes) -> None:
        for at in range(len(data)):
            self._socket.sendall(data[at : at + 1])

    def ask(self, data: bytes, size: int) -> bytes:
        """Send it, and return as many bytes of the answer."""
        if self._tls is None:
            self._send(data)
            return self._socket.recv(size, socket.MSG_WAITALL)
        sent = False
        while True:
            try:
                if not sent:
                    self._tls.write(data)
                    sent = True
                found = self._tls.read(size)
            except ssl.SSLWantReadError:
                self._send(self._out.read())
                self._in.write(self._socket.recv(65536))
            else:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("in_tls", [False, True])
@pytest.mark.parametrize("kind", HEADERS)
def test_headers_come_in_any_pieces(
    proxied: Server, authority: Authority, kind: str, in_tls: bool
) -> None:
    header, peer = HEADERS[kind]
    name = f"{kind} {in_tls}"
    client = Bytewise(proxied.address, header, authority.trusted() if in_tls else None)
    assert client.ask(wire.login(name, 1), len(OK)) == OK
    proxied.wait_for_log(f"'{name}' at {peer}")
    client.close()


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
@pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")
def test_haproxy(proxied: Server, tmp_path: Path, option: str) -> None:
    """Clients on TCP, on a UNIX socket, which has no address, and its own health checks."""
    port, path = free_port(), tmp_path / "front.sock"
    (tmp_path / "haproxy.cfg").write_text(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
        f"listen chat\n bind 127.0.0.1:{port}\n bind unix@{path}\n"
        f" server node 127.0.0.1:{proxied.address[1]} {option} check inter 50ms\n"
    )
    haproxy = subprocess.Popen(
        ["haproxy", "-f", tmp_path / "haproxy.cfg"], stderr=subprocess.PIPE, text=True
    )
    try:
        addresses: list[Address] = [("127.0.0.1", port), str(path)]
        for number, address in enumerate(addresses):
            _wait_for(address)
            with Client(address, f"{option} {number}") as client:
                assert client.still_works()
        proxied.wait_for_log(f"'{option} 0' at 127.0.0.1:")
        proxied.wait_for_log(f"'{option} 1' at a client of the proxy 127.0.0.1:")
    finally:
        haproxy.terminate()
        _, errors = haproxy.communicate(timeout=30)
    assert "DOWN" not in errors


def _wait_for(address: Address) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            connect(address).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return
