"""Ranges against a plain set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.domain.ranges import Ranges

NUMBERS = st.integers(0, 30)
CHANGES = st.lists(
    st.tuples(st.sampled_from(["add", "discard_below", "keep_highest"]), NUMBERS, st.integers(1, 9))
)


def numbers(ranges: Ranges) -> list[int]:
    return [number for begin, end in ranges for number in range(begin, end)]


@given(CHANGES, NUMBERS, NUMBERS)
def test_it_is_a_set(changes: list[tuple[str, int, int]], low: int, high: int) -> None:
    ranges, plain = Ranges(), set[int]()
    for change, begin, size in changes:
        if change == "add":
            ranges.add(begin, begin + size)
            plain.update(range(begin, begin + size))
        elif change == "keep_highest":
            ranges.keep_highest(size)
            plain = set(sorted(plain)[-size:])
        else:
            ranges.discard_below(begin)
            plain = {number for number in plain if number >= begin}
        assert numbers(ranges) == sorted(plain)
        assert ranges.edges == sorted(set(ranges.edges)), "ranges that touch are one"
    assert ranges.count == len(plain)
    assert bool(ranges) == bool(plain)
    assert {number for number in range(50) if number in ranges} == plain
    inside = [n for begin, end in ranges.between(low, high) for n in range(begin, end)]
    assert inside == sorted(number for number in plain if low <= number < high)
    assert numbers(Ranges(ranges.edges)) == numbers(ranges)


def test_what_follows_is_one_range() -> None:
    ranges = Ranges()
    ranges.append(1, 5)
    ranges.append(5, 7)
    ranges.append(9, 10)
    assert ranges.edges == [1, 7, 9, 10]
