"""Sets of integers that are mostly consecutive, kept as ranges."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

__all__ = ["Ranges"]


class Ranges:
    """A set of integers, kept as disjoint half-open ranges.

    A range takes two numbers, however many integers are in it.

    Args:
        edges: begin and end of each range, ascending, as in :attr:`edges`.
    """

    __slots__ = ("edges",)

    def __init__(self, edges: Sequence[int] = ()) -> None:
        self.edges = list(edges)
        """Begin and end of the first range, of the second, and so on. Read only."""

    def __bool__(self) -> bool:
        return bool(self.edges)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Iterate over begin and end of each range, ascending."""
        return zip(self.edges[::2], self.edges[1::2], strict=True)

    def __contains__(self, number: int) -> bool:
        return bisect_right(self.edges, number) % 2 == 1

    @property
    def count(self) -> int:
        """How many integers are in the set."""
        edges = self.edges
        if len(edges) == 2:
            return edges[1] - edges[0]
        return sum(edges[1::2]) - sum(edges[::2])

    def append(self, begin: int, end: int) -> None:
        """Add a range that is above all integers in the set."""
        edges = self.edges
        if edges and edges[-1] == begin:
            edges[-1] = end
        else:
            edges += (begin, end)

    def add(self, begin: int, end: int) -> None:
        """Add a range, which may overlap others."""
        edges = self.edges
        if not edges or begin >= edges[-1]:
            self.append(begin, end)
            return
        # An odd index is inside a range, which then grows.
        low, high = bisect_left(edges, begin), bisect_right(edges, end)
        edges[low:high] = ([] if low % 2 else [begin]) + ([] if high % 2 else [end])

    def discard_below(self, end: int) -> None:
        """Remove all integers below ``end``."""
        edges = self.edges
        if edges and edges[-1] <= end:
            edges.clear()
            return
        index = bisect_right(edges, end)
        if index % 2:
            index -= 1
            edges[index] = end
        del edges[:index]

    def keep_highest(self, count: int) -> None:
        """Remove all integers but the ``count`` highest."""
        edges = self.edges
        for index in range(len(edges) - 2, -1, -2):
            size = edges[index + 1] - edges[index]
            if size >= count:
                self.discard_below(edges[index + 1] - count)
                return
            count -= size

    def between(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Iterate over the ranges of the integers from ``begin`` to below ``end``, ascending."""
        edges = self.edges
        for index in range(bisect_right(edges, begin) & ~1, len(edges), 2):
            if edges[index] >= end:
                return
            yield max(edges[index], begin), min(edges[index + 1], end)
