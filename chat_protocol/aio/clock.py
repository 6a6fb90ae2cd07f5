"""The clock of an asyncio event loop, for code that takes a reactor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from chat_protocol.aio.delayed_call import DelayedCall

__all__ = ["LoopClock", "loop_clock"]


@implementer(IReactorTime)
class LoopClock:
    """IReactorTime over an event loop; nothing is installed.

    Args:
        loop: the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: dict[DelayedCall, None] = {}

    def seconds(self) -> float:
        return self._loop.time()

    def callLater(
        self,
        delay: float,
        callable: Callable[..., Any],  # noqa: A002
        *args: object,
        **kwargs: object,
    ) -> IDelayedCall:
        """Call a function after ``delay`` seconds."""
        if delay < 0:
            raise ValueError(f"delay must not be negative: {delay}")
        call = DelayedCall(self._loop, delay, lambda: callable(*args, **kwargs), self._calls.pop)
        self._calls[call] = None
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        return list(self._calls)


def loop_clock() -> IReactorTime:
    """Return a clock of the running event loop, for MemoryServer and others that take one."""
    return LoopClock(asyncio.get_running_loop())
