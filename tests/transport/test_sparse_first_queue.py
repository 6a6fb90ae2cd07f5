"""A queue in which keys that ask for little come first."""

from __future__ import annotations

import pytest

from chat_protocol.transport import sparse_first_queue
from chat_protocol.transport.sparse_first_queue import SparseFirstQueue


@pytest.fixture
def queue() -> SparseFirstQueue[str]:
    return SparseFirstQueue(100)


def pop_all(queue: SparseFirstQueue[str]) -> list[str]:
    popped = []
    while queue:
        popped.append(queue.pop())
    return popped


def test_who_asks_for_little_does_not_wait_for_who_asks_for_much(
    queue: SparseFirstQueue[str],
) -> None:
    for name in "abcdefgh":
        queue.push(name, name, 1000)
    queue.push("little", "little", 1)
    assert pop_all(queue) == ["little", *"abcdefgh"]


def test_one_at_a_time_is_served_at_once_as_long_as_the_credit_lasts(
    queue: SparseFirstQueue[str],
) -> None:
    waits = []
    for name in "abcdefgh":
        queue.push(name, name, 1000)
    for _ in range(8):
        queue.push("little", "little", 30)
        wait = 0
        while (popped := queue.pop()) != "little":
            queue.push(popped, popped, 1000)
            wait += 1
        waits.append(wait)
    # Three times 30 of 100, then behind the eight others, then again.
    assert waits == [0, 0, 0, 8, 0, 0, 0, 8]


def test_keys_without_credit_are_served_in_turn(queue: SparseFirstQueue[str]) -> None:
    for item in ("a1", "a2", "a3", "b1", "c1"):
        queue.push(item[0], item, 1000)
    assert pop_all(queue) == ["a1", "b1", "c1", "a2", "a3"]


def test_sparse_keys_are_served_in_turn(queue: SparseFirstQueue[str]) -> None:
    for item in ("a1", "a2", "a3", "b1", "c1"):
        queue.push(item[0], item, 1)
    assert pop_all(queue) == ["a1", "b1", "c1", "a2", "a3"]


def test_many_who_ask_for_little_do_not_stop_the_others(queue: SparseFirstQueue[str]) -> None:
    for name in "abcdefg":
        queue.push(name, name, 1)
    queue.push("much", "much", 1000)
    assert pop_all(queue) == ["a", "b", "c", "much", "d", "e", "f", "g"]


def test_the_keys_that_are_remembered_are_bounded(
    queue: SparseFirstQueue[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse_first_queue, "_KEYS", 10)
    for number in range(100):
        queue.push(number, "x", 1)
        assert len(queue._credits) <= 10
    assert len(pop_all(queue)) == 100


def test_an_empty_queue_has_nothing(queue: SparseFirstQueue[str]) -> None:
    assert not queue
    with pytest.raises(IndexError):
        queue.pop()
