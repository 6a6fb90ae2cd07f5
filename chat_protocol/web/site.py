"""The page of a server: what takes the connections that speak HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from chat_protocol.web.files import Page, read_files
from chat_protocol.web.http import REQUEST_SECONDS, Carrier, WebSite
from chat_protocol.web.websocket import Messages

if TYPE_CHECKING:
    from chat_protocol.server.connection import ChatProtocol

__all__ = ["Web"]


class _Root(Resource):
    """The WebSocket at /ws, and files everywhere else."""

    def __init__(self, page: Page) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._page = page
        self._messages = Messages()

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        """See IResource."""
        found: IResource = self._messages if request.path == b"/ws" else self._page
        return found


class Web:
    """The page at / and the WebSocket at /ws; see protocol.opening.IWeb.

    Args:
        clock: for the time of requests.
        directory: where the files of the page are; by default those of this package.
    """

    def __init__(self, clock: IReactorTime, directory: Path | None = None) -> None:
        files = read_files() if directory is None else read_files(directory)
        self._site = WebSite(_Root(Page(files)), reactor=clock, timeout=REQUEST_SECONDS)  # type: ignore[no-untyped-call]

    def begin(self, connection: ChatProtocol, data: bytes) -> None:
        """See IWeb."""
        Carrier(connection, self._site).received(data)
