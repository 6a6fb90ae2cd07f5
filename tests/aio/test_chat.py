"""All that a chat can do, with the real server in memory."""

from __future__ import annotations

import asyncio

import pytest

from chat_protocol.aio import connect
from chat_protocol.client import Ended, Event, Offline, Online, PresenceChanged, ResumeState, State
from chat_protocol.errors import (
    AuthenticationFailed,
    MailboxFull,
    NotConnected,
    Replaced,
    UnknownCommand,
    UserAlreadyLogged,
    UserNotFound,
)
from chat_protocol.testing import MemoryServer
from chat_protocol.wire.codes import Code
from tests.aio.memory import quiet, run, waiting


def test_a_conversation() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with (
            connect(server.endpoint(), "alice") as alice,
            connect(server.endpoint(), "bob") as bob,
        ):
            assert (alice.username, alice.state, alice.version) == ("alice", State.ONLINE, 2)
            await alice.send("bob", "hello")
            async for message in bob:
                assert (message.sender, message.text) == ("alice", "hello")
                break
            await bob.send(["alice", "bob"], "both")
            await bob.send_to_all("all")
            texts = [(await alice.receive()).text for _ in range(2)]
            assert texts == ["both", "all"]
            assert (await bob.receive()).text == "both"
        assert (alice.state, alice.version) == (State.STOPPED, None)
        await quiet(server)
        assert server.users == {"alice": False, "bob": False}

    run(scenario)


def test_questions() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice") as alice:
            for number in range(5):
                await alice.send("alice", str(number))
            page = await alice.history("alice", limit=2)
            assert [message.text for message in page] == ["3", "4"]
            page = await alice.history("alice", before=page[0].offset, limit=2)
            assert [message.text for message in page] == ["1", "2"]
            async with connect(server.endpoint(), "bob"):
                users = await alice.users()
                assert [(user.name, user.online) for user in users] == [
                    ("alice", True),
                    ("bob", True),
                ]
                assert [user.name for user in await alice.users("alice", 1)] == ["bob"]
            with pytest.raises(UserNotFound):
                await alice.history("nobody")

    run(scenario)


def test_refusals_are_raised() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice") as alice:
            with pytest.raises(UserNotFound):
                await alice.send("nobody", "hello")
            server.refuse_next(Code.MAILBOX_FULL)
            with pytest.raises(MailboxFull):
                await alice.send_to_all("hello")
            with pytest.raises(ValueError, match="65535"):
                await alice.send("alice", "x" * 65_536)

    run(scenario)


def test_a_refused_login_ends_connecting() -> None:
    async def scenario(server: MemoryServer) -> None:
        with pytest.raises(AuthenticationFailed):
            await connect(server.endpoint(), "alice", password="wrong")
        chat = await connect(server.endpoint(), "alice", password="secret")
        await chat.aclose()
        server.stall()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(connect(server.endpoint(), "alice", password="secret"), 0.1)
        server.resume()
        await quiet(server)
        assert server.connections == 0

    run(scenario, passwords={"alice": "secret"})


def test_a_server_that_is_away_ends_connecting_after_the_attempts() -> None:
    async def scenario(server: MemoryServer) -> None:
        events: list[Event] = []
        server.refuse_connections(2)
        with pytest.raises(NotConnected, match="refused"):
            await connect(server.endpoint(), "alice", observer=events.append)
        assert [type(event) for event in events] == [Offline, Ended]
        async with connect(server.endpoint(), "alice", attempts=2, max_delay=0.01) as alice:
            await alice.send("alice", "hello")

    run(scenario)


def test_events() -> None:
    async def scenario(server: MemoryServer) -> None:
        events: list[Event] = []
        endpoint = server.endpoint()
        async with connect(
            endpoint, "alice", observer=events.append, presence=True, max_delay=0.01
        ) as alice:
            await (await connect(server.endpoint(), "bob")).aclose()
            server.cut()
            await quiet(server)
            await alice.when_online()
            kinds = [Online, PresenceChanged, PresenceChanged, Offline, Online]
            assert [type(event) for event in events] == kinds
            alice.remove_observer(events.append)
        assert len(events) == 5
        alice.add_observer(events.append)

    run(scenario)


