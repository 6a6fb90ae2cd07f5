"""Checks of hashed passwords: whose turn it is, and how many wait."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from chat_protocol.errors import RateLimited
from chat_protocol.service.password_checks import PASSWORD_CHECKS, PasswordChecks


class Thread:
    """Runs a check when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], bool], Deferred[bool]]] = []
        self.most = 0

    def run(self, check: Callable[[], bool]) -> Deferred[bool]:
        ended: Deferred[bool] = Deferred()
        self.jobs.append((check, ended))
        self.most = max(self.most, len(self.jobs))
        return ended

    def work(self) -> None:
        while self.jobs:
            check, ended = self.jobs.pop()
            try:
                ended.callback(check())
            except ZeroDivisionError:
                ended.errback(Failure())  # type: ignore[no-untyped-call]


class Crowd:
    """Clients at several addresses who try passwords."""

    def __init__(self) -> None:
        self.thread = Thread()
        self.checks = PasswordChecks(self.thread.run)
        self.ran: list[str] = []
        self.refused: list[str] = []

    def check(self, host: str) -> Deferred[bool]:
        def check() -> bool:
            self.ran.append(host)
            return True

        asked = self.checks.check(host, check)
        asked.addErrback(self._refused, host)
        return asked

    def _refused(self, failure: Failure, host: str) -> None:
        if isinstance(failure.value, RateLimited):
            assert failure.value.limit == "PASSWORD_CHECKS"
            self.refused.append(host)
        else:
            assert isinstance(failure.value, CancelledError)


def test_one_runs_at_a_time_and_addresses_take_turns() -> None:
    crowd = Crowd()
    for host in ("10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.3"):
        crowd.check(host)
    crowd.thread.work()
    assert [host[-1] for host in crowd.ran] == ["1", "1", "2", "3", "1", "2"]
    assert crowd.thread.most == 1


def test_a_64_is_one_address() -> None:
    crowd = Crowd()
    for host in ("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::4"):
        crowd.check(host)
    crowd.thread.work()
    assert [host[-1] for host in crowd.ran] == ["1", "2", "4", "3"]


def test_above_the_limit_one_of_the_largest_crowd_is_refused() -> None:
    crowd = Crowd()
    for _ in range(PASSWORD_CHECKS + 1):
        crowd.check("10.0.0.1")
    assert crowd.refused == []
    crowd.check("10.0.0.1")
    assert crowd.refused == ["10.0.0.1"]
    crowd.check("10.0.0.2")
    assert crowd.refused == ["10.0.0.1"] * 2
    crowd.thread.work()
    assert crowd.ran.index("10.0.0.2") == 2
    assert len(crowd.ran) == PASSWORD_CHECKS + 1


def test_among_equals_the_newest_is_refused() -> None:
    crowd = Crowd()
    for number in range(PASSWORD_CHECKS + 2):
        crowd.check(f"10.0.1.{number}")
    assert crowd.refused == [f"10.0.1.{PASSWORD_CHECKS + 1}"]


@pytest.mark.parametrize("running", [True, False])
def test_a_check_that_nobody_waits_for_does_not_run(running: bool) -> None:
    crowd = Crowd()
    first, second = crowd.check("10.0.0.1"), crowd.check("10.0.0.1")
    (first if running else second).cancel()
    crowd.check("10.0.0.2")
    crowd.thread.work()
    # One that has begun runs to its end.
    assert len(crowd.ran) == (3 if running else 2)
    assert crowd.checks._waiting == 0
    assert not crowd.checks._queues


def test_a_check_that_fails_stops_nothing() -> None:
    crowd = Crowd()
    failed = crowd.checks.check("10.0.0.1", lambda: bool(1 / 0))
    crowd.check("10.0.0.1")
    crowd.thread.work()
    assert crowd.ran == ["10.0.0.1"]
    failures: list[Failure] = []
    failed.addErrback(failures.append)
    assert failures[0].check(ZeroDivisionError)  # type: ignore[no-untyped-call]
