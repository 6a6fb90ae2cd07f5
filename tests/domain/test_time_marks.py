"""Time marks: their times never decrease, whatever the clock does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from chat_protocol.domain.time_marks import MARK_SECONDS, TimeMarks

SECOND = 10**9
MINUTE = MARK_SECONDS * SECOND


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def marks(clock: Clock) -> TimeMarks:
    return TimeMarks(clock)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(cast(Any, observe))
    yield lines
    globalLogPublisher.removeObserver(cast(Any, observe))


def test_a_mark_has_the_time_of_the_last_message(clock: Clock, marks: TimeMarks) -> None:
    marks.stored()
    stored = clock.now
    clock.now += 5 * MINUTE
    assert marks.due() == stored
    assert marks.due() == 0
    assert marks.due(at_once=True) == stored
    clock.now += MINUTE
    assert marks.due() == stored


def test_without_a_message_it_has_the_time_of_the_clock(clock: Clock, marks: TimeMarks) -> None:
    assert marks.due() == clock.now


def test_times_never_decrease(clock: Clock, marks: TimeMarks, logged: list[str]) -> None:
    marks.stored()
    first = marks.due()
    clock.now -= 3600 * SECOND
    for _ in range(3):
        clock.now += 2 * MINUTE
        marks.stored()
        assert marks.due() == first
    clock.now = first + 2 * MINUTE
    marks.stored()
    assert marks.due() == clock.now
    assert [line for line in logged if "behind" in line] == [
        "The clock is 3,480 s behind the time at which messages were stored before. Set the clock."
        " With --retention, messages are kept longer by as much."
    ]


def test_a_restart_with_a_clock_that_is_behind(clock: Clock, logged: list[str]) -> None:
    marks = TimeMarks(clock)
    later = clock.now + 3600 * SECOND
    marks.load(later)
    marks.stored()
    assert marks.due() == later
    assert len(logged) == 1