def test_calls_wait_for_the_next_connection() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice", max_delay=0.01) as alice:
            server.stall(to_server=False)
            sending = asyncio.create_task(alice.send("alice", "once"))
            await quiet(server)
            server.kill()
            server.start()
            server.resume()
            await sending
            assert (await alice.receive()).text == "once"
        assert [message.message for message in server.received] == ["once"]

    run(scenario)


def test_a_chat_that_is_closed_refuses_calls_and_ends_loops() -> None:
    async def scenario(server: MemoryServer) -> None:
        chat = await connect(server.endpoint(), "alice")
        texts: list[str] = []

        async def loop() -> None:
            async for message in chat:
                texts.append(message.text)

        looping = asyncio.create_task(loop())
        await chat.send("alice", "hello")
        await quiet(server)
        await chat.aclose()
        await looping
        assert texts == ["hello"]
        with pytest.raises(NotConnected):
            await chat.receive()
        with pytest.raises(NotConnected):
            await chat.send("alice", "late")
        with pytest.raises(NotConnected):
            await chat.when_online()

    run(scenario)


def test_a_session_that_is_taken_over() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice", password="secret") as first:
            with pytest.raises(UserAlreadyLogged):
                await connect(server.endpoint(), "alice", password="secret")
            async with connect(server.endpoint(), "alice", password="secret", take_over=True):
                with pytest.raises(Replaced):
                    async for _ in first:
                        pass

    run(scenario, passwords={"alice": "secret"})


def test_devices() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice", device="desk") as desk:
            resume = ResumeState(session=desk.resume_state.session)
            async with connect(server.endpoint(), "alice", device="phone", resume=resume) as phone:
                await phone.send("alice", "to both")
                for chat in (desk, phone):
                    message = await chat.receive()
                    assert (message.text, message.own) == ("to both", True)
                phone.show(desk.resume_state.session)
            resume = ResumeState(session=desk.resume_state.session)
            async with connect(
                server.endpoint(), "alice", device="script", resume=resume, receive=False
            ) as script:
                await script.send("alice", "from a script")
            assert (await desk.receive()).text == "from a script"

    run(scenario)


def test_resuming() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice", acknowledge=False) as alice:
            first = alice.resume_state.publishing_id + 1
            await alice.send("alice", "first", publishing_id=first)
            await alice.send("alice", "second", publishing_id=first + 1)
            message = await alice.receive()
            await alice.receive()
            alice.acknowledge(message)
            resume = alice.resume_state
        assert (resume.publishing_id, resume.offset) == (first + 1, message.offset)
        assert waiting(server, "alice") == ["second"]
        async with connect(server.endpoint(), "alice", resume=resume) as alice:
            await alice.send("alice", "second", publishing_id=first + 1)
            assert (await alice.receive()).text == "second"
            await alice.send("alice", "third", publishing_id=first + 2)
            assert (await alice.receive()).text == "third"

    run(scenario)


def test_version_1() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice") as alice:
            assert alice.version == 1
            await alice.send("alice", "hello")
            assert (await alice.receive()).text == "hello"
            with pytest.raises(UnknownCommand):
                await alice.send_to_all("hello")

    run(scenario, version=1)


def test_pages_replies_and_several_messages_in_one_call() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with (
            connect(server.endpoint(), "alice") as alice,
            connect(server.endpoint(), "bob") as bob,
        ):
            pairs = [("bob", "1"), ("nobody", "2"), (["alice", "bob"], "3")]
            outcomes = await alice.send_many(pairs)
            assert [type(one) for one in outcomes] == [type(None), UserNotFound, type(None)]
            await (await bob.receive()).reply("welcome")
            found = [
                [one.text for one in page] async for page in bob.history_pages("alice", limit=2)
            ]
            assert found == [["3", "welcome"], ["1"]]
            assert (await alice.receive()).text == "3"
            assert (await alice.receive()).text == "welcome"
            names = [[one.name for one in page] async for page in alice.user_pages(limit=1)]
            assert names == [["alice"], ["bob"]]

    run(scenario)
