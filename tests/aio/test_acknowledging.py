"""When a message is acknowledged."""

from __future__ import annotations

import asyncio

import pytest

from chat_protocol.aio import connect
from chat_protocol.client import State
from chat_protocol.testing import MemoryServer
from tests.aio.memory import quiet, run, waiting


def test_the_next_message_acknowledges_the_one_before() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice") as alice:
            await alice.send("alice", "first")
            await alice.send("alice", "second")
            await alice.receive()
            await quiet(server)
            assert waiting(server, "alice") == ["first", "second"]
            await alice.receive()
            await quiet(server)
            assert waiting(server, "alice") == ["second"]

    run(scenario)


@pytest.mark.parametrize("entered", [True, False])
def test_the_last_message_of_a_loop_that_is_left_does_not_come_again(entered: bool) -> None:
    async def scenario(server: MemoryServer) -> None:
        async def take_one() -> None:
            if entered:
                async with connect(server.endpoint(), "alice") as alice:
                    await alice.send("alice", "once")
                    async for _ in alice:
                        break
            else:
                alice = await connect(server.endpoint(), "alice")
                await alice.send("alice", "once")
                await alice.receive()
                await alice.aclose()

        await take_one()
        assert waiting(server, "alice") == []

    run(scenario)


def test_a_block_that_raises_gets_its_message_again() -> None:
    async def scenario(server: MemoryServer) -> None:
        with pytest.raises(LookupError):  # noqa: PT012
            async with connect(server.endpoint(), "alice") as alice:
                await alice.send("alice", "again")
                await alice.receive()
                raise LookupError
        assert waiting(server, "alice") == ["again"]

    run(scenario)


def test_manual_acknowledgement_is_left_to_the_application() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice", acknowledge=False) as alice:
            await alice.send("alice", "kept")
            await alice.receive()
        assert waiting(server, "alice") == ["kept"]

    run(scenario)


def test_next_acknowledges_at_the_end_of_its_block() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice", acknowledge=False) as alice:
            await alice.send("alice", "one")
            async with alice.next() as message:
                assert message.text == "one"
                await quiet(server)
                assert waiting(server, "alice") == ["one"]
            await quiet(server)
            assert waiting(server, "alice") == []

    run(scenario)


def test_next_returns_a_message_again_whose_block_raised() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice") as alice:
            await alice.send("alice", "one")
            await alice.send("alice", "two")
            for _ in range(2):
                with pytest.raises(LookupError):
                    async with alice.next() as message:
                        raise LookupError
                assert message.text == "one"
            await quiet(server)
            assert waiting(server, "alice") == ["one", "two"]
            taken = []
            for _ in range(2):
                async with alice.next() as message:
                    taken.append(message.text)
            assert taken == ["one", "two"]
        assert waiting(server, "alice") == []

    run(scenario)


def test_a_message_whose_block_failed_is_not_acknowledged_by_closing() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice") as alice:
            await alice.send("alice", "one")
            with pytest.raises(LookupError):
                async with alice.next():
                    raise LookupError
        assert waiting(server, "alice") == ["one"]

    run(scenario)


def test_messages_of_blocks_that_fail_together_keep_their_order() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice") as alice:

            async def fail(after: float) -> None:
                async with alice.next():
                    await asyncio.sleep(after)
                    raise LookupError

            failing = [asyncio.create_task(fail(after)) for after in (0.04, 0.02)]
            await alice.send("alice", "one")
            await alice.send("alice", "two")
            await asyncio.wait(failing)
            assert [task.exception() is not None for task in failing] == [True, True]
            assert [(await alice.receive()).text for _ in range(2)] == ["one", "two"]

    run(scenario)


def test_draining_takes_what_is_there_and_closes() -> None:
    async def scenario(server: MemoryServer) -> None:
        async with connect(server.endpoint(), "alice") as alice:
            await alice.send_many(("alice", str(number)) for number in range(3))
            assert (await alice.receive()).text == "0"
            await quiet(server)
            seen: list[str] = []
            async for message in alice.drain():
                if not seen:
                    await alice.send("alice", "late")
                seen.append(message.text)
            assert seen == ["1", "2"]
            assert alice.state is State.STOPPED
        assert waiting(server, "alice") == ["late"]

    run(scenario)
