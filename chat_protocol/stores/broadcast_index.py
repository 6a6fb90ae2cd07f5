"""How many messages to everyone there are behind an offset."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["BroadcastIndex"]

K = TypeVar("K", bound=Hashable)


class BroadcastIndex(Generic[K]):
    """Counts messages to everyone in O(log n). It keeps 16 bytes for each message.

    Senders are told apart by keys of any kind.
    """

    __slots__ = ("_all", "_by_sender", "_first")

    def __init__(self) -> None:
        self._first = 0
        """Lower offsets do not count."""
        self._all = array("q")
        self._by_sender: dict[K, array[int]] = {}

    @property
    def last(self) -> int:
        """The highest offset; 0: there is none."""
        return self._all[-1] if self._all else 0

    def append(self, sender: K, begin: int, end: int) -> None:
        """Add messages with consecutive offsets, above all that were added before."""
        offsets = range(begin, end)
        self._all.extend(offsets)
        own = self._by_sender.get(sender)
        if own is None:
            own = self._by_sender[sender] = array("q")
        own.extend(offsets)

    def count(self, after: int, sender: K) -> int:
        """Return how many messages have offsets above ``after`` and are from other senders."""
        after = max(after, self._first - 1)
        own = self._by_sender.get(sender)
        return _above(self._all, after) - (_above(own, after) if own is not None else 0)

    def discard_below(self, offset: int) -> None:
        """Remove all messages with offsets below one."""
        self._first = max(self._first, offset)
        # The arrays are cut when half is removed, so that a message costs the same at any length.
        if 2 * bisect_left(self._all, self._first) > len(self._all):
            self._cut(lambda offsets: offsets[bisect_left(offsets, self._first) :])

    def discard_above(self, offset: int) -> None:
        """Remove all messages with offsets above one."""
        if self.last > offset:
            self._cut(lambda offsets: offsets[: bisect_right(offsets, offset)])

    def _cut(self, kept: Callable[[array[int]], array[int]]) -> None:
        self._all = kept(self._all)
        self._by_sender = {
            sender: rest for sender, own in self._by_sender.items() if (rest := kept(own))
        }


def _above(offsets: array[int], after: int) -> int:
    return len(offsets) - bisect_right(offsets, after)
