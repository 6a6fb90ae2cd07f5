"""One thread beside the reactor, for a store whose driver blocks."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["IWorker", "ThreadWorker"]

T = TypeVar("T")


class IWorker(Protocol):
    """Runs functions one after the other, elsewhere."""

    def run(self, function: Callable[[], T]) -> Deferred[T]:
        """Fires with what ``function`` returns, or fails with what it raises."""

    def stop(self) -> Deferred[None]:
        """Fires when the last function has ended."""


@implementer(IReadDescriptor)
class ThreadWorker:
    """An IWorker with one thread of its own, started by the first function.

    What it has done the reactor hears by an eventfd (eventfd(2)). A hop to the thread and back
    is on the way of each batch, and costs half of one by a ThreadPool and callFromThread.

    Args:
        reactor: watches the eventfd.
        name: of the thread.
    """

    def __init__(self, reactor: IReactorFDSet, name: str) -> None:
        self._reactor = reactor
        self._name = name
        self._thread: Thread | None = None
        self._eventfd = -1
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Deferred[Any]] | None] = SimpleQueue()
        self._done: deque[tuple[Deferred[Any], Any]] = deque()

    def run(self, function: Callable[[], T]) -> Deferred[T]:
        """See IWorker."""
        if self._thread is None:
            self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._reactor.addReader(self)
            # A daemon: a process that ends without stop() does not wait for it.
            self._thread = Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        outcome: Deferred[T] = Deferred()
        self._jobs.put((function, outcome))
        return outcome

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, outcome = job
            try:
                result = function()
            except BaseException:
                result = Failure()  # type: ignore[no-untyped-call]
            self._done.append((outcome, result))
            os.eventfd_write(self._eventfd, 1)

    def doRead(self) -> None:
        """See IReadDescriptor: something is done."""
        os.eventfd_read(self._eventfd)
        self._report()

    def _report(self) -> None:
        while self._done:
            outcome, result = self._done.popleft()
            if isinstance(result, Failure):
                outcome.errback(result)
            else:
                outcome.callback(result)

    def stop(self) -> Deferred[None]:
        """See IWorker; no function may follow."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None
            self._reactor.removeReader(self)
            os.close(self._eventfd)
            self._report()
        return succeed(None)

    def fileno(self) -> int:
        """See IReadDescriptor."""
        return self._eventfd

    def logPrefix(self) -> str:
        """See IReadDescriptor."""
        return self._name

    def connectionLost(self, reason: Failure) -> None:
        """See IReadDescriptor: the reactor ends."""
