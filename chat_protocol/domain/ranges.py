"""Sets of integers that mostly follow each other, kept as the ranges that they are."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

__all__ = ["Ranges"]


class Ranges:
    """A set of integers as disjoint half-open ranges: two numbers each, however long they are.

    Args:
        edges: begin and end of each range, ascending, as :attr:`edges` gives them.
    """

    __slots__ = ("edges",)

    def __init__(self, edges: Sequence[int] = ()) -> None:
        self.edges = list(edges)
        """Begin and end of the first range, of the second, ...; to be read only."""

    def __bool__(self) -> bool:
        return bool(self.edges)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Begin and end of each range."""
        return zip(self.edges[::2], self.edges[1::2], strict=True)

    def __contains__(self, number: int) -> bool:
        return bisect_right(self.edges, number) % 2 == 1

    @property
    def count(self) -> int:
        """How many numbers."""
        edges = self.edges
        return sum(edges[1::2]) - sum(edges[::2])

    def append(self, begin: int, end: int) -> None:
        """Add a range of which nothing is there, and which is above all that is."""
        edges = self.edges
        if edges and edges[-1] == begin:
            edges[-1] = end
        else:
            edges += (begin, end)

    def add(self, begin: int, end: int) -> None:
        """Add a range, wherever it belongs."""
        edges = self.edges
        if not edges or begin >= edges[-1]:
            self.append(begin, end)
            return
        # Odd: inside a range, which then grows instead.
        low, high = bisect_left(edges, begin), bisect_right(edges, end)
        edges[low:high] = ([] if low % 2 else [begin]) + ([] if high % 2 else [end])

    def discard_below(self, end: int) -> None:
        """Remove all numbers below one."""
        edges = self.edges
        index = bisect_right(edges, end)
        if index % 2:
            index -= 1
            edges[index] = end
        del edges[:index]

    def keep_highest(self, count: int) -> None:
        """Remove all but so many numbers."""
        edges = self.edges
        for index in range(len(edges) - 2, -1, -2):
            size = edges[index + 1] - edges[index]
            if size >= count:
                self.discard_below(edges[index + 1] - count)
                return
            count -= size

    def between(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """What is in both this and a range, as ranges, ascending."""
        edges = self.edges
        for index in range(bisect_right(edges, begin) & ~1, len(edges), 2):
            if edges[index] >= end:
                return
            yield max(edges[index], begin), min(edges[index + 1], end)
