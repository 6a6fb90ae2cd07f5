"""Calls that are canceled, or that time out."""

from __future__ import annotations

import asyncio
import itertools
import sys

import pytest
from twisted.internet.defer import Deferred

from chat_protocol.aio import connect
from chat_protocol.aio.chat import Chat
from chat_protocol.aio.waiting import result_of
from chat_protocol.client import ReceivedMessage
from chat_protocol.testing import MemoryServer
from tests.aio.memory import quiet, run


def test_a_receive_that_times_out_takes_no_message() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice") as alice:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(alice.receive(), 0.01)
            await alice.send("alice", "late")
            assert (await alice.receive()).text == "late"

    run(scenario)


def test_a_message_that_arrives_while_its_receiver_is_canceled_is_kept() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice") as alice:
            receiving = asyncio.create_task(alice.receive())
            await quiet(server)
            await alice.send("alice", "one")
            await alice.send("alice", "two")
            kept = not receiving.done()
            receiving.cancel()
            got = [] if kept else [(await receiving).text]
            got += [(await alice.receive()).text for _ in range(2 - len(got))]
            assert got == ["one", "two"]

    run(scenario)


@pytest.mark.parametrize("cancel_first", [True, False])
def test_a_result_that_comes_in_the_turn_of_the_cancellation_is_given_back(
    cancel_first: bool,
) -> None:
    async def main() -> None:
        deferred: Deferred[str] = Deferred()
        returned: list[str] = []
        waiting = asyncio.create_task(result_of(deferred, returned.append))
        await asyncio.sleep(0)
        if cancel_first:
            waiting.cancel()
        deferred.callback("result")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert returned == ["result"]

    asyncio.run(main())


def test_cancellation_cancels_a_deferred_and_raises_its_errors_to_nobody() -> None:
    async def main() -> None:
        cancelled: list[object] = []
        deferred: Deferred[None] = Deferred(cancelled.append)
        waiting = asyncio.create_task(result_of(deferred))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(cancelled) == 1

    asyncio.run(main())


def test_a_message_that_a_canceled_receiver_leaves_goes_to_the_next_one() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice") as alice:
            first, second = (asyncio.create_task(alice.receive()) for _ in range(2))
            await quiet(server)
            message = ReceivedMessage("bob", "hello", 0, ("alice",))
            alice._client._inbox.put(message, 1)
            first.cancel()
            assert await asyncio.wait_for(second, 5) == message
            assert first.cancelled()

    run(scenario)


def test_receivers_that_are_canceled_at_random_lose_nothing() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice") as alice:
            texts = [str(number) for number in range(300)]

            async def send() -> None:
                for text in texts:
                    await alice.send("alice", text)

            sending = asyncio.create_task(send())
            got: list[str] = []
            for turns in itertools.count():
                if len(got) == len(texts):
                    break
                receiving = asyncio.create_task(alice.receive())
                for _ in range(turns % 7):
                    await asyncio.sleep(0)
                receiving.cancel()
                await asyncio.wait({receiving})
                if not receiving.cancelled():
                    got.append(receiving.result().text)
                await asyncio.sleep(0)
            await sending
            assert got == texts

    run(scenario)


def test_a_send_that_is_canceled_before_its_turn_is_not_sent() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice", in_flight=1) as alice:
            first, second, third = (
                asyncio.create_task(alice.send("alice", text)) for text in ("1", "2", "3")
            )
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.wait({first, second, third})
            assert second.cancelled()
            assert [message.message for message in server.received] == ["1", "3"]

    run(scenario)


async def send_many(chat: Chat, count: int, stop_at: int) -> list[int]:
    """Send in a TaskGroup that is canceled half-way; return what was answered."""
    stored: list[int] = []
    half = asyncio.Event()

    async def send(number: int) -> None:
        await chat.send("alice", str(number))
        stored.append(number)
        if len(stored) >= stop_at:
            half.set()

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(send(number))

    sending = asyncio.create_task(group())
    await half.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    return stored


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.TaskGroup is new in Python 3.11")
def test_a_group_of_3000_sends_that_is_canceled_half_way() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice") as alice:
            answered = await send_many(alice, 3000, 1500)
            await alice.send("alice", "afterwards")
            got: list[str] = []
            async for message in alice:
                got.append(message.text)
                if message.text == "afterwards":
                    break
            numbers = [int(text) for text in got[:-1]]
            assert numbers == list(range(len(numbers)))
            assert set(answered) <= set(numbers)
            assert 1500 <= len(numbers) < 3000

    run(scenario)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is new in Python 3.11")
def test_asyncio_timeout() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice") as alice:
            server.stall()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await alice.users()
            server.resume()
            assert len(await alice.users()) == 1

    run(scenario)
