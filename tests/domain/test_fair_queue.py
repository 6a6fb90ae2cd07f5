"""A queue that serves keys in turn."""

from __future__ import annotations

import pytest

from chat_protocol.domain.fair_queue import FairQueue


def test_the_items_of_one_key_come_in_order() -> None:
    queue: FairQueue[int] = FairQueue()
    for item in range(3):
        queue.push("key", item)
    assert [queue.pop() for _ in range(3)] == [0, 1, 2]
    assert not queue


def test_keys_are_served_in_turn() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
        queue.push(item[0], item)
    assert [queue.pop() for _ in range(7)] == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


def test_an_empty_queue_has_nothing() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.push("key", 1)
    queue.clear()
    with pytest.raises(IndexError):
        queue.pop()
