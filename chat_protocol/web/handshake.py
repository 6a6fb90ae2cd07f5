"""The handshake that makes a WebSocket of an HTTP connection (RFC 6455, section 4)."""

from __future__ import annotations

from base64 import b64decode
from urllib.parse import urlsplit

import h11
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection
from wsproto.handshake import H11Handshake
from wsproto.utilities import ProtocolError

from chat_protocol.web.files import answer
from chat_protocol.web.http import HTTPConnection

__all__ = ["Handshake", "is_same_origin"]

_NO_HANDSHAKE = b"bad request: this is not a WebSocket handshake\n"


def is_same_origin(origin: bytes, host: bytes, secure: bool) -> bool:
    """Return whether a page of that origin came from that host (RFC 6454, section 7).

    Its scheme is the connection's, or that of a proxy in front of it. The ports are compared as
    they stand; without one it is the port of the scheme.
    """
    try:
        parts = urlsplit(origin.decode("ascii").lower())
        mine = urlsplit("//" + host.decode("ascii").lower())
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or secure > (parts.scheme == "https")
        ):
            return False
        if parts.path or parts.query or parts.fragment or "@" in parts.netloc + mine.netloc:
            return False
        port = 443 if parts.scheme == "https" else 80
        return (parts.hostname, parts.port or port) == (mine.hostname, mine.port or port)
    except ValueError:
        return False


class Handshake(Resource):
    """The resource at whose path a WebSocket begins."""

    isLeaf = True

    def render(self, request: Request) -> bytes | int:
        """Answer a request; NOT_DONE_YET if a WebSocket goes on with the connection."""
        request.setHeader(b"cache-control", b"no-store")
        if request.method != b"GET":
            request.setHeader(b"allow", b"GET")
            return answer(request, 405, b"method not allowed: use GET\n")
        if not _asks_for_websocket(request):
            request.setHeader(b"upgrade", b"websocket")
            request.setHeader(b"sec-websocket-version", b"13")
            return answer(request, 426, b"upgrade required: this is a WebSocket\n")
        connection = request.channel.transport
        assert isinstance(connection, HTTPConnection)
        hosts = request.requestHeaders.getRawHeaders(b"host", [])
        origins = request.requestHeaders.getRawHeaders(b"origin", [])
        if len(hosts) != 1 or len(origins) > 1:
            return answer(request, 400, b"bad request: give one Host and at most one Origin\n")
        if not _has_key(request):
            return answer(
                request, 400, b"bad request: Sec-WebSocket-Key is not 16 bytes in base64\n"
            )
        if origins and not is_same_origin(origins[0], hosts[0], connection.secure):
            connection.acceptor.log_limiter.about(
                connection,
                "origin",
                "Refused a WebSocket to {peer}: the page is from {origin}, the server is {host}",
                origin=ascii(origins[0])[2:-1],
                host=ascii(hosts[0])[2:-1],
            )
            return answer(request, 403, b"forbidden: the page is not from this host\n")
        if not connection.output.empty:
            # The answers to earlier requests would follow the handshake.
            return answer(request, 400, _NO_HANDSHAKE)
        handshake = H11Handshake(ConnectionType.SERVER)
        headers = request.requestHeaders.getAllRawHeaders()
        try:
            handshake.initiate_upgrade_connection(
                [(name, value) for name, values in headers for value in values], request.path
            )
            accepted = handshake.send(AcceptConnection())
        except (h11.ProtocolError, ProtocolError, ValueError):
            return answer(request, 400, _NO_HANDSHAKE)
        if not connection.forward(request.requestHeaders.getRawHeaders(b"x-forwarded-for", [])):
            return answer(request, 429, b"too many requests: you have too many connections\n")
        connection.upgrade(accepted)
        return NOT_DONE_YET


def _asks_for_websocket(request: Request) -> bool:
    headers = request.requestHeaders
    upgrades = headers.getRawHeaders(b"upgrade", [])
    versions = headers.getRawHeaders(b"sec-websocket-version", [])
    tokens = b",".join(headers.getRawHeaders(b"connection", [])).lower().split(b",")
    return (
        [one.lower() for one in upgrades] == [b"websocket"]
        and b"upgrade" in [token.strip() for token in tokens]
        and versions == [b"13"]
    )


def _has_key(request: Request) -> bool:
    """Return whether there is one key as section 4.1 demands it."""
    keys = request.requestHeaders.getRawHeaders(b"sec-websocket-key", [])
    try:
        return [len(b64decode(key, validate=True)) for key in keys] == [16]
    except ValueError:
        return False
