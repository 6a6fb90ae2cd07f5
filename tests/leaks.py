"""What pytest-twisted does not do by itself: a test that leaks, fails."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from twisted.logger import ILogObserver, LogEvent, globalLogBeginner, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import provider

__all__ = ["leak_guard", "logged_failures", "module_leak_guard"]

# Until then it keeps what is logged, and with it whatever an event names.
globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)

_FAILURES = pytest.StashKey[list[Failure]]()


@contextmanager
def _noting(failures: list[Failure]) -> Iterator[None]:
    """Append each logged failure to the list."""

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_failure") is not None:
            failures.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)


def _fail_for(failures: list[Failure]) -> None:
    texts = "\n".join(failure.getTraceback() for failure in failures)
    pytest.fail(f"failures that nobody handled:\n{texts}", pytrace=False)


@pytest.fixture(autouse=True)
def leak_guard(request: pytest.FixtureRequest) -> Iterator[None]:
    """Unhandled failures, logged ones and delayed calls left in the reactor are errors."""
    from twisted.internet import reactor

    failures: list[Failure] = []
    request.node.stash[_FAILURES] = failures
    before = set(reactor.getDelayedCalls())
    # The collector skips frozen objects, so the collection after the test is cheap.
    gc.freeze()
    with _noting(failures):
        yield
        # A Deferred says that nobody handled its failure when it is collected.
        gc.collect()
    calls = [call for call in set(reactor.getDelayedCalls()) - before if call.active()]
    for call in calls:
        call.cancel()
    if failures:
        _fail_for(failures)
    if calls:
        pytest.fail(f"delayed calls left behind: {calls}", pytrace=False)


@pytest.fixture(scope="module", autouse=True)
def module_leak_guard() -> Iterator[None]:
    """Collect the objects that the guard of each test has frozen."""
    yield
    failures: list[Failure] = []
    gc.unfreeze()
    with _noting(failures):
        gc.collect()
    if failures:
        _fail_for(failures)


@pytest.fixture
def logged_failures(request: pytest.FixtureRequest) -> list[Failure]:
    """The failures logged so far; a test that expects some takes them out of this list."""
    failures: list[Failure] = request.node.stash[_FAILURES]
    return failures
