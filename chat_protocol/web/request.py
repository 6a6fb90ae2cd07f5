"""Requests of HTTP: what makes one a bad request, and the headers of every answer."""

from __future__ import annotations

import re

from twisted.web.server import Request

from chat_protocol.web.files import HEADERS, answer

__all__ = ["PageRequest"]

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[\w.~%!$&'()*+,;=-]+)(:\d*)?", re.ASCII)
"""An authority without user information (RFC 3986, section 3.2)."""

_CONTROL = re.compile(rb"[\0\r\n]")
"""What no value of a header may have (RFC 9110, section 5.5). Twisted 24.7 lets NUL pass."""

_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)
"""A target in absolute form (RFC 9112, section 3.2.2): authority, path and query."""


class PageRequest(Request):
    """A request to the page or the WebSocket.

    A bad request is refused whatever its path. Every answer has HEADERS.
    """

    def process(self) -> None:
        """Answer the request."""
        for name, value in HEADERS.items():
            self.responseHeaders.setRawHeaders(name, [value])
        problem = self._problem()
        if problem:
            self._refuse(400, b"bad request: %s\n" % problem)
        elif self.path == b"*":
            self.responseHeaders.setRawHeaders(b"allow", [b"GET, HEAD"])
            self._refuse(405, b"method not allowed: use GET or HEAD\n")
        else:
            super().process()  # type: ignore[no-untyped-call]

    def _refuse(self, code: int, text: bytes) -> None:
        self.responseHeaders.setRawHeaders(b"cache-control", [b"no-store"])
        body = answer(self, code, text)
        self.write(body)  # type: ignore[no-untyped-call]
        self.finish()  # type: ignore[no-untyped-call]

    def _problem(self) -> bytes:
        """Return what is wrong with the request, and use the path of an absolute target."""
        hosts = self.requestHeaders.getRawHeaders(b"host", [])
        if len(hosts) > 1 or (not hosts and self.clientproto != b"HTTP/1.0"):
            return b"give exactly one Host"
        if hosts and not _HOST.fullmatch(hosts[0]):
            return b"Host is not a host with an optional port"
        for _, values in self.requestHeaders.getAllRawHeaders():
            if any(_CONTROL.search(value) for value in values):
                return b"a header has a control character"
        absolute = _ABSOLUTE.fullmatch(self.uri)
        if absolute is not None:
            authority, rest = absolute.groups()
            if hosts and authority.lower() != hosts[0].lower():
                return b"Host is not the host of the target"
            path = rest.partition(b"?")[0]
            self.path = path or b"/"
        elif self.uri == b"*" and self.method == b"OPTIONS":
            return b""
        elif not self.uri.startswith(b"/"):
            return b"the target is not a path"
        return b""
