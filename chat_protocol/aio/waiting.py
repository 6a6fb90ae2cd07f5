"""Awaiting a Deferred in a coroutine of asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["next_of", "result_of"]

T = TypeVar("T")


async def result_of(deferred: Deferred[T], give_back: Callable[[T], object] | None = None) -> T:
    """Return the result of a Deferred, or raise its error; cancellation cancels the Deferred.

    Args:
        deferred: fires in the thread of the running loop.
        give_back: called with a result that arrived when the caller was canceled already.
    """
    results: list[Any] = []
    waiting: asyncio.Future[None] | None = None

    def arrived(result: Any) -> None:
        results.append(result)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    deferred.addBoth(arrived)
    if not results:
        waiting = asyncio.get_running_loop().create_future()
        try:
            await waiting
        except asyncio.CancelledError:
            if not results:
                deferred.cancel()
            elif give_back is not None and not isinstance(results[0], Failure):
                give_back(results[0])
            raise
    result = results[0]
    if isinstance(result, Failure):
        if result.value is None:
            raise AssertionError("a failure without an error")
        raise result.value
    return result  # type: ignore[no-any-return]


async def next_of(iterator: AsyncIterator[T]) -> T | None:
    """Return the next element, None behind the last one."""
    return await anext(iterator, None)
