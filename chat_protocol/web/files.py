"""The static files of the web page, read once at the start.

The server looks up the path of a request in a table of these files. Thus no path can reach another
file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from twisted.web.resource import Resource
from twisted.web.server import Request

__all__ = ["HEADERS", "File", "StaticFiles", "answer", "read_files", "with_passwords"]

_STATIC = Path(__file__).parent / "static"

_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".ico": b"image/x-icon",
    ".js": b"text/javascript; charset=utf-8",
    ".json": b"application/json",
    ".png": b"image/png",
    ".svg": b"image/svg+xml",
    ".txt": b"text/plain; charset=utf-8",
    ".webmanifest": b"application/manifest+json",
    ".woff2": b"font/woff2",
}
"""Content types by file suffix; files with other suffixes are not served."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'"
)

HEADERS = {
    b"content-security-policy": _POLICY.encode(),
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}
"""Headers of every answer."""


class File(NamedTuple):
    """A file with the headers of its answer."""

    data: bytes
    content_type: bytes
    etag: bytes


def read_files(directory: Path = _STATIC) -> dict[bytes, File]:
    """Read the files below a directory; return them by URL path.

    The URL path of an index.html is that of its directory.
    """
    found = {}
    for path in sorted(directory.rglob("*")):
        content_type = _TYPES.get(path.suffix)
        if content_type is None or not path.is_file():
            continue
        data = path.read_bytes()
        url = "/" + path.relative_to(directory).as_posix()
        found[url.removesuffix("index.html").encode()] = File(data, content_type, _etag(data))
    return found


def with_passwords(files: Mapping[bytes, File]) -> dict[bytes, File]:
    """Return the files for a server that asks for passwords: the page shows the field at once."""
    page = files[b"/"].data.replace(
        b'<div id="password-field" hidden>', b'<div id="password-field">'
    )
    return {**files, b"/": File(page, files[b"/"].content_type, _etag(page))}


def _etag(data: bytes) -> bytes:
    return b'"%s"' % hashlib.sha256(data).hexdigest()[:32].encode()


def answer(request: Request, code: int, text: bytes, content_type: bytes = b"") -> bytes:
    """Set the code of the response, and the headers of its body; return that, empty for HEAD."""
    request.setResponseCode(code)
    request.responseHeaders.removeHeader(b"server")
    request.setHeader(b"content-type", content_type or b"text/plain; charset=utf-8")
    request.setHeader(b"content-length", b"%d" % len(text))
    return b"" if request.method == b"HEAD" else text


class StaticFiles(Resource):
    """Serves the files; the path of a request is looked up without decoding."""

    isLeaf = True

    def __init__(self, files: Mapping[bytes, File]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._files = files

    def render(self, request: Request) -> bytes:
        request.setHeader(b"cache-control", b"no-cache")
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"allow", b"GET, HEAD")
            return answer(request, 405, b"method not allowed: use GET or HEAD\n")
        file = self._files.get(request.path)
        if file is None:
            return answer(request, 404, b"page not found\n")
        body = answer(request, 200, file.data, file.content_type)
        # A true result means that Twisted answers with 304, which has no body.
        return b"" if request.setETag(file.etag) else body
