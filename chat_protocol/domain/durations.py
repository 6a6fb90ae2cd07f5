"""Lengths of time as people write them: ``90d``."""

from __future__ import annotations

import re

__all__ = ["parse_duration"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600, "y": 365 * 24 * 3600}
_FORM = re.compile(r"([0-9]{1,9})([smhdwy])")


def parse_duration(text: str) -> int:
    """Seconds: a whole number with s, m, h, d, w or y (365 days) behind it; 0 and none are 0.

    Raises:
        ValueError: it is something else; the text is a sentence for the one who wrote it.
    """
    if text in ("0", "none"):
        return 0
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no length of time: give one such as 90d, 12h or 2y")
    return int(match[1]) * _SECONDS[match[2]]
