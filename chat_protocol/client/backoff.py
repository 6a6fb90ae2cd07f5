"""How long to wait before the next attempt to connect."""

from __future__ import annotations

from random import Random

__all__ = ["FIRST_DELAY", "LASTING", "MAX_DELAY", "SPREAD", "Backoff"]

FIRST_DELAY = 0.5
"""Seconds that the first wait takes at most."""

MAX_DELAY = 30.0
"""Seconds that any wait between two attempts takes at most."""

LASTING = 2.0
"""Seconds after which a session counts as a success, if the last delay was not shorter."""

SPREAD = 5.0
"""Seconds over which the clients of a server that goes away come back."""

_DOUBLINGS = 10


class Backoff:
    """Random delays between bounds that double with each failure.

    The clients of a server that was restarted must not come back all at once, so a delay is
    anything between a quarter of the bound and the bound.

    Args:
        random: where the randomness comes from.
        max_delay: see MAX_DELAY.
    """

    def __init__(self, random: Random, max_delay: float = MAX_DELAY) -> None:
        self._random = random
        self._max_delay = max_delay
        self._failures = 0
        self._spread = False

    def succeeded(self) -> None:
        """A session lasted: the next failure is the first one."""
        self._failures = 0

    def spread(self) -> None:
        """The server said that it goes away: the next delay is anything up to SPREAD."""
        self._spread = True

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        if self._spread:
            self._spread = False
            return self._random.uniform(0, SPREAD)
        bound = min(self._max_delay, FIRST_DELAY * 2 ** min(self._failures, _DOUBLINGS))
        self._failures += 1
        return self._random.uniform(bound / 4, bound)
