"""Rates: token buckets without timers, in maps of bounded size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

__all__ = ["Allowance", "Bucket", "Buckets", "Rate"]


class Rate(NamedTuple):
    """How often something may happen: ``steady`` in the long run, ``burst`` at once."""

    steady: float
    """Times a second; 0: no limit."""
    burst: int
    """How often at once, after a time without use."""

    def __str__(self) -> str:
        return f"{self.steady:g} a second, {self.burst} at once" if self.steady else "none"


class Bucket:
    """A token bucket: what one user or address has left of a rate. It may be in debt.

    Args:
        rate: at which it fills.
        now: the time in seconds; the bucket begins full.
    """

    __slots__ = ("_at", "_level", "rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self._level = float(rate.burst)
        self._at = now

    def level(self, now: float) -> float:
        """Return how much may be taken now; below 0: the debt."""
        rate = self.rate
        self._level = min(rate.burst, self._level + (now - self._at) * rate.steady)
        self._at = now
        return self._level

    def take(self, count: float, now: float) -> None:
        """Take ``count``, whether or not the bucket holds that much."""
        self._level = self.level(now) - count

    def wait(self, now: float) -> float:
        """Return the seconds until 1 may be taken; 0: now."""
        return max(0.0, (1 - self.level(now)) / self.rate.steady)


class Buckets:
    """The buckets of all users or addresses, each made at its first use.

    Args:
        rate: of each bucket. Without a limit there are no buckets.
        limit: buckets that are kept. Above it the least recently used one is dropped, and its
            user or address begins with a full bucket.
    """

    def __init__(self, rate: Rate, limit: int) -> None:
        self.rate = rate
        self._limit = limit
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()

    def get(self, key: Hashable, now: float) -> Bucket | None:
        """Return the bucket of a key; None: there is no limit."""
        if not self.rate.steady:
            return None
        buckets = self._buckets
        bucket = buckets.get(key)
        if bucket is None:
            bucket = buckets[key] = Bucket(self.rate, now)
            if len(buckets) > self._limit:
                buckets.popitem(last=False)
        else:
            buckets.move_to_end(key)
        return bucket

    def take(self, key: Hashable, now: float) -> float:
        """Take 1 if the bucket of a key holds it, and return 0; else return the seconds to wait."""
        bucket = self.get(key, now)
        if bucket is None:
            return 0.0
        wait = bucket.wait(now)
        if not wait:
            bucket.take(1, now)
        return wait

    def __len__(self) -> int:
        return len(self._buckets)


class Allowance:
    """What several buckets together allow one sender, taken from them in portions.

    Args:
        buckets: each portion is taken from all of them.
    """

    __slots__ = ("_buckets", "_portion")

    def __init__(self, buckets: tuple[Bucket, ...]) -> None:
        self._buckets = buckets
        # Large, because asking reads the clock; not larger, because an unused portion comes on
        # top of the burst.
        self._portion = min(64, *(max(1, bucket.rate.burst // 8) for bucket in buckets))

    def portion(self, spent: float, now: float) -> float:
        """Take what was spent beyond the last portion, then the next portion.

        Returns:
            The size of the next portion; 0 if the buckets do not hold 1.
        """
        for bucket in self._buckets:
            bucket.take(spent, now)
        level = min(bucket.level(now) for bucket in self._buckets)
        if level < 1:
            return 0.0
        portion = min(level, self._portion)
        for bucket in self._buckets:
            bucket.take(portion, now)
        return portion

    def give_back(self, left: float, now: float) -> None:
        """Put the rest of the last portion back; a negative rest is a debt, and is taken."""
        for bucket in self._buckets:
            bucket.take(-left, now)

    def wait(self, now: float) -> float:
        """Return the seconds until there is another portion."""
        return max(bucket.wait(now) for bucket in self._buckets)

    def rate(self, now: float) -> Rate:
        """Return the rate that limits the sender now: the one with the longest wait."""
        return max(self._buckets, key=lambda bucket: bucket.wait(now)).rate
