"""How often something may happen: token buckets that need no timer, in maps that stay small."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

__all__ = ["Allowance", "Bucket", "Buckets", "Rate", "address_of"]


class Rate(NamedTuple):
    """So often a second in the long run, and at once so often after a rest."""

    steady: float
    """A second; 0: there is no limit."""
    burst: int

    def __str__(self) -> str:
        return f"{self.steady:g} a second, {self.burst} at once" if self.steady else "none"


class Bucket:
    """What one user or address has left of a rate; it may be in debt."""

    __slots__ = ("_at", "_level", "rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self._level = float(rate.burst)
        self._at = now

    def level(self, now: float) -> float:
        """How much may be taken now; below 0, the debt."""
        rate = self.rate
        self._level = min(rate.burst, self._level + (now - self._at) * rate.steady)
        self._at = now
        return self._level

    def take(self, count: float, now: float) -> None:
        """Take so much, whether it is there or not."""
        self._level = self.level(now) - count

    def wait(self, now: float) -> float:
        """Seconds until 1 may be taken; 0: now."""
        return max(0.0, (1 - self.level(now)) / self.rate.steady)


class Buckets:
    """The buckets of many, each made when it is needed first.

    Args:
        rate: of each; if it is none, there are no buckets.
        limit: so many are kept; past it the one that was asked for longest ago is forgotten, and
            whose it was begins anew.
    """

    def __init__(self, rate: Rate, limit: int) -> None:
        self.rate = rate
        self._limit = limit
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()

    def get(self, key: Hashable, now: float) -> Bucket | None:
        """The bucket of one; None: there is no limit."""
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
        """Take 1 if it is there; seconds to wait if it is not, and else 0."""
        bucket = self.get(key, now)
        if bucket is None:
            return 0.0
        wait = bucket.wait(now)
        if not wait:
            bucket.take(1, now)
        return wait

    def __len__(self) -> int:
        return len(self._buckets)


def address_of(host: str) -> str:
    """Whose share an address has: for IPv6 its /64, which is as a rule one customer's.

    Empty for this machine's own and where there is none, as on UNIX sockets: whoever is there
    stands for many, such as a proxy, or has other means to do harm.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        if mapped is None:
            return "" if address.is_loopback else str(IPv6Address(int(address) >> 64 << 64)) + "/64"
        address = mapped
    return "" if address.is_loopback else str(address)


class Allowance:
    """What several buckets together allow one sender, handed out in portions.

    Args:
        buckets: each of them is taken from.
    """

    __slots__ = ("_buckets", "_portion")

    def __init__(self, buckets: tuple[Bucket, ...]) -> None:
        self._buckets = buckets
        # Large enough to be asked for seldom; what of it lies idle comes on top of the burst.
        self._portion = min(64, *(max(1, bucket.rate.burst // 8) for bucket in buckets))

    def portion(self, spent: float, now: float) -> float:
        """Take what was spent beyond the last portion, and the next one: that much, or 0."""
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
        """So much of the last portion is not needed, or is owed."""
        for bucket in self._buckets:
            bucket.take(-left, now)

    def wait(self, now: float) -> float:
        """Seconds until there is another."""
        return max(bucket.wait(now) for bucket in self._buckets)

    def rate(self, now: float) -> Rate:
        """The one that is met."""
        return max(self._buckets, key=lambda bucket: bucket.wait(now)).rate
