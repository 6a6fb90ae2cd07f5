"""Delays between connection attempts."""

from __future__ import annotations

from random import Random

import pytest
from twisted.internet.error import ConnectError

from chat_protocol.client import Offline, State
from chat_protocol.client.backoff import FIRST_DELAY, MAX_DELAY, SPREAD, Backoff
from chat_protocol.errors import (
    NotConnected,
)
from tests.client.line import Line

# The delays.


class Extreme(Random):
    def __init__(self, upper: bool) -> None:
        super().__init__()
        self._upper = upper

    def uniform(self, a: float, b: float) -> float:
        return b if self._upper else a


def test_delays_double_up_to_the_maximum() -> None:
    backoff = Backoff(Extreme(True))
    delays = [backoff.next() for _ in range(9)]
    assert delays == [0.5, 1, 2, 4, 8, 16, MAX_DELAY, MAX_DELAY, MAX_DELAY]
    assert delays[0] == FIRST_DELAY


def test_delays_are_at_least_a_quarter_of_the_bound() -> None:
    long, short = Backoff(Extreme(True)), Backoff(Extreme(False))
    for _ in range(9):
        assert short.next() == long.next() / 4


def test_delays_differ_from_client_to_client() -> None:
    delays = {Backoff(Random(seed)).next() for seed in range(20)}
    assert len(delays) == 20
    assert all(FIRST_DELAY / 4 <= delay <= FIRST_DELAY for delay in delays)


def test_the_maximum_delay_does_not_overflow() -> None:
    backoff = Backoff(Extreme(True))
    assert max(backoff.next() for _ in range(5000)) == MAX_DELAY


def test_a_success_resets_the_delays() -> None:
    backoff = Backoff(Extreme(True))
    backoff.next(), backoff.next()
    backoff.succeeded()
    assert backoff.next() == FIRST_DELAY


@pytest.mark.parametrize(("upper", "delay"), [(True, SPREAD), (False, 0)])
def test_a_shutdown_spreads_one_delay(upper: bool, delay: float) -> None:
    backoff = Backoff(Extreme(upper))
    backoff.spread()
    assert backoff.next() == delay
    assert backoff.next() == (FIRST_DELAY if upper else FIRST_DELAY / 4)


# Attempts.


def test_attempts_continue_with_growing_delays() -> None:
    line = Line(None)
    delays = []
    for _ in range(8):
        line.endpoint.refuse()
        delays.append(line.wait())
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30]
    line.connect()
    line.log_in()
    assert line.client.state is State.ONLINE


def test_the_application_sets_the_maximum_delay() -> None:
    line = Line(None, max_delay=3)
    delays = []
    for _ in range(5):
        line.endpoint.refuse()
        delays.append(line.wait())
    assert delays == [0.5, 1, 2, 3, 3]


@pytest.mark.parametrize(
    ("failures", "seconds", "delay"),
    [(2, 0.9, 2.0), (2, 1.1, FIRST_DELAY), (5, 1.9, 16.0), (5, 2.1, FIRST_DELAY)],
)
def test_a_stable_session_resets_the_delays(failures: int, seconds: float, delay: float) -> None:
    """A session is stable if it outlasts the last delay, or LASTING."""
    line = Line(None)
    for _ in range(failures):
        line.endpoint.refuse()
        line.wait()
    line.connect()
    line.log_in()
    line.clock.advance(seconds)
    line.lose()
    assert line.wait() == pytest.approx(delay)


def test_short_sessions_do_not_reset_the_delays() -> None:
    line = Line(None)
    delays = []
    for _ in range(6):
        line.connect()
        line.log_in()
        line.lose()
        delays.append(line.wait())
    assert delays == [0.5, 1, 2, 4, 8, 16]


def test_a_failed_attempt_is_reported_with_its_cause() -> None:
    line = Line(None)
    line.endpoint.refuse()
    line.turn()
    (offline,) = line.events
    assert isinstance(offline, Offline)
    assert isinstance(offline.reason, NotConnected)
    assert str(offline.reason).startswith("cannot connect: An error occurred while connecting")
    assert isinstance(offline.reason.__cause__, ConnectError)
    assert offline.retry_in == FIRST_DELAY
    line.stop()
