"""The page as a part of a server: on, off, and not installed."""

from __future__ import annotations

import sys

import pytest
import pytest_twisted
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from chat_protocol.domain.limits import Limits
from chat_protocol.service.server import ChatService
from chat_protocol.service.tap import Options
from chat_protocol.stores.registry import store_from_url
from tests.server.line import Response, login, parse
from tests.service.test_server import port_of, talk
from tests.web.browser import get


def test_the_options() -> None:
    options = Options()
    options.parseOptions([])
    assert options.config.web
    options = Options()
    options.parseOptions(["--no-web"])
    assert not options.config.web


async def answers_of(web: bool) -> tuple[bytes, bytes]:
    """What a server answers to a request, and to a login."""
    from twisted.internet import reactor

    endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    store = store_from_url("memory:", 0, reactor)
    served = ChatService(reactor, store, [("tcp:0", endpoint)], Limits(), web=web)
    served.startService()
    await served.when_serving()
    page = await deferToThread(talk, port_of(served), get())
    session = await deferToThread(talk, port_of(served), login("alice"))
    await served.stopService()
    return page, session


@pytest_twisted.ensureDeferred
async def test_a_server_with_a_page_and_one_without() -> None:
    page, session = await answers_of(web=True)
    assert page.startswith(b"HTTP/1.1 200")
    assert parse(session) == [Response(1, 1)]
    page, session = await answers_of(web=False)
    assert page == b""
    assert parse(session) == [Response(1, 1)]


@pytest_twisted.ensureDeferred
async def test_what_is_needed_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith("chat_protocol.web."):
            monkeypatch.delitem(sys.modules, name)
        elif name.partition(".")[0] == "wsproto":
            monkeypatch.setitem(sys.modules, name, None)
    lines: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        page, session = await answers_of(web=True)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert page == b""
    assert parse(session) == [Response(1, 1)]
    (said,) = [line for line in lines if "Cannot serve the web page" in line]
    assert "pip install 'chat-protocol[web]'" in said
