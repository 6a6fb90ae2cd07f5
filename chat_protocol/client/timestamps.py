"""The ``time`` of a message: an opaque uint64 on the wire, a moment for people."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

__all__ = ["moment"]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_UNITS = (
    (10**11, 1),
    (10**14, 10**3),
    (10**17, 10**6),
)
"""Below which value a time is taken to be in which fraction of a second."""

_NANOSECONDS = 10**9


def moment(time: int) -> datetime | None:
    """The moment, in UTC, that a message's ``time`` most likely means.

    The protocol does not fix the unit: some clients send seconds since the epoch, some
    nanoseconds. The unit is guessed from the size: seconds below 10^11 (the year 5138),
    milliseconds below 10^14, microseconds below 10^17, nanoseconds from there on. Precise to the
    microsecond.

    Returns:
        None for a value that no calendar has, which no uint64 is.
    """
    per_second = next((unit for limit, unit in _UNITS if time < limit), _NANOSECONDS)
    try:
        return _EPOCH + timedelta(microseconds=time * 10**6 // per_second)
    except OverflowError:
        return None
