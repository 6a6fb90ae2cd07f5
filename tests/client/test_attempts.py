"""How often it is tried to get on-line, and after how long."""

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


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(Extreme(True))
    delays = [backoff.next() for _ in range(9)]
    assert delays == [0.5, 1, 2, 4, 8, 16, MAX_DELAY, MAX_DELAY, MAX_DELAY]
    assert delays[0] == FIRST_DELAY


def test_delays_are_never_shorter_than_a_quarter_of_the_longest() -> None:
    long, short = Backoff(Extreme(True)), Backoff(Extreme(False))
    for _ in range(9):
        assert short.next() == long.next() / 4


def test_delays_differ_from_client_to_client() -> None:
    delays = {Backoff(Random(seed)).next() for seed in range(20)}
    assert len(delays) == 20
    assert all(FIRST_DELAY / 4 <= delay <= FIRST_DELAY for delay in delays)


def test_the_longest_delay_does_not_overflow() -> None:
    backoff = Backoff(Extreme(True))
    assert max(backoff.next() for _ in range(5000)) == MAX_DELAY


def test_after_a_success_delays_begin_anew() -> None:
    backoff = Backoff(Extreme(True))
    backoff.next(), backoff.next()
    backoff.succeeded()
    assert backoff.next() == FIRST_DELAY


@pytest.mark.parametrize(("upper", "delay"), [(True, SPREAD), (False, 0)])
def test_a_server_that_goes_away_spreads_its_clients_once(upper: bool, delay: float) -> None:
    backoff = Backoff(Extreme(upper))
    backoff.spread()
    assert backoff.next() == delay
    assert backoff.next() == (FIRST_DELAY if upper else FIRST_DELAY / 4)


# Attempts.


def test_attempts_go_on_with_growing_delays() -> None:
    line = Line(None)
    delays = []
    for _ in range(8):
        line.endpoint.refuse()
        delays.append(line.wait())
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30]
    line.connect()
    line.log_in()
    assert line.client.state is State.ONLINE


def test_the_application_says_what_the_longest_delay_is() -> None:
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
def test_a_session_that_lasts_is_a_success(failures: int, seconds: float, delay: float) -> None:
    """Longer than the last delay, or than LASTING."""
    line = Line(None)
    for _ in range(failures):
        line.endpoint.refuse()
        line.wait()
    line.connect()
    line.log_in()
    line.clock.advance(seconds)
    line.lose()
    assert line.wait() == pytest.approx(delay)


def test_a_server_that_ends_each_session_at_once_is_not_hammered() -> None:
    line = Line(None)
    delays = []
    for _ in range(6):
        line.connect()
        line.log_in()
        line.lose()
        delays.append(line.wait())
    assert delays == [0.5, 1, 2, 4, 8, 16]


def test_an_attempt_that_fails_is_told_with_its_cause() -> None:
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
