"""Interpretation of a message's ``time``, an opaque uint64 on the wire."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

__all__ = ["moment"]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_UNITS = (
    (10**11, 1),
    (10**14, 10**3),
    (10**17, 10**6),
)
"""Upper bounds of a time value, with the fraction of a second that it is assumed to count."""

_NANOSECONDS = 10**9


def moment(time: int) -> datetime | None:
    """Return the UTC time that a message's ``time`` most likely means.

    The protocol does not fix the unit: some clients send seconds since the epoch, some nanoseconds.
    The unit is guessed from the magnitude: seconds below 10^11 (the year 5138), milliseconds below
    10^14, microseconds below 10^17, nanoseconds from there on. The result is precise to the
    microsecond.

    Returns:
        None for a value outside the calendar. No uint64 is.
    """
    per_second = next((unit for limit, unit in _UNITS if time < limit), _NANOSECONDS)
    try:
        return _EPOCH + timedelta(microseconds=time * 10**6 // per_second)
    except OverflowError:
        return None
