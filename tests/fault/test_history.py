"""What the verdict of the fault programs finds."""

from __future__ import annotations

from tests.fault.frames import Arrival
from tests.fault.history import History, Sent, verdict


def _users(codes: tuple[int, ...], *received: int, version: int = 2) -> list[History]:
    """Return a sender whose messages have these answers, and a recipient of some of them."""
    alice, bob = History("alice", 2), History("bob", version)
    for number, code in enumerate(codes, 1):
        alice.sent[number] = Sent(number, f"{number}:x", ("bob",), frozenset({"bob"}), code)
    for offset, number in enumerate(received, 1):
        bob.arrive(Arrival("alice", f"{number}:x", offset if version == 2 else 0))
    return [alice, bob]


def test_nothing_is_wrong() -> None:
    assert verdict(_users((1, 1, 3, 0), 1, 2)) == []
    assert verdict(_users((1, 0), 1, 2)) == []


def test_lost() -> None:
    assert verdict(_users((1, 1, 1), 1)) == ["alice -> bob: 2 lost: 2, 3"]


def test_refused_but_received() -> None:
    assert verdict(_users((1, 3), 1, 2)) == ["alice -> bob: 1 refused, but received: 2"]


def test_received_twice() -> None:
    assert verdict(_users((1, 1), 1, 2, 2)) == ["alice -> bob: 1 received twice: 2"]
    assert verdict(_users((1, 1), 1, 2, 1, 2, version=1)) == []


def test_out_of_order() -> None:
    assert verdict(_users((1, 1, 1), 1, 3, 2)) == ["alice -> bob: 1 out of order: 2"]
    assert verdict(_users((1, 1, 1), 1, 3, 2, version=1)) == ["alice -> bob: 1 out of order: 2"]


def test_altered_or_never_sent() -> None:
    alice, bob = _users((1,), 1, 7)
    bob.arrive(Arrival("alice", "1:y", 9))
    assert "alice -> bob: 2 altered or never sent: 7, 1" in verdict([alice, bob])
    alice.sent[1].to = ("carol",)
    assert "alice -> bob: 3 altered or never sent: 1, 7, 1" in verdict([alice, bob])


def test_offsets() -> None:
    alice, bob = _users((1, 1, 1))
    bob.arrive(Arrival("alice", "1:x", 5))
    bob.arrive(Arrival("alice", "2:x", 5))
    bob.arrive(Arrival("alice", "3:x", 4))
    faults = verdict([alice, bob])
    assert "bob: two messages have offset 5" in faults
    assert "bob: new offset 4 < 5" in faults
