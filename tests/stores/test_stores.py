"""What every store does: the promises of IStore."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from zope.interface.verify import verifyObject

from chat_protocol.domain.messages import Batch, Registration
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.users import User
from chat_protocol.wire.codes import Code
from tests.stores.conftest import MakeStore
from tests.stores.helpers import (
    commit,
    last_of,
    log_in,
    look_up,
    message,
    now,
    page,
    position,
    register,
    run,
    singles,
    texts,
)


@pytest.fixture
def store(make_store: MakeStore) -> Iterator[IStore]:
    made = make_store(5)
    now(made.open())
    yield made
    now(made.close())


def test_it_provides_the_interface(store: IStore) -> None:
    verifyObject(IStore, store)


def test_a_name_keeps_its_id(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    (again,) = register(store, "alice")
    assert again.id == alice.id != bob.id
    assert store.registered == 2


def test_names_are_told_apart_exactly(store: IStore) -> None:
    users = register(store, "alice", "Alice", "älice", "alice b")
    assert len({user.id for user in users}) == 4
    assert look_up(store, "Alice") == users[1].id
    assert look_up(store, "ALICE") == 0


def test_messages_wait_in_order_with_all_that_was_sent(store: IStore) -> None:
    alice, bob, carol = register(store, "alice", "bob", "carol")
    commit(store, run(alice, bob, "1", "2"), run(carol, bob, "3\0\n☃", time=2**64 - 1))
    commit(store, run(alice, bob, ""))
    asked = page(store, bob)
    waiting = singles(asked.entries)
    assert [(one.sender, one.time, one.text) for one in waiting] == [
        ("alice", 7, "1"),
        ("alice", 7, "2"),
        ("carol", 2**64 - 1, "3\0\n☃"),
        ("alice", 7, ""),
    ]
    offsets = [one.offset for one in waiting]
    assert offsets == sorted(set(offsets))
    assert asked.complete
    assert page(store, alice).entries == []


def test_the_answers_are_filled_in(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    stranger = User("bob")
    first, second = run(alice, stranger, "1", "2"), run(alice, bob, "3")
    commit(store, first, second)
    assert first.recipient_ids == second.recipient_ids == (bob.id,)
    assert (first.accepted, first.refusal, second.accepted) == (2, Code.OK, 1)
    assert second.offset == first.offset + 2


def test_an_unknown_recipient_is_refused_alone(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    refused, taken = run(alice, User("nobody"), "1"), run(alice, bob, "2")
    commit(store, refused, taken)
    assert (refused.accepted, refused.refusal) == (0, Code.USER_NOT_FOUND)
    assert texts(page(store, bob)) == ["2"]
    assert look_up(store, "nobody") == 0


def test_a_user_of_the_same_batch_can_be_written_to(store: IStore) -> None:
    (alice,) = register(store, "alice")
    sent = run(alice, User("bob"), "1")
    registration = Registration("bob", 1)
    now(store.commit(Batch([registration], [sent], {})))
    assert sent.accepted == 1
    assert sent.recipient_ids == (registration.user_id,)


def test_a_full_mailbox_refuses_what_is_too_much(store: IStore) -> None:
    alice, bob, carol = register(store, "alice", "bob", "carol")
    three, four, other = run(alice, bob, *"abc"), run(alice, bob, *"defg"), run(alice, carol, "x")
    commit(store, three, four, other)
    assert (three.accepted, four.accepted, other.accepted) == (3, 2, 1)
    assert four.refusal is Code.MAILBOX_FULL
    late = run(alice, bob, "h")
    commit(store, late)
    assert (late.accepted, late.refusal) == (0, Code.MAILBOX_FULL)
    asked = page(store, bob)
    assert texts(asked) == list("abcde")
    commit(store, positions=position(bob, three.offset + 1))
    again = run(alice, bob, *"ijk")
    commit(store, again)
    assert again.accepted == 2
    assert texts(page(store, bob)) == list("cdeij")


def test_without_a_limit_a_mailbox_is_never_full(make_store: MakeStore) -> None:
    store = make_store(0)
    now(store.open())
    alice, bob = register(store, "alice", "bob")
    many = run(alice, bob, *["x"] * 20_000)
    commit(store, many)
    assert many.accepted == 20_000
    now(store.close())


def test_a_message_is_in_the_mailbox_until_the_position_is_behind_it(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    first, second = run(alice, bob, *"abc"), run(alice, bob, *"de")
    commit(store, first)
    commit(store, second)
    assert second.offset >= first.offset + 3
    everything = singles(page(store, bob).entries)
    assert [one.text for one in everything] == list("abcde")
    # Whatever was delivered comes again, as it was, until the position moves.
    assert singles(page(store, bob).entries) == everything
    assert singles(page(store, bob, after=first.offset).entries) == everything[1:]
    commit(store, positions=position(bob, first.offset + 1))
    assert singles(page(store, bob).entries) == everything[2:]
    assert singles(page(store, bob, after=first.offset).entries) == everything[2:]
    commit(store, positions=position(bob, second.offset + 1))
    assert page(store, bob).entries == []


def test_a_position_is_that_of_one_user_and_can_be_stored_again(store: IStore) -> None:
    alice, bob, carol = register(store, "alice", "bob", "carol")
    first, second = run(alice, bob, "1", "2"), run(alice, carol, "3")
    commit(store, first, second)
    for _ in range(2):
        commit(store, positions=position(bob, second.offset))
        assert page(store, bob).entries == []
        assert texts(page(store, carol)) == ["3"]


def test_a_position_never_moves_back(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    own, everyones = run(alice, bob, "1", "2"), message(alice, "3", "4", "5")
    commit(store, own, everyones)
    for offset, left in (
        (own.offset, ["2", "3", "4", "5"]),
        (everyones.offset + 1, ["5"]),
        (own.offset, ["5"]),
        (everyones.offset, ["5"]),
        (1, ["5"]),
    ):
        commit(store, positions=position(bob, offset))
        assert texts(page(store, bob)) == left
    more = run(alice, bob, "6")
    commit(store, more, positions=position(bob, own.offset))
    assert texts(page(store, bob)) == ["5", "6"]


def test_a_position_makes_room_for_the_messages_of_its_batch(store: IStore) -> None:
    alice, bob, carol = register(store, "alice", "bob", "carol")
    full = run(alice, bob, *"12345")
    commit(store, full, message(carol, "to all"))
    refused = run(alice, bob, "6")
    commit(store, refused)
    assert (refused.accepted, refused.refusal) == (0, Code.MAILBOX_FULL)
    again, other = run(alice, bob, "7", "8", "9"), run(bob, carol, "10")
    commit(store, again, other, positions=position(bob, full.offset + 1))
    assert (again.accepted, again.refusal) == (2, Code.MAILBOX_FULL)
    assert texts(page(store, bob)) == ["3", "4", "5", "to all", "7", "8"]
    assert texts(page(store, carol)) == ["10"]
    commit(store, run(alice, bob, "11"), positions=position(bob, full.offset + 4))
    assert texts(page(store, bob)) == ["to all", "7", "8", "11"]


def test_the_device_that_sent_a_message_is_stored(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    log_in(store, alice, "phone", "laptop")
    log_in(store, bob, "phone")
    commit(
        store,
        message(alice, "1", to=(bob,), device="phone"),
        message(alice, "2", to=(bob,)),
        message(alice, "3", "4", to=(bob, alice), device="laptop"),
        message(bob, "5", to=(bob,), device="phone"),
    )
    assert [(one.text, one.device) for one in singles(page(store, bob).entries)] == [
        ("1", "phone"),
        ("2", ""),
        ("3", "laptop"),
        ("4", "laptop"),
        ("5", "phone"),
    ]


def test_a_page_ends_with_its_limits_and_says_whether_more_follows(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "aaaa", "bbbb", "cccc"))
    two = page(store, bob, messages=2)
    assert (texts(two), two.complete) == (["aaaa", "bbbb"], False)
    rest = page(store, bob, after=last_of(two), messages=2)
    assert (texts(rest), rest.complete) == (["cccc"], True)
    exact = page(store, bob, messages=3)
    assert (exact.count, exact.complete) == (3, True)
    by_size = page(store, bob, size=60)
    assert (texts(by_size), by_size.complete) == (["aaaa", "bbbb"], False)
    one = page(store, bob, size=1)
    assert (texts(one), one.complete) == (["aaaa"], False)
    none = page(store, bob, after=last_of(rest))
    assert (texts(none), none.complete) == ([], True)
