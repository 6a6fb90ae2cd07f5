"""An asyncio event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from chat_protocol.errors import NotConnected

__all__ = ["LoopThread"]

T = TypeVar("T")


class LoopThread:
    """Run coroutines for callers in other threads, until :meth:`close`.

    The thread does not keep the process alive.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._closed = False
        self._abandoned: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run, name="chat_protocol.sync", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the thread and return its result, or raise its error."""

        async def calling() -> T:
            return function()

        return self.run(calling)

    def run(
        self,
        make: Callable[[], Coroutine[Any, Any, T]],
        timeout: float | None = None,
        give_back: Callable[[T], object] | None = None,
    ) -> T:
        """Run a coroutine in the thread and return its result, or raise its error.

        Args:
            make: makes the coroutine.
            timeout: seconds after which the coroutine is canceled; None: no limit.
            give_back: called in the thread with a result that the caller did not get, because a
                KeyboardInterrupt ended its waiting.

        Raises:
            TimeoutError: there was no result in time.
            NotConnected: the thread has ended.
            RuntimeError: this is the thread itself, which would wait for ever.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("an observer must not wait for a call of its chat")
        outcome: Future[T] = Future()
        tasks: list[asyncio.Task[T]] = []

        def finish(task: asyncio.Task[T]) -> None:
            if task.cancelled():
                outcome.set_exception(NotConnected("the chat is closed"))
            elif (error := task.exception()) is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(task.result())

        def start() -> None:
            task = self._loop.create_task(_within(make(), timeout))
            tasks.append(task)
            task.add_done_callback(finish)

        def abandon() -> None:
            def ended(task: asyncio.Task[T]) -> None:
                self._abandoned.discard(task)
                if task.cancelled() or task.exception() is not None or give_back is None:
                    return
                give_back(task.result())

            for task in tasks:
                task.cancel()
                self._abandoned.add(task)
                task.add_done_callback(ended)

        self._schedule(start)
        try:
            error = outcome.exception()
        except BaseException:
            self._schedule(abandon)
            raise
        if error is not None:
            raise error
        return outcome.result()

    def close(self) -> None:
        """End the thread; calls that wait fail with NotConnected."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _schedule(self, function: Callable[[], object]) -> None:
        with self._lock:
            if self._closed:
                raise NotConnected("the chat is closed")
            self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        # Abandoned tasks are canceled already, and may be logging out.
        for task in tasks - self._abandoned:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()


async def _within(coroutine: Coroutine[Any, Any, T], timeout: float | None) -> T:
    """Return the result of a coroutine, also if it is there in the moment of the timeout."""
    if timeout is None:
        return await coroutine
    task = asyncio.ensure_future(coroutine)
    try:
        await asyncio.wait({task}, timeout=timeout)
    finally:
        if not task.done():
            task.cancel()
    await asyncio.wait({task})
    if task.cancelled():
        raise TimeoutError(f"nothing happened within {timeout:g} s")
    return task.result()
