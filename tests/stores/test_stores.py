"""What every store does: the promises of IStore."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from zope.interface.verify import verifyObject

from chat_protocol.domain.batch import Batch, Registration
from chat_protocol.domain.directory import User
from chat_protocol.domain.stored import Waiting
from chat_protocol.interfaces import IStore
from chat_protocol.wire.codes import Code
from tests.stores.conftest import MakeStore
from tests.stores.helpers import commit, look_up, now, page, register, run, texts


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
    assert [(m.sender, m.time, m.text.decode()) for m in asked.messages] == [
        ("alice", 7, "1"),
        ("alice", 7, "2"),
        ("carol", 2**64 - 1, "3\0\n☃"),
        ("alice", 7, ""),
    ]
    offsets = [message.offset for message in asked.messages]
    assert offsets == sorted(set(offsets))
    assert asked.complete
    assert page(store, alice).messages == []


def test_the_answers_are_filled_in(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    stranger = User("bob")
    first, second = run(alice, stranger, "1", "2"), run(alice, bob, "3")
    commit(store, first, second)
    assert first.recipient_id == bob.id
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
    message = run(alice, User("bob"), "1")
    registration = Registration("bob", 1)
    now(store.commit(Batch([registration], [message], [], {})))
    assert message.accepted == 1
    assert message.recipient_id == registration.user_id


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
    commit(store, taken={bob.id: asked.messages[1].offset})
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


def test_what_is_delivered_at_once_enters_no_mailbox(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    live = run(alice, bob, *"abcdefgh", live=True)
    commit(store, live)
    assert live.accepted == 8
    assert page(store, bob).messages == []
    waiting = run(alice, bob, "i")
    commit(store, waiting)
    assert waiting.offset >= live.offset + 8


def test_taking_is_for_one_user_and_can_be_repeated(store: IStore) -> None:
    alice, bob, carol = register(store, "alice", "bob", "carol")
    first, second = run(alice, bob, "1", "2"), run(alice, carol, "3")
    commit(store, first, second)
    for _ in range(2):
        commit(store, taken={bob.id: second.offset})
        assert page(store, bob).messages == []
        assert texts(page(store, carol)) == ["3"]


def test_what_is_given_back_stands_in_its_place_once(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    live = run(alice, bob, "1", "2", live=True)
    commit(store, live)
    commit(store, run(alice, bob, "3"))
    back = [Waiting(bob.id, message) for message in live.stored().messages()]
    for _ in range(2):
        commit(store, returned=back)
        assert texts(page(store, bob)) == ["1", "2", "3"]


def test_taking_comes_after_giving_back(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    live = run(alice, bob, "1", "2", live=True)
    commit(store, live)
    back = [Waiting(bob.id, message) for message in live.stored().messages()]
    commit(store, returned=back, taken={bob.id: live.offset})
    assert texts(page(store, bob)) == ["2"]


def test_a_page_ends_with_its_limits_and_says_whether_more_follows(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "aaaa", "bbbb", "cccc"))
    two = page(store, bob, messages=2)
    assert (texts(two), two.complete) == (["aaaa", "bbbb"], False)
    rest = page(store, bob, after=two.messages[-1].offset, messages=2)
    assert (texts(rest), rest.complete) == (["cccc"], True)
    exact = page(store, bob, messages=3)
    assert (len(exact.messages), exact.complete) == (3, True)
    by_size = page(store, bob, size=100)
    assert (texts(by_size), by_size.complete) == (["aaaa", "bbbb"], False)
    one = page(store, bob, size=1)
    assert (texts(one), one.complete) == (["aaaa"], False)
    none = page(store, bob, after=rest.messages[-1].offset)
    assert (texts(none), none.complete) == ([], True)
