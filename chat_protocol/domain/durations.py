"""Durations as operators write them, such as ``90d``."""

from __future__ import annotations

import re

__all__ = ["parse_duration"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600, "y": 365 * 24 * 3600}
_FORM = re.compile(r"([0-9]{1,9})([smhdwy])")


def parse_duration(text: str) -> int:
    """Return a duration in seconds.

    Args:
        text: a whole number of at most 9 digits and a unit: s, m, h, d, w or y (365 days). ``0``
            and ``none`` are 0 seconds.

    Raises:
        ValueError: the text is not a duration. The error is a sentence for the person who wrote it.
    """
    if text in ("0", "none"):
        return 0
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is not a duration. Give a number and a unit, such as 90d, 12h or 2y"
        )
    return int(match[1]) * _SECONDS[match[2]]
