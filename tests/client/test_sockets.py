"""The library over real sockets, with the real server and a version 1 server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString

from chat_protocol.client import ChatClient, Ended, Event, Offline, Online, PresenceChanged
from chat_protocol.errors import (
    NotConnected,
    Replaced,
    RequestTimeout,
    UserAlreadyLogged,
    UserNotFound,
)
from tests.cli.thread_server import ThreadServer
from tests.client import frames
from tests.client.reactor import in_reactor
from tests.client.server import serving


def next_event(client: ChatClient, kind: type[Event]) -> Deferred[Any]:
    """Return a Deferred that fires with the next event of a kind."""
    told: Deferred[Any] = Deferred()

    def observe(event: Event) -> None:
        if isinstance(event, kind) and not told.called:
            client.remove_observer(observe)
            told.callback(event)

    client.add_observer(observe)
    return told


@in_reactor
async def test_a_conversation() -> None:
    async with serving() as server:
        bob = await server.client("bob", presence=True)
        came = next_event(bob, PresenceChanged)
        alice = await server.client("alice")
        assert (await came).username == "alice"
        await alice.send("bob", "hello")
        await alice.send(["bob", "alice"], "both")
        await alice.send_to_all("all")
        with pytest.raises(UserNotFound):
            await alice.send("nobody", "hello")
        received = [await bob.receive() for _ in range(3)]
        assert [message.text for message in received] == ["hello", "both", "all"]
        assert [message.recipients for message in received] == [("bob",), ("bob", "alice"), ()]
        assert [user.name for user in await bob.users()] == ["alice", "bob"]
        assert [message.text for message in await bob.history("alice")] == ["hello", "both", "all"]


@in_reactor
async def test_an_acknowledged_message_is_not_redelivered() -> None:
    async with serving() as server:
        bob = await server.client("bob")
        alice = await server.client("alice")
        for text in ("1", "2", "3"):
            await alice.send("bob", text)
        first = await bob.receive()
        bob.acknowledge(first)
        await bob.receive()
        await bob.stopService()
        bob = await server.client("bob")
        assert [(await bob.receive()).text for _ in range(2)] == ["2", "3"]


@in_reactor
async def test_the_name_is_free_when_the_stop_fires() -> None:
    async with serving() as server:
        for _ in range(3):
            client = await server.client("alice")
            await client.stopService()


@in_reactor
async def test_a_name_in_use_and_a_take_over() -> None:
    async with serving() as server:
        first = await server.client("alice")
        with pytest.raises(UserAlreadyLogged):
            await server.client("alice")
        ended = next_event(first, Ended)
        second = await server.client("alice", resume=first.resume_state)
        assert isinstance((await ended).reason, Replaced)
        await second.send("alice", "to myself")
        assert (await second.receive()).text == "to myself"


@pytest.mark.parametrize("kind", ["memory:", "sqlite:{}/chat.db"])
@pytest_twisted.ensureDeferred
async def test_a_server_restart(kind: str, tmp_path: Path) -> None:
    """Also with a memory store, whose offsets keep growing, so that no message counts as a
    duplicate."""
    async with serving(kind.format(tmp_path)) as server:
        client = await server.client("alice")
        received: list[str] = []
        consuming = client.consume(lambda message: received.append(message.text))
        for text in ("1", "2", "3"):
            await client.send("alice", text)
        offline = next_event(client, Offline)
        await server.stop()
        assert "shutting down" in str((await offline).reason)
        waiting = client.send("alice", "4")
        online = next_event(client, Online)
        await server.start()
        assert (await online).version == 2
        await waiting
        await client.send("alice", "5")
        await client.stopService()
        await consuming
        assert received == ["1", "2", "3", "4", "5"]


@in_reactor
async def test_a_refused_connection() -> None:
    async with serving() as server:
        await server.stop()
        with pytest.raises(NotConnected, match="cannot connect"):
            await server.client("alice")


# Version 1.


async def client_of(server: ThreadServer, name: str = "alice", **options: Any) -> ChatClient:
    from twisted.internet import reactor

    endpoint = clientFromString(reactor, f"tcp:{server.address}")
    client = ChatClient(endpoint, name, reactor, **options)
    client.startService()
    return client


@in_reactor
async def test_a_conversation_in_version_1() -> None:
    with ThreadServer() as server:
        client = await client_of(server)
        await client.when_online()
        assert client.version == 1
        await client.send("bob", "hello")
        with pytest.raises(UserNotFound):
            await client.send("nobody", "hello")
        server.push("alice", frames.delivery("hi") + frames.delivery("there"))
        assert [(await client.receive()).text for _ in range(2)] == ["hi", "there"]
        await client.stopService()
        assert [message async for message in client.messages()] == []
        assert server.received == [("alice", "bob", "hello")]


@in_reactor
async def test_a_server_that_does_not_answer() -> None:
    with ThreadServer() as server:
        client = await client_of(server, "mute", timeout=0.1)
        with pytest.raises(RequestTimeout):
            await client.when_online(fail_after_failures=1)
        await client.stopService()


@in_reactor
async def test_a_server_that_closes_the_connection() -> None:
    with ThreadServer() as server:
        client = await client_of(server)
        with pytest.raises(NotConnected, match="may or may not have been stored"):
            await client.send("hangup", "bye")
        await client.send("bob", "hello")
        assert server.logins == ["alice", "alice"]
        await client.stopService()


@in_reactor
async def test_messages_above_the_unread_limit_arrive_in_order() -> None:
    count = 5000
    backlog = b"".join(frames.delivery(str(number)) for number in range(count))
    with ThreadServer({"alice": backlog}) as server:
        client = await client_of(server, max_unread=10_000)
        received = [(await client.receive()).text for _ in range(count)]
        assert received == [str(number) for number in range(count)]
        await client.stopService()
