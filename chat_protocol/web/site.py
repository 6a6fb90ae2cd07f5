"""The web site of a server: the page, and the WebSocket."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from chat_protocol.server.sessionless import Acceptor
from chat_protocol.web.channel import REQUEST_SECONDS, ChannelSite
from chat_protocol.web.files import StaticFiles, read_files, with_passwords
from chat_protocol.web.handshake import Handshake
from chat_protocol.web.http import HTTPConnection
from chat_protocol.web.request import PageRequest

__all__ = ["Web"]


class _WebRoot(Resource):
    """The WebSocket at /ws, and the static files at all other paths."""

    def __init__(self, files: StaticFiles) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._files = files
        self._handshake = Handshake()  # type: ignore[no-untyped-call]

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        found: IResource = self._handshake if request.path == b"/ws" else self._files
        return found


class Web:
    """Serves the page at / and the WebSocket at /ws; provides server.sniffer.IWeb.

    Args:
        clock: for the timeouts of requests.
        directory: the directory of the static files; None: the one of this package.
        passwords: whether the server asks for passwords.
    """

    def __init__(
        self, clock: IReactorTime, directory: Path | None = None, passwords: bool = False
    ) -> None:
        files = read_files() if directory is None else read_files(directory)
        if passwords:
            files = with_passwords(files)
        root = _WebRoot(StaticFiles(files))
        self._site = ChannelSite(  # type: ignore[no-untyped-call]
            root, PageRequest, reactor=clock, timeout=REQUEST_SECONDS
        )

    def http_connection(self, acceptor: Acceptor) -> HTTPConnection:
        return HTTPConnection(acceptor, self._site)
