"""When a store is asked to remove expired messages, and how often."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from chat_protocol.domain.durations import parse_duration
from chat_protocol.domain.retention import Retention
from chat_protocol.errors import Unavailable
from chat_protocol.stores.memory.store import MemoryStore


class SlowStore(MemoryStore):
    """Takes as long for a step as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.steps: list[Deferred[bool]] = []

    def forget(self, before: int) -> Deferred[bool]:
        self.asked.append(before)
        step: Deferred[bool] = Deferred()
        self.steps.append(step)
        return step


def started(store: MemoryStore) -> tuple[Clock, Retention]:
    clock = Clock()
    retention = Retention(store, clock, lambda: int(clock.seconds() * 10**9) + 10**12, 100)
    retention.start()
    return clock, retention


def test_steps_take_a_tenth_of_the_time_and_searches_begin_every_minute() -> None:
    store = SlowStore()
    clock, retention = started(store)
    assert store.asked == [900 * 10**9]
    clock.advance(0.5)
    store.steps[0].callback(True)
    clock.advance(4.4)
    assert len(store.asked) == 1
    clock.advance(0.2)
    assert len(store.asked) == 2
    store.steps[1].callback(True)
    # However short a step is.
    clock.advance(0.015)
    assert len(store.asked) == 2
    clock.advance(0.01)
    store.steps[2].callback(False)
    clock.advance(59)
    assert len(store.asked) == 3
    clock.advance(1.1)
    assert len(store.asked) == 4
    assert store.asked[3] - store.asked[2] == pytest.approx(60.1e9)
    store.steps[3].callback(False)
    stopped = Deferred.fromCoroutine(retention.stop())
    assert stopped.called
    assert clock.getDelayedCalls() == []


def test_the_age_cannot_lead_before_the_epoch() -> None:
    store = SlowStore()
    retention = Retention(store, Clock(), lambda: 10**18, parse_duration("9999y"))
    retention.start()
    assert store.asked == [0]
    store.steps[0].callback(False)
    Deferred.fromCoroutine(retention.stop())


def test_it_stops_when_the_step_is_done() -> None:
    store = SlowStore()
    clock, retention = started(store)
    stopped = Deferred.fromCoroutine(retention.stop())
    assert not stopped.called
    store.steps[0].callback(True)
    assert stopped.called
    assert clock.getDelayedCalls() == []
    assert len(store.asked) == 1


def test_a_store_that_refuses_is_asked_again() -> None:
    store = SlowStore()
    clock, retention = started(store)
    store.steps[0].errback(Unavailable("full"))
    clock.advance(60)
    store.steps[1].errback(Unavailable("full"))
    clock.advance(60)
    assert len(store.asked) == 3
    store.steps[2].callback(False)
    Deferred.fromCoroutine(retention.stop())
    assert clock.getDelayedCalls() == []


def test_the_log_reports_a_failure_once_and_how_many_steps_it_took() -> None:
    lines: list[str] = []
    store = SlowStore()
    clock = Clock()
    retention = Retention(store, clock, lambda: 10**12, 100)

    class Log:
        def warn(self, form: str, **values: object) -> None:
            lines.append(form.format(**values))

        info = warn

    retention.log = Log()  # type: ignore[misc, assignment]
    retention.start()
    store.steps[-1].errback(Unavailable("full"))
    clock.advance(60)
    store.steps[-1].errback(Unavailable("full"))
    clock.advance(60)
    store.steps[-1].callback(True)
    clock.advance(1)
    store.steps[-1].callback(False)
    clock.advance(60)
    store.steps[-1].callback(False)
    assert lines == [
        "Cannot remove expired messages: full. The server retries every minute",
        "Removed expired messages in 2 steps",
    ]
    Deferred.fromCoroutine(retention.stop())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("none", 0), ("5s", 5), ("3m", 180), ("2h", 7200), ("90d", 7_776_000),
        ("2w", 1_209_600), ("1y", 31_536_000),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "d", "-1d", "1.5h", "90 d", "1d2h", "9999999999d", "\u0661d"]
)
def test_text_that_is_not_a_duration(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"is not a duration\. Give a number and a unit, such as 90d"
    ):
        parse_duration(text)
