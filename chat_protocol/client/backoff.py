"""Compute the delay before the next connection attempt."""

from __future__ import annotations

from random import Random

__all__ = ["FIRST_DELAY", "LASTING", "MAX_DELAY", "SPREAD", "Backoff"]

FIRST_DELAY = 0.5
"""Upper bound of the first delay, in seconds."""

MAX_DELAY = 30.0
"""Upper bound of every delay between two attempts, in seconds."""

LASTING = 2.0
"""Seconds after which a session counts as stable and resets the delays. A shorter last delay lowers
this bound."""

SPREAD = 5.0
"""Seconds over which clients spread their reconnects when the server shuts down."""

_DOUBLINGS = 10


class Backoff:
    """Choose random delays below a bound that doubles with each failure.

    A delay is between a quarter of the bound and the bound, so that the clients of a restarted
    server do not reconnect all at once.

    Args:
        random: source of randomness.
        max_delay: see MAX_DELAY.
    """

    def __init__(self, random: Random, max_delay: float = MAX_DELAY) -> None:
        self._random = random
        self._max_delay = max_delay
        self._failures = 0
        self._spread = False

    def succeeded(self) -> None:
        """Reset the bound after a stable session."""
        self._failures = 0

    def spread(self) -> None:
        """Make the next delay anything up to SPREAD, because the server announced its shutdown."""
        self._spread = True

    def next(self) -> float:
        """Return the seconds to wait after one more failure."""
        if self._spread:
            self._spread = False
            return self._random.uniform(0, SPREAD)
        bound = min(self._max_delay, FIRST_DELAY * 2 ** min(self._failures, _DOUBLINGS))
        self._failures += 1
        return self._random.uniform(bound / 4, bound)
