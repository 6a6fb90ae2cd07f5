"""What every store does with publications, conversations, accounts and lists of users."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chat_protocol.domain.batch import (
    Batch,
    Conversation,
    Registration,
    UserList,
)
from chat_protocol.domain.directory import User
from chat_protocol.interfaces import IStore
from chat_protocol.wire.codes import Code
from tests.stores.conftest import MakeStore
from tests.stores.helpers import (
    account,
    commit,
    conversation,
    now,
    page,
    publication,
    publish,
    register,
    run,
    texts,
)


@pytest.fixture
def store(make_store: MakeStore) -> Iterator[IStore]:
    made = make_store(5)
    now(made.open())
    yield made
    now(made.close())


def test_a_message_to_several_has_one_number_and_its_recipients(store: IStore) -> None:
    alice, bob, carol = register(store, "alice", "bob", "carol")
    sent = publication(alice, "", carol, bob, time=2**64 - 1)
    publish(store, sent)
    (to_bob,), (to_carol,) = page(store, bob).messages, page(store, carol).messages
    assert to_bob == to_carol
    assert to_bob.offset == sent.offset > 0
    assert (to_bob.sender, to_bob.time, to_bob.text) == ("alice", 2**64 - 1, b"")
    assert (to_bob.scope, to_bob.to) == (0, ("carol", "bob"))


def test_a_message_of_version_1_has_its_recipient_too(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "hi"))
    assert page(store, bob).messages[0].to == ("bob",)


def test_one_refused_recipient_refuses_it_for_all(store: IStore) -> None:
    alice, bob, carol = register(store, "alice", "bob", "carol")
    commit(store, run(alice, carol, *"12345"))
    unknown = publication(alice, "x", bob, User("nobody"))
    full = publication(alice, "y", bob, carol)
    good = publication(alice, "z", bob)
    publish(store, unknown, full, good)
    assert (unknown.refusal, unknown.offset) == (Code.USER_NOT_FOUND, 0)
    assert "nobody" in unknown.detail
    assert (full.refusal, full.offset) == (Code.MAILBOX_FULL, 0)
    assert "carol" in full.detail
    assert texts(page(store, bob)) == ["z"]


def test_an_id_is_stored_once_and_a_refused_one_is_new(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    carol = User("carol")
    publish(
        store,
        publication(alice, "refused", carol, id_=1),
        publication(alice, "a", bob, id_=2),
        publication(alice, "a", bob, id_=2),
        publication(alice, "b", bob, id_=2**64 - 1),
        publication(bob, "c", alice, id_=2),
    )
    publish(store, publication(alice, "a", bob, id_=2), publication(alice, "b", bob, id_=2**64 - 1))
    register(store, "carol")
    publish(store, publication(alice, "again", carol, bob, id_=1))
    assert texts(page(store, bob)) == ["a", "b", "again"]
    assert texts(page(store, alice)) == ["c"]
    assert account(store, alice) == (2**64 - 1, 1)
    assert account(store, bob) == (2, 3)


def test_at_least_a_thousand_ids_are_looked_back_on(make_store: MakeStore) -> None:
    store = make_store(0)
    now(store.open())
    alice, bob = register(store, "alice", "bob")
    total = 4500
    for start in range(1, total, 500):
        publish(store, *(publication(alice, str(n), bob, id_=n) for n in range(start, start + 500)))
    again = [publication(alice, "again", bob, id_=n) for n in range(total - 999, total + 1)]
    publish(store, *again)
    assert {one.offset for one in again} == {0}
    now(store.close())


def test_to_everyone_is_for_those_registered_before(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    publish(store, publication(alice, "first"))
    (carol,) = register(store, "carol")
    commit(store, run(alice, bob, "own"))
    publish(store, publication(bob, "second"))
    assert texts(page(store, bob)) == ["first", "own"]
    assert texts(page(store, alice)) == ["second"]
    assert texts(page(store, carol)) == ["second"]
    assert [account(store, user)[1] for user in (alice, bob, carol)] == [1, 2, 1]
    first, own = page(store, bob).messages
    commit(store, taken={bob.id: first.offset})
    assert texts(page(store, bob)) == ["own"]
    commit(store, taken={bob.id: own.offset})
    assert texts(page(store, bob)) == []
    publish(store, publication(alice, "third"))
    assert texts(page(store, bob)) == ["third"]
    assert texts(page(store, carol, after=0)) == ["second", "third"]


def test_to_everyone_of_the_batch_in_which_one_registers(store: IStore) -> None:
    (alice,) = register(store, "alice")
    registration = Registration("bob", 1)
    now(store.commit(Batch([registration], [publication(alice, "hi")], [], {})))
    (bob,) = register(store, "bob")
    assert texts(page(store, bob)) == ["hi"]


def test_pages_mix_own_and_everyones_in_order(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    for number in range(3):
        commit(store, run(alice, bob, f"own {number}"))
        publish(store, publication(alice, f"all {number}"))
    found = []
    after = 0
    while True:
        asked = page(store, bob, after=after, messages=2)
        found += texts(asked)
        if asked.complete:
            break
        after = asked.messages[-1].offset
    assert found == ["own 0", "all 0", "own 1", "all 1", "own 2", "all 2"]


def test_to_everyone_fills_no_mailbox(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    publish(store, *(publication(alice, str(n)) for n in range(20)))
    more = run(alice, bob, *"abcde")
    commit(store, more)
    assert more.accepted == 5


def test_conversations(store: IStore) -> None:
    alice, bob, carol = register(store, "alice", "bob", "carol")
    commit(store, run(alice, bob, "1", "2", "3", live=True), run(bob, alice, "4"))
    publish(store, publication(alice, "5", bob, carol), publication(carol, "6"))
    commit(store, run(carol, alice, "7"), run(carol, bob, "8"), run(alice, alice, "9"))
    assert conversation(store, alice, bob) == conversation(store, bob, alice) == list("12345")
    assert conversation(store, alice, carol) == ["5", "6", "7"]
    assert conversation(store, bob, carol) == ["6", "8"]
    assert conversation(store, alice, None) == list("12345679")
    assert conversation(store, carol, None) == list("5678")
    assert conversation(store, alice, alice) == ["9"]
    offsets = {
        message.text: message.offset
        for user in (alice, bob)
        for message in page(store, user).messages
    }
    four = offsets[b"4"]
    assert conversation(store, alice, bob, before=four) == ["1", "2", "3"]
    assert conversation(store, alice, bob, before=four - 1) == ["1", "2"]
    assert conversation(store, alice, bob, before=four - 1, limit=1) == ["2"]
    assert conversation(store, alice, None, limit=2) == ["7", "9"]
    assert conversation(store, alice, bob, before=2**64 - 1, limit=2) == ["4", "5"]


def test_a_conversation_paged_through_is_whole(make_store: MakeStore) -> None:
    store = make_store(0)
    now(store.open())
    alice, bob, carol = register(store, "alice", "bob", "carol")
    expected = []
    for number in range(40):
        batch = [f"{number}.{n}" for n in range(number % 7 + 1)]
        commit(store, run(*((alice, bob) if number % 2 else (bob, alice)), *batch))
        commit(store, run(carol, alice, "noise"))
        expected += batch
    found: list[str] = []
    before = 0
    while True:
        asked = Conversation(alice.id, bob.id, before, 9, 1 << 20)
        now(store.read([asked]))
        if not asked.messages:
            break
        before = asked.messages[0].offset
        found = [message.text.decode() for message in asked.messages] + found
    assert found == expected
    now(store.close())


def test_an_answer_of_large_messages_ends_early_with_the_newest(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, *(letter * 1000 for letter in "abc")))
    asked = Conversation(alice.id, bob.id, 0, 10, 2500)
    now(store.read([asked]))
    assert [message.text[:1] for message in asked.messages] == [b"b", b"c"]
    asked = Conversation(alice.id, bob.id, 0, 10, 1)
    now(store.read([asked]))
    assert [message.text[:1] for message in asked.messages] == [b"c"]


def test_users_are_in_the_order_of_their_bytes(store: IStore) -> None:
    register(store, "b", "Z", "ä", "a", "\U0001f600", "\uffee")
    asked = UserList("", 10)
    now(store.read([asked]))
    names = [name for name, _ in asked.users]
    assert names == sorted(names, key=lambda name: name.encode())
    assert asked.users[0] == ("Z", 1001)
    asked = UserList("b", 2)
    now(store.read([asked]))
    assert [name for name, _ in asked.users] == ["ä", "\uffee"]


# Publishes that come as a run.


def test_the_ids_of_a_run_are_remembered(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "a", "b", "c", id_=5))
    assert account(store, alice) == (7, 0)
    publish(store, *(publication(alice, "again", bob, id_=n) for n in (5, 6, 7)))
    publish(store, publication(alice, "d", bob, id_=4), publication(alice, "e", bob, id_=8))
    assert texts(page(store, bob)) == ["a", "b", "c", "d", "e"]
    assert conversation(store, alice, bob) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("live", [False, True])
def test_the_ids_of_a_run_past_the_mailbox_are_remembered(store: IStore, live: bool) -> None:
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "a", "b", id_=1, live=live))
    publish(store, publication(alice, "again", bob, id_=2))
    assert len(page(store, bob).messages) == (0 if live else 2)
    assert account(store, alice) == (2, 0)


def test_of_a_run_that_does_not_fit_only_what_is_stored_has_its_id(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    sent = run(alice, bob, *"1234567", id_=1)
    commit(store, sent)
    assert (sent.accepted, sent.refusal) == (5, Code.MAILBOX_FULL)
    assert "bob" in sent.detail
    assert account(store, alice) == (5, 0)
    commit(store, taken={bob.id: sent.offset + 4})
    publish(store, *(publication(alice, str(n), bob, id_=n) for n in (5, 6, 7)))
    assert texts(page(store, bob)) == ["6", "7"]


def test_a_run_to_nobody_says_so(store: IStore) -> None:
    (alice,) = register(store, "alice")
    sent = run(alice, User("nobody"), "hi", id_=1)
    commit(store, sent)
    assert (sent.accepted, sent.refusal) == (0, Code.USER_NOT_FOUND)
    assert "nobody" in sent.detail
    assert account(store, alice) == (0, 0)
