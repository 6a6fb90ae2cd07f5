"""Who has no session is read with the other newcomers: on real sockets, under the factory."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import ServerFactory
from twisted.internet.tcp import Server as Transport
from twisted.python.failure import Failure

from chat_protocol.domain.limits import Limits
from chat_protocol.server.factory import NEWCOMER_SECONDS, ChatFactory
from chat_protocol.server.proxy_protocol import ProxiedFactory
from chat_protocol.server.sniffer import Sniffer
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.web.site import Web
from tests.server.line import login
from tests.server.reactor import Reactor
from tests.web.browser import frame, upgrade


class Line:
    """A server whose connections have real sockets."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.factory = ChatFactory(MemoryStore(), self.reactor, lambda: 1234, Limits())
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.ends: list[tuple[Any, socket.socket]] = []

    def connect(self, factory: ServerFactory | None = None) -> tuple[Any, socket.socket]:
        """The server's end and the other."""
        theirs = socket.create_connection(self.listener.getsockname())
        theirs.settimeout(5)
        ours, address = self.listener.accept()
        ours.setblocking(False)
        protocol = (factory or self.factory).buildProtocol(IPv4Address("TCP", *address))
        transport: Any = Transport
        end = transport(ours, protocol, address, None, 1, self.reactor)
        assert protocol is not None
        protocol.makeConnection(end)
        self.ends.append((end, theirs))
        return end, theirs

    def turn(self) -> None:
        """Read what has come, and end the turn."""
        for readers in (self.factory.newcomers, self.factory.readers):
            assert readers is not None
            readers.doRead()
        for _ in range(5):
            self.reactor.advance(0)
        for writer in list(self.reactor.writers):
            writer.doWrite()

    def reads(self, end: Any) -> str:
        """Who reads it."""
        newcomers, readers = self.factory.newcomers, self.factory.readers
        assert newcomers is not None
        assert readers is not None
        assert not self.reactor.readers - {newcomers, readers}, "the reactor reads none itself"
        return {
            (True, False): "with the newcomers",
            (False, True): "with the users",
            (False, False): "nobody",
        }[newcomers.reads(end), readers.reads(end)]

    def close(self) -> None:
        for end, theirs in self.ends:
            end.connectionLost(Failure(ConnectionDone()))
            theirs.close()
        for _ in range(5):
            self.reactor.advance(0)
        self.listener.close()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def test_a_session_makes_a_user_of_a_newcomer(line: Line) -> None:
    end, theirs = line.connect()
    assert line.reads(end) == "with the newcomers"
    theirs.send(login("alice"))
    line.turn()
    assert theirs.recv(99)
    assert line.reads(end) == "with the users"
    theirs.send(login("alice"))
    line.turn()
    assert theirs.recv(99), "it is read there"


def test_behind_a_proxy_too(line: Line) -> None:
    end, theirs = line.connect(ProxiedFactory(line.factory))
    assert line.reads(end) == "with the newcomers"
    theirs.send(b"PROXY TCP4 192.0.2.7 192.0.2.8 5 6\r\n" + login("alice"))
    line.turn()
    assert theirs.recv(99)
    assert line.reads(end) == "with the users"


def test_in_a_browser_too(line: Line, tmp_path: Path) -> None:
    line.factory.sniffer = Sniffer(web=Web(line.reactor, tmp_path))
    end, theirs = line.connect()
    theirs.send(upgrade())
    line.turn()
    assert theirs.recv(999).startswith(b"HTTP/1.1 101")
    assert line.reads(end) == "with the newcomers"
    theirs.send(frame(login("alice")))
    line.turn()
    assert theirs.recv(99)
    assert line.reads(end) == "with the users"


def test_few_newcomers_are_read_in_a_turn_and_all_users(line: Line) -> None:
    users = [line.connect() for _ in range(20)]
    for number, (_, theirs) in enumerate(users):
        theirs.send(login(f"user{number}"))
    for _ in range(20):
        line.turn()
    newcomers = [line.connect() for _ in range(20)]
    for number, (_, theirs) in enumerate(newcomers):
        theirs.send(login(f"newcomer{number}"))
    for number, (_, theirs) in enumerate(users):
        assert theirs.recv(99)
        theirs.send(login(f"user{number}"))
    line.reactor.step = NEWCOMER_SECONDS / 5
    assert line.factory.newcomers is not None
    line.factory.newcomers.doRead()
    line.reactor.step = 0
    line.reactor.advance(0)
    assert 0 < sum(line.reads(end) == "with the users" for end, _ in newcomers) < 20
    line.turn()
    assert all(theirs.recv(99) for _, theirs in users)
    for _ in range(20):
        line.turn()
    assert {line.reads(end) for end, _ in newcomers} == {"with the users"}


def test_somebody_waits_while_anybody_has_sent_something(line: Line) -> None:
    nobody_waits = line.factory._nobody_waits
    (_, newcomer), (_, alice) = line.connect(), line.connect()
    alice.sendall(login("alice"))
    line.turn()
    assert nobody_waits()
    for sender in (newcomer, alice):
        sender.sendall(bytes((0, 0, 0)))
        assert not nobody_waits()
        line.turn()
        assert nobody_waits()
    for backlog in (line.factory.backlog, line.factory.newcomers_backlog):
        backlog.add("", list)
        assert not nobody_waits()
        line.turn()
        assert nobody_waits()
