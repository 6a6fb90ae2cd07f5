"""How a client connects: by TCP alone, by TLS, or by a WebSocket (RFC 6455).

What is returned is used as a socket of TCP: the layers in between are here.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
import struct
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from benchmarks.frames import CheckFailed

__all__ = ["DIALS", "Address", "Dial", "dial_tcp", "make_certificate"]

Address = tuple[str, int]
Dial = Callable[[Address], socket.socket]
"""Connects, with a timeout of 60 s. Raises CheckFailed if that fails."""

_TIMEOUT = 60.0
"""Timeout of a connection, in seconds."""

_BINARY = 0x82
"""A whole binary message in one frame, without extensions (RFC 6455, 5.2)."""

_MASKED = 0x80


def dial_tcp(address: Address) -> socket.socket:
    """See Dial."""
    try:
        sock = socket.create_connection(address, _TIMEOUT)
    except OSError as error:
        raise CheckFailed(f"cannot connect to {address[0]}:{address[1]}: {error}") from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _dial_tls(address: Address) -> socket.socket:
    # The certificate is that of make_certificate(): nobody has signed it.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sock = dial_tcp(address)
    try:
        return context.wrap_socket(sock)
    except OSError as error:
        sock.close()
        raise CheckFailed(f"the server does not speak TLS: {error}") from None


class WebSocket(socket.socket):
    """A socket that sends each piece as a binary message, and receives what messages contain.

    The mask is zero, so that masking costs nothing; a server cannot tell that it is not random.
    """

    def __init__(self, sock: socket.socket) -> None:
        timeout = sock.gettimeout()
        super().__init__(fileno=sock.detach())
        self.settimeout(timeout)
        self._left = 0
        """Bytes of the current frame that were not received yet."""
        self._head = b""
        """What was received of the next frame's header."""

    def send(self, data: Any, flags: int = 0) -> int:
        """Send all of it, and wait for that."""
        size = len(data)
        if size < 126:
            head = struct.pack(">BB4x", _BINARY, _MASKED | size)
        elif size < 65536:
            head = struct.pack(">BBH4x", _BINARY, _MASKED | 126, size)
        else:
            head = struct.pack(">BBQ4x", _BINARY, _MASKED | 127, size)
        message = head + data
        sent = super().send(message)
        if sent < len(message):
            timeout = self.gettimeout()
            self.settimeout(_TIMEOUT)
            super().sendall(message[sent:])
            self.settimeout(timeout)
        return size

    def sendall(self, data: Any, flags: int = 0) -> None:
        """See :meth:`send`."""
        self.send(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive a part of a message, once there is one."""
        data = bytearray(size)
        while True:
            try:
                return bytes(data[: self.recv_into(data)])
            except BlockingIOError:
                if self.gettimeout() == 0:
                    raise

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        """Receive the contents of messages.

        Raises:
            BlockingIOError: there is nothing, or only the header of a frame.
            CheckFailed: the server sent another frame.
        """
        view = memoryview(buffer)
        data = super().recv(len(view))
        if not data:
            return 0
        data, self._head = self._head + data, b""
        taken = place = 0
        while place < len(data):
            if not self._left:
                start = self._header(data, place)
                if not start:
                    self._head = data[place:]
                    break
                place = start
            piece = data[place : place + self._left]
            view[taken : taken + len(piece)] = piece
            taken += len(piece)
            place += len(piece)
            self._left -= len(piece)
        if not taken:
            raise BlockingIOError
        return taken

    def _header(self, data: bytes, place: int) -> int:
        """Read the header of a frame; return where its contents begin, 0: it is incomplete."""
        if len(data) < place + 2:
            return 0
        kind, size = data[place], data[place + 1]
        if kind != _BINARY or size & _MASKED:
            raise CheckFailed(f"the server sent the frame {data[place : place + 16].hex()}")
        wide = {126: 2, 127: 8}.get(size, 0)
        end = place + 2 + wide
        if len(data) < end:
            return 0
        self._left = int.from_bytes(data[place + 2 : end], "big") if wide else size
        return end


def _dial_websocket(address: Address) -> socket.socket:
    host, port = address
    sock = dial_tcp(address)
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    answer = b""
    try:
        sock.sendall(request.encode())
        # Byte by byte: what follows belongs to the WebSocket.
        while not answer.endswith(b"\r\n\r\n") and (byte := sock.recv(1)):
            answer += byte
    except OSError as error:
        sock.close()
        raise CheckFailed(f"the server opens no WebSocket: {error}") from None
    if not answer.startswith(b"HTTP/1.1 101 "):
        sock.close()
        raise CheckFailed(f"the server opens no WebSocket: {answer!r}")
    return WebSocket(sock)


DIALS: dict[str, Dial] = {"tcp": dial_tcp, "tls": _dial_tls, "websocket": _dial_websocket}
"""The ways to connect to a server of this project."""


def make_certificate(path: Path) -> Path:
    """Write a new key and a certificate that it has signed itself into one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    path.write_bytes(
        certificate.public_bytes(encoding)
        + key.private_bytes(
            encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path
