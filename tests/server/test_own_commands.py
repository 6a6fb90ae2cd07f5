"""Commands of one's own: declared beside the protocol's, and unknown to every other server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from chat_protocol.client import ChatClient
from chat_protocol.errors import Malformed, NotConnected, UnknownCommand
from chat_protocol.server.dispatcher import Request, Route
from chat_protocol.server.peer import Peer
from chat_protocol.testing import MemoryServer
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import REGISTRY, Deliver, Heartbeat, Response2
from chat_protocol.wire.schema import Needs, Registry, Sender
from chat_protocol.wire.types import String, UInt16, UInt64

OWN = Registry(REGISTRY)
OTHERS = Registry(REGISTRY)


@dataclass(frozen=True, slots=True)
class SumAnswer:
    code: UInt16
    detail: String = ""
    total: UInt64 = 0


OWN.declare(key=0xF001, versions=(2,), sender=Sender.SERVER)(SumAnswer)


@OWN.declare(key=0x7001, versions=(2,), sender=Sender.CLIENT, needs=Needs.LOGIN, answer=SumAnswer)
@dataclass(frozen=True, slots=True)
class Sum:
    one: UInt64
    other: UInt64


@OWN.declare(key=0x7002, versions=(2,), sender=Sender.CLIENT)
@dataclass(frozen=True, slots=True)
class Ping:
    text: String


@OTHERS.declare(key=0x7001, versions=(2,), sender=Sender.CLIENT)
@dataclass(frozen=True, slots=True)
class Wave:
    text: String


def add(peer: Peer, command: Sum, request: Request) -> Deferred[SumAnswer]:
    return succeed(SumAnswer(Code.OK, "", command.one + command.other))


def ping(peer: Peer, command: Ping, request: Request) -> Code:
    if command.text != "ping":
        raise Malformed(f"text: {command.text!r} is not ping")
    return Code.OK


def wave(peer: Peer, command: Wave, request: Request) -> Code:
    return Code.OK


ROUTES = (Route(Sum, add), Route(Ping, ping))


def client_of(server: MemoryServer, name: str = "alice", **options: Any) -> ChatClient:
    client = ChatClient(server.endpoint(), name, server.clock, **options)
    client.startService()
    return client


def test_a_server_answers_its_own_commands_and_all_others() -> None:
    server = MemoryServer(registry=OWN, routes=ROUTES)
    client = client_of(server, registry=OWN)
    assert server.run(client.request(Sum(2, 40))) == SumAnswer(Code.OK, "", 42)
    assert server.run(client.request(Ping("ping"))) == Response2(Code.OK)
    assert server.run(client.request(Heartbeat())) == Response2(Code.OK)
    with pytest.raises(Malformed, match="is not ping"):
        server.run(client.request(Ping("pong")))
    server.run(client.send("alice", "x"))
    server.run(client.stopService(), within=9)
    with pytest.raises(NotConnected):
        server.run(client.request(Ping("ping")))
    server.run(server.stop(), within=9)


def test_another_server_in_the_same_process_knows_nothing_of_them() -> None:
    plain, other = MemoryServer(), MemoryServer(registry=OTHERS, routes=[Route(Wave, wave)])
    client = client_of(plain)
    with pytest.raises(UnknownCommand, match="0x7001"):
        plain.run(client.request(Sum(1, 2)))
    waving = client_of(other)
    assert other.run(waving.request(Wave("hello"))) == Response2(Code.OK)
    for server, one in ((plain, client), (other, waving)):
        server.run(one.stopService(), within=9)
        server.run(server.stop(), within=9)


def test_what_is_no_command_of_a_client_is_an_error_of_the_call() -> None:
    server = MemoryServer()
    client = client_of(server)
    with pytest.raises(TypeError, match="str is not declared"):
        client.request("x")
    with pytest.raises(TypeError, match="only servers send Deliver"):
        client.request(Deliver(1, "x", "bob", 0, ("alice",), 0))
    server.run(client.stopService(), within=9)
    server.run(server.stop(), within=9)


def test_a_key_is_free_only_once() -> None:
    declare = OWN.declare(key=0x010A, versions=(2,), sender=Sender.CLIENT)
    with pytest.raises(ValueError, match="already declared for Ack"):
        declare(Wave)
    assert REGISTRY.by_key(2, 0x7001) is None
    assert {one.command for one in OWN} - {one.command for one in REGISTRY} == {
        *(Sum, SumAnswer, Ping)
    }


def test_a_command_without_a_handler_is_an_error_at_the_start() -> None:
    with pytest.raises(TypeError, match="Ping has no handler"):
        MemoryServer(registry=OWN, routes=ROUTES[:1])


def test_a_request_is_not_repeated_when_the_connection_is_lost() -> None:
    asked: list[int] = []

    def never(peer: Peer, command: Sum, request: Request) -> Deferred[SumAnswer]:
        asked.append(command.one)
        return Deferred()

    server = MemoryServer(registry=OWN, routes=(Route(Sum, never), ROUTES[1]))
    client = client_of(server, registry=OWN)
    asking = client.request(Sum(1, 2))
    server.flush()
    server.cut("alice")
    with pytest.raises(NotConnected):
        server.run(asking, within=1)
    server.advance(60)
    assert asked == [1]
    server.run(client.stopService(), within=9)
    server.run(server.stop(), within=9)
