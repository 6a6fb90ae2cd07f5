"""The pages about a server: who gets what, and when it is ready."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
import pytest_twisted
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.queries import Query
from chat_protocol.errors import Unavailable
from chat_protocol.service.server import CannotServe, ChatService
from chat_protocol.service.status import PROBE_SECONDS, status_site
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.stores.registry import store_from_url
from tests.service.test_metrics import Measured


@implementer(IStore)
class Store(MemoryStore):
    """Answers, refuses, fails or is silent."""

    fault: Exception | None = None
    is_silent = False

    def read(self, queries: Sequence[Query]) -> Deferred[None]:
        if self.fault is not None:
            raise self.fault
        if self.is_silent:
            return Deferred()
        return super().read(queries)


class Pages(Measured):
    """The pages of a server, as HTTP answers."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = Store()
        self.factory.exchange._reads._store = self.reads
        self.site = status_site(
            lambda: self.factory if self.serves else None, self.registry, self.clock
        )

    def ask(self, path: str, method: str = "GET", *headers: str) -> StringTransport:
        channel = self.site.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
        channel.dataReceived("\r\n".join(lines).encode())
        self.turn()
        self.channel = channel
        return transport

    def get(self, path: str, *headers: str) -> tuple[int, str, str]:
        return answer(self.ask(path, "GET", *headers))


def answer(transport: StringTransport) -> tuple[int, str, str]:
    """The code, the type and the body."""
    head, _, body = transport.value().decode().partition("\r\n\r\n")
    first, *fields = head.lower().split("\r\n")
    (kind,) = [field.partition(": ")[2] for field in fields if field.startswith("content-type")]
    return int(first.split()[1]), kind, body


def test_metrics_in_the_format_that_is_asked_for() -> None:
    pages = Pages()
    code, kind, _ = pages.get("/metrics")
    assert (code, kind.partition(";")[0]) == (200, "text/plain")
    code, kind, _ = pages.get("/metrics", "Accept: application/openmetrics-text")
    assert (code, kind.partition(";")[0]) == (200, "application/openmetrics-text")


def test_who_lives_is_healthy_and_who_serves_is_ready() -> None:
    pages = Pages()
    assert pages.get("/readyz") == (200, "text/plain; charset=utf-8", "ready\n")
    pages.serves = False
    assert pages.get("/healthz") == (200, "text/plain; charset=utf-8", "alive\n")
    assert pages.get("/readyz") == (
        503,
        "text/plain; charset=utf-8",
        "the server does not accept connections\n",
    )


def test_a_store_that_refuses_or_is_silent_is_not_ready() -> None:
    pages = Pages()
    pages.reads.fault = Unavailable("gone")
    code, _, body = pages.get("/readyz")
    assert (code, body) == (503, "the store cannot be read now, try again\n")
    pages.reads.fault = None
    assert pages.get("/readyz")[0] == 200
    pages.reads.is_silent = True
    asked = pages.ask("/readyz")
    assert not asked.value()
    pages.clock.advance(PROBE_SECONDS)
    code, _, body = answer(asked)
    assert (code, body) == (503, "the store does not answer\n")


def test_who_goes_before_the_answer_harms_nobody() -> None:
    pages = Pages()
    pages.reads.is_silent = True
    asked = pages.ask("/readyz")
    from twisted.internet.error import ConnectionDone
    from twisted.python.failure import Failure

    pages.channel.connectionLost(Failure(ConnectionDone()))
    pages.clock.advance(PROBE_SECONDS)
    assert not asked.value()


def test_nothing_else_is_there_and_nothing_can_be_changed() -> None:
    pages = Pages()
    assert "/metrics" in pages.get("/")[2]
    assert pages.get("/other")[0] == 404
    assert pages.get("/metrics/other")[0] == 200
    assert answer(pages.ask("/metrics", "POST"))[0] == 405


# The service, on sockets.


def get(port: int, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        received = b""
        while data := connection.recv(65536):
            received += data
    return received


@pytest_twisted.ensureDeferred
async def test_the_service_shows_them_as_long_as_it_is_there(tmp_path: Path) -> None:
    from twisted.internet import reactor

    store = store_from_url(f"sqlite:{tmp_path}/chat.db", 0, reactor)
    words = [
        (name, TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")) for name in ("one", "two")
    ]
    served = ChatService(reactor, store, words[:1], Limits(), status=words[1:])
    served.startService()
    await served.when_serving()
    host = served.status_ports[0].getHost()
    assert isinstance(host, IPv4Address)
    port = host.port
    page = await deferToThread(get, port, "/metrics")
    text = page.decode().partition("\r\n\r\n")[2]
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert found["chat_serving"].samples[0].value == 1
    assert found["chat_info"].samples[0].labels["store"] == "sqlite"
    assert b"200 OK" in await deferToThread(get, port, "/readyz")
    await served.stopService()
    assert not served.status_ports
    with pytest.raises(ConnectionRefusedError):
        await deferToThread(get, port, "/healthz")


@pytest_twisted.ensureDeferred
async def test_an_address_in_use_is_said_and_nothing_left_open(tmp_path: Path) -> None:
    from twisted.internet import reactor

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        endpoint = TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
        store = store_from_url(f"sqlite:{tmp_path}/chat.db", 0, reactor)
        served = ChatService(reactor, store, [], Limits(), status=[("here", endpoint)])
        served.startService()
        with pytest.raises(CannotServe, match=r"cannot listen on here: .*\. Give another --status"):
            await served.when_serving()
    assert not served.status_ports
