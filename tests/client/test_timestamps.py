from __future__ import annotations

from datetime import datetime, timezone

import pytest

from chat_protocol.client import moment

DAY = datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc)


@pytest.mark.parametrize("time", [1_700_000_000 * 1000**power for power in range(4)])
def test_the_unit_follows_from_the_magnitude(time: int) -> None:
    """The published Python client sends seconds, the Go client nanoseconds."""
    assert moment(time) == DAY


def test_microseconds_are_kept() -> None:
    assert moment(1_700_000_000_123_456_789) == DAY.replace(microsecond=123456)


@pytest.mark.parametrize(
    ("time", "year"),
    [
        (0, 1970),
        (10**11 - 1, 5138),
        (10**11, 1973),
        (10**14 - 1, 5138),
        (10**14, 1973),
        (10**17 - 1, 5138),
        (10**17, 1973),
        (2**64 - 1, 2554),
    ],
)
def test_every_uint64_has_a_time(time: int, year: int) -> None:
    found = moment(time)
    assert found is not None
    assert found.year == year


@pytest.mark.parametrize("time", [10**40, -(10**40)])
def test_a_value_outside_the_calendar_is_none(time: int) -> None:
    assert moment(time) is None
