"""One thread beside the reactor, for a store whose driver blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

__all__ = ["IWorker", "ThreadWorker"]

T = TypeVar("T")


class IWorker(Protocol):
    """Runs functions one after the other, elsewhere."""

    def run(self, function: Callable[[], T]) -> Deferred[T]:
        """Fires with what ``function`` returns, or fails with what it raises."""

    def stop(self) -> Deferred[None]:
        """Fires when the last function has ended."""


class ThreadWorker:
    """An IWorker with one thread of its own, started by the first function."""

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=1, maxthreads=1, name=name)

    def run(self, function: Callable[[], T]) -> Deferred[T]:
        """See IWorker."""
        if not self._pool.started:
            self._pool.start()
        done: Deferred[T] = deferToThreadPool(self._reactor, self._pool, function)
        return done

    def stop(self) -> Deferred[None]:
        """See IWorker; no function may follow."""
        if self._pool.started:
            self._pool.stop()
        return succeed(None)
