"""The thread beside the reactor, with a real reactor."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from chat_protocol.stores.thread_worker import ThreadWorker


@pytest.fixture
def worker() -> Iterator[ThreadWorker]:
    from twisted.internet import reactor

    made = ThreadWorker(reactor, "test")  # type: ignore[arg-type]
    yield made
    made.stop()


@pytest_twisted.ensureDeferred
async def test_it_runs_elsewhere_one_after_the_other(worker: ThreadWorker) -> None:
    running: list[int] = []

    def work(number: int) -> tuple[int, str, int]:
        running.append(number)
        return number, threading.current_thread().name, len(running)

    outcomes = [worker.run(partial(work, number)) for number in range(50)]
    assert [await one for one in outcomes] == [(n, "test", n + 1) for n in range(50)]


@pytest_twisted.ensureDeferred
async def test_the_outcome_comes_in_the_thread_of_the_reactor(worker: ThreadWorker) -> None:
    threads = []
    outcome = worker.run(lambda: 1)
    outcome.addCallback(lambda _: threads.append(threading.current_thread()))
    await outcome
    assert threads == [threading.current_thread()]


@pytest_twisted.ensureDeferred
async def test_what_is_raised_fails_and_it_goes_on(worker: ThreadWorker) -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await worker.run(fail)
    assert await worker.run(lambda: 2) == 2


def test_stopping_waits_for_the_last_function(worker: ThreadWorker) -> None:
    order = []
    event = threading.Event()

    def slow() -> None:
        event.wait(5)
        order.append("done")

    outcome: Deferred[None] = worker.run(slow)
    outcome.addCallback(lambda _: order.append("heard"))
    threading.Timer(0.05, event.set).start()
    worker.stop()
    assert order == ["done", "heard"]


def test_nothing_is_left_open() -> None:
    from twisted.internet import reactor

    before = set(os.listdir("/proc/self/fd")), threading.active_count(), reactor.getReaders()
    worker = ThreadWorker(reactor, "test")  # type: ignore[arg-type]
    worker.run(lambda: None)
    worker.stop()
    after = set(os.listdir("/proc/self/fd")), threading.active_count(), reactor.getReaders()
    assert after == before
