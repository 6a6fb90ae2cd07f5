"""The clock of an event loop, as code of Twisted uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface.verify import verifyObject

from chat_protocol.aio.clock import LoopClock


def run(scenario: Callable[[LoopClock], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await scenario(LoopClock(asyncio.get_running_loop()))

    asyncio.run(main())


def test_calls_come_in_the_order_of_their_times() -> None:
    async def scenario(clock: LoopClock) -> None:
        verifyObject(IReactorTime, clock)
        begin = clock.seconds()
        done = asyncio.Event()
        calls: list[str] = []
        clock.callLater(0.02, done.set)
        clock.callLater(0.01, calls.append, "later")
        for text in ("1", "2", "3"):
            clock.callLater(0, calls.append, text)
        await done.wait()
        assert calls == ["1", "2", "3", "later"]
        assert clock.seconds() - begin >= 0.015
        assert clock.getDelayedCalls() == []
        with pytest.raises(ValueError, match="negative"):
            clock.callLater(-1, done.set)

    run(scenario)


def test_calls_that_are_due_at_once_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(clock: LoopClock) -> None:
        calls: list[int] = []
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 1000.0)
        for number in range(10):
            clock.callLater(0, calls.append, number)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        monkeypatch.undo()
        assert calls == list(range(10))

    run(scenario)


def test_a_canceled_call_is_not_made() -> None:
    async def scenario(clock: LoopClock) -> None:
        calls: list[str] = []
        call = clock.callLater(0, calls.append, "no")
        verifyObject(IDelayedCall, call)
        assert call.active()
        assert clock.getDelayedCalls() == [call]
        call.cancel()
        assert not call.active()
        assert clock.getDelayedCalls() == []
        await asyncio.sleep(0.01)
        assert calls == []
        with pytest.raises(AlreadyCancelled):
            call.cancel()

    run(scenario)


def test_a_call_that_was_made_cannot_be_changed() -> None:
    async def scenario(clock: LoopClock) -> None:
        call = clock.callLater(0, lambda: None)
        await asyncio.sleep(0.01)
        assert not call.active()
        with pytest.raises(AlreadyCalled):
            call.cancel()
        with pytest.raises(AlreadyCalled):
            call.reset(1)

    run(scenario)


def test_a_call_is_moved() -> None:
    async def scenario(clock: LoopClock) -> None:
        calls: list[str] = []
        call = clock.callLater(0.005, calls.append, "moved")
        call.delay(1000)
        assert call.getTime() - clock.seconds() > 900
        await asyncio.sleep(0.02)
        assert calls == []
        call.reset(0)
        await asyncio.sleep(0.01)
        assert calls == ["moved"]

    run(scenario)
