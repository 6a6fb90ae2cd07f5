"""The library over real sockets."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.endpoints import clientFromString

from chat_protocol.client import Client, connect
from chat_protocol.errors import NotConnected, RequestTimeout, UserAlreadyLogged, UserNotFound

from . import frames
from .reactor import in_reactor
from .thread_server import ThreadServer


async def client_of(server: ThreadServer, **options: Any) -> Client:
    from twisted.internet import reactor

    endpoint = clientFromString(reactor, f"tcp:{server.address}")
    return await connect(endpoint, reactor, **options)


@in_reactor
async def test_a_conversation() -> None:
    with ThreadServer() as server:
        client = await client_of(server)
        await client.login("alice")
        await client.send("bob", "hello")
        with pytest.raises(UserNotFound):
            await client.send("nobody", "hello")
        server.push("alice", frames.delivery("hi") + frames.delivery("there"))
        assert [(await client.receive()).text for _ in range(2)] == ["hi", "there"]
        await client.disconnect()
        assert [message async for message in client.messages()] == []
        assert server.received == [("alice", "bob", "hello")]


@in_reactor
async def test_a_refused_login_can_be_tried_again() -> None:
    with ThreadServer() as server:
        client = await client_of(server)
        with pytest.raises(UserAlreadyLogged):
            await client.login("taken")
        await client.login("alice")
        assert client.username == "alice"
        await client.disconnect()


@in_reactor
async def test_a_server_that_does_not_answer() -> None:
    with ThreadServer() as server:
        client = await client_of(server, timeout=0.1)
        with pytest.raises(RequestTimeout):
            await client.login("mute")
        await client.disconnect()


@in_reactor
async def test_a_server_that_hangs_up() -> None:
    with ThreadServer() as server:
        client = await client_of(server)
        await client.login("alice")
        with pytest.raises(NotConnected):
            await client.send("hangup", "bye")
        assert await client.when_disconnected() is not None


@in_reactor
async def test_nobody_listens() -> None:
    with ThreadServer() as server:
        pass
    with pytest.raises(NotConnected, match="cannot connect"):
        await client_of(server)


@in_reactor
async def test_more_than_the_limit_arrives_in_order() -> None:
    count = 5000
    backlog = b"".join(frames.delivery(str(number)) for number in range(count))
    with ThreadServer({"alice": backlog}) as server:
        client = await client_of(server, max_unread=10_000)
        await client.login("alice")
        received = [(await client.receive()).text for _ in range(count)]
        assert received == [str(number) for number in range(count)]
        await client.disconnect()
