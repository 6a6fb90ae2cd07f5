"""What every store does with audiences, publishing ids, conversations, accounts and user lists."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chat_protocol.domain.admission import (
    MAX_FIRST_PUBLISHING_ID,
    MAX_PUBLISHING_ID_STEP,
)
from chat_protocol.domain.messages import Batch, Registration
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.queries import Conversation, UserList
from chat_protocol.domain.users import User
from chat_protocol.wire.codes import Code
from tests.stores.conftest import MakeStore
from tests.stores.helpers import (
    account,
    commit,
    conversation,
    last_of,
    log_in,
    message,
    now,
    page,
    position,
    publication,
    publish,
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


def test_a_message_to_several_has_one_number_and_its_recipients(store: IStore) -> None:
    alice, bob, carol = register(store, "alice", "bob", "carol")
    sent = publication(alice, "", carol, bob, time=2**64 - 1)
    publish(store, sent)
    (to_bob,), (to_carol,) = (singles(page(store, one).entries) for one in (bob, carol))
    assert to_bob == to_carol
    assert to_bob.offset == sent.offset > 0
    assert (to_bob.sender, to_bob.time, to_bob.text) == ("alice", 2**64 - 1, "")
    assert (to_bob.scope, to_bob.to) == (0, ("carol", "bob"))


def test_a_message_of_version_1_has_its_recipient_too(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "hi"))
    assert page(store, bob).entries[0].to == ("bob",)


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


def test_messages_to_several_are_accepted_as_far_as_every_mailbox_has_room(store: IStore) -> None:
    alice, bob, carol = register(store, "alice", "bob", "carol")
    commit(store, run(alice, carol, "1", "2", "3"))
    sent = message(alice, "4", "5", "6", to=(bob, carol))
    none = message(alice, "7", "8", to=(bob, carol))
    fits = message(alice, "9", "10", "11", to=(bob, alice))
    commit(store, sent, none, fits)
    assert (sent.accepted, sent.refusal) == (2, Code.MAILBOX_FULL)
    assert "carol" in sent.detail
    assert sent.recipient_ids == (bob.id, carol.id)
    assert (none.accepted, none.refusal, none.offset) == (0, Code.MAILBOX_FULL, 0)
    assert (fits.accepted, fits.refusal, fits.detail) == (3, Code.OK, "")
    waiting = singles(page(store, bob).entries)
    assert [one.text for one in waiting] == ["4", "5", "9", "10", "11"]
    assert [one.offset for one in waiting[:2]] == [sent.offset, sent.offset + 1]
    assert {one.to for one in waiting} == {("bob", "carol"), ("bob", "alice")}
    assert texts(page(store, carol)) == ["1", "2", "3", "4", "5"]
    assert texts(page(store, alice)) == ["9", "10", "11"]
    assert conversation(store, bob, alice) == ["4", "5", "9", "10", "11"]
    assert conversation(store, alice, None) == ["1", "2", "3", "4", "5", "9", "10", "11"]


def test_a_page_can_begin_and_end_within_messages_to_several(store: IStore) -> None:
    alice, bob, carol = register(store, "alice", "bob", "carol")
    sent = message(alice, *"abcde", to=(bob, carol))
    commit(store, sent)
    first = page(store, bob, messages=2)
    assert (texts(first), first.complete) == (["a", "b"], False)
    second = page(store, bob, after=last_of(first), messages=2)
    assert (texts(second), second.complete) == (["c", "d"], False)
    commit(store, positions=position(bob, sent.offset + 3))
    assert texts(page(store, bob)) == ["e"]
    assert texts(page(store, carol)) == list("abcde")
    assert conversation(store, carol, alice, before=sent.offset + 3, limit=2) == ["b", "c"]


# Publishing ids.


def test_an_id_is_stored_once_and_a_refused_one_never_later_than_a_higher_one(
    store: IStore,
) -> None:
    alice, bob = register(store, "alice", "bob")
    carol = User("carol")
    refused, stored = publication(alice, "1", carol, id_=1), publication(alice, "2", bob, id_=2)
    again, other = publication(alice, "2", bob, id_=2), publication(bob, "c", alice, id_=2)
    publish(store, refused, stored, again, other)
    assert (refused.accepted, refused.refusal) == (0, Code.USER_NOT_FOUND)
    assert (stored.accepted, stored.refusal) == (1, Code.OK)
    assert (again.accepted, again.refusal, again.offset) == (1, Code.OK, 0)
    register(store, "carol")
    late = [publication(alice, "1", carol, id_=1) for _ in range(2)]
    again = publication(alice, "2", bob, id_=2)
    publish(store, late[0], again)
    publish(store, late[1], publication(alice, "3", bob, id_=3))
    for one in late:
        assert (one.accepted, one.refusal, one.offset) == (0, Code.OUT_OF_ORDER, 0)
        assert one.detail == "publishingId 1 was not stored, but 2 was"
    assert (again.accepted, again.refusal, again.offset) == (1, Code.OK, 0)
    assert texts(page(store, bob)) == ["2", "3"]
    assert texts(page(store, alice)) == ["c"]
    assert conversation(store, alice, None) == ["2", "c", "3"]
    assert account(store, alice) == (3, 1)
    assert account(store, bob) == (2, 2)


def test_a_refused_id_can_be_stored_while_no_higher_one_is(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    publish(store, publication(alice, "x", User("carol"), id_=7))
    (carol,) = register(store, "carol")
    again = publication(alice, "x", carol, id_=7)
    publish(store, again, publication(alice, "y", bob, id_=8))
    assert (again.accepted, again.refusal) == (1, Code.OK)
    assert texts(page(store, carol)) == ["x"]


def test_at_least_a_thousand_ids_are_looked_back_on(make_store: MakeStore) -> None:
    store = make_store(0)
    now(store.open())
    alice, bob = register(store, "alice", "bob")
    total = 9000
    for start in range(3, total, 1000):
        sent = (publication(alice, str(n), bob, id_=n) for n in range(start, start + 500))
        publish(store, *sent)
        commit(store, run(alice, bob, *("x" for _ in range(500)), id_=start + 500))
    highest = account(store, alice)[0]
    again = [publication(alice, "again", bob, id_=n) for n in range(highest - 999, highest + 1)]
    publish(store, *again)
    assert {(one.offset, one.accepted, one.refusal) for one in again} == {(0, 1, Code.OK)}
    below = [publication(alice, "too late", bob, id_=n) for n in (1, 3)]
    publish(store, *below)
    for one in below:
        assert (one.accepted, one.refusal, one.offset) == (0, Code.OUT_OF_ORDER, 0)
        assert one.detail.endswith("whether it was stored is not known")
    new = publication(alice, "new", bob, id_=highest + 1)
    publish(store, new)
    assert new.offset
    now(store.close())


def test_ids_have_bounds(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")

    def outcome(*sent: str, id_: int) -> tuple[int, Code, str]:
        one = run(alice, bob, *sent, id_=id_)
        commit(store, one)
        assert bool(one.offset) is bool(one.accepted)
        return one.accepted, one.refusal, one.detail

    first = MAX_FIRST_PUBLISHING_ID
    assert outcome("no", id_=first + 1) == (
        0,
        Code.MALFORMED,
        f"publishingId: at most {first} can follow 0",
    )
    assert outcome("no", id_=2**64 - 1)[:2] == (0, Code.MALFORMED)
    assert account(store, alice) == (0, 0)
    assert outcome("1", "2", "no", id_=first - 1)[:2] == (2, Code.MALFORMED)
    step = MAX_PUBLISHING_ID_STEP
    assert outcome("no", id_=first + step + 1)[:2] == (0, Code.MALFORMED)
    assert outcome("3", id_=first + step)[:2] == (1, Code.OK)
    assert account(store, alice) == (first + step, 0)
    assert texts(page(store, bob)) == ["1", "2", "3"]


def test_each_device_has_ids_of_its_own(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    log_in(store, alice, "phone", "laptop")
    sent = [
        message(alice, device or "unnamed", to=(bob,), id_=id_, device=device)
        for device, id_ in (("phone", 9), ("", 4), ("laptop", 1), ("phone", 9), ("", 4))
    ]
    commit(store, *sent)
    assert [bool(one.offset) for one in sent] == [True, True, True, False, False]
    assert texts(page(store, bob)) == ["phone", "unnamed", "laptop"]
    assert account(store, alice)[0] == 4
    late = message(alice, "x", to=(bob,), id_=8, device="phone")
    more = message(alice, "y", to=(bob,), id_=5)
    commit(store, late, more)
    assert (late.refusal, more.refusal) == (Code.OUT_OF_ORDER, Code.OK)


# Messages to everyone.


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
    first, own = page(store, bob).entries
    commit(store, positions=position(bob, first.offset))
    assert texts(page(store, bob)) == ["own"]
    commit(store, positions=position(bob, own.offset))
    assert texts(page(store, bob)) == []
    publish(store, publication(alice, "third"))
    assert texts(page(store, bob)) == ["third"]
    assert texts(page(store, carol, after=0)) == ["second", "third"]


def test_to_everyone_of_the_batch_in_which_one_registers(store: IStore) -> None:
    (alice,) = register(store, "alice")
    registration = Registration("bob", 1)
    now(store.commit(Batch([registration], [publication(alice, "hi")], {})))
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
        after = last_of(asked)
    assert found == ["own 0", "all 0", "own 1", "all 1", "own 2", "all 2"]


def test_several_messages_to_everyone_come_as_one(store: IStore) -> None:
    alice, bob, carol = register(store, "alice", "bob", "carol")
    sent = message(alice, "1", "2", "3", id_=5)
    commit(store, sent)
    assert (sent.accepted, sent.recipient_ids) == (3, ())
    for user in (bob, carol):
        waiting = singles(page(store, user).entries)
        assert [(one.text, one.offset - sent.offset) for one in waiting] == [
            ("1", 0),
            ("2", 1),
            ("3", 2),
        ]
        assert {(one.scope, one.to) for one in waiting} == {(1, ())}
    assert page(store, alice).entries == []
    assert account(store, alice) == (7, 0)
    assert account(store, bob) == (0, 3)
    two = page(store, bob, messages=2)
    assert (texts(two), two.complete) == (["1", "2"], False)
    rest = page(store, bob, after=last_of(two), messages=2)
    assert (texts(rest), rest.complete) == (["3"], True)
    commit(store, positions=position(bob, sent.offset))
    assert texts(page(store, bob)) == ["2", "3"]
    assert account(store, bob) == (0, 2)
    assert conversation(store, bob, alice) == ["1", "2", "3"]
    assert conversation(store, bob, None, limit=2) == ["2", "3"]
    assert conversation(store, carol, None, before=sent.offset + 2) == ["1", "2"]
    assert conversation(store, bob, carol) == []


def test_to_everyone_fills_no_mailbox(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    publish(store, *(publication(alice, str(n)) for n in range(20)))
    more = run(alice, bob, *"abcde")
    commit(store, more)
    assert more.accepted == 5


def test_conversations(store: IStore) -> None:
    alice, bob, carol = register(store, "alice", "bob", "carol")
    commit(store, run(alice, bob, "1", "2", "3"), run(bob, alice, "4"))
    publish(store, publication(alice, "5", bob, carol), publication(carol, "6"))
    commit(store, run(carol, alice, "7"), run(carol, bob, "8"), run(alice, alice, "9"))
    assert conversation(store, alice, bob) == conversation(store, bob, alice) == list("12345")
    assert conversation(store, alice, carol) == ["5", "6", "7"]
    assert conversation(store, bob, carol) == ["6", "8"]
    assert conversation(store, alice, None) == list("12345679")
    assert conversation(store, carol, None) == list("5678")
    assert conversation(store, alice, alice) == ["9"]
    four = singles(page(store, alice).entries)[0].offset
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
        if not asked.entries:
            break
        before = asked.entries[0].offset
        found = [one.text for one in singles(asked.entries)] + found
    assert found == expected
    now(store.close())


def test_an_answer_of_large_messages_ends_early_with_the_newest(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, *(letter * 1000 for letter in "abc")))
    asked = Conversation(alice.id, bob.id, 0, 10, 2500)
    now(store.read([asked]))
    assert [one.text[:1] for one in singles(asked.entries)] == ["b", "c"]
    asked = Conversation(alice.id, bob.id, 0, 10, 1)
    now(store.read([asked]))
    assert [one.text[:1] for one in singles(asked.entries)] == ["c"]


def test_a_query_that_is_asked_again_is_answered_afresh(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "a", "b", "c"))
    asked, users = Conversation(alice.id, bob.id, 0, 2, 1 << 20), UserList("", 10)
    for _ in range(2):
        now(store.read([asked, users]))
        assert [one.text for one in singles(asked.entries)] == ["b", "c"]
        assert [name for name, _ in users.users] == ["alice", "bob"]


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


# Publishes that come many at a time.


def test_the_ids_of_a_run_are_remembered(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    commit(store, run(alice, bob, "a", "b", "c", id_=5))
    assert account(store, alice) == (7, 0)
    again = [publication(alice, "again", bob, id_=n) for n in (5, 6, 7)]
    late = publication(alice, "d", bob, id_=4)
    publish(store, *again)
    publish(store, late, publication(alice, "e", bob, id_=8))
    assert [(one.accepted, one.offset) for one in again] == [(1, 0)] * 3
    assert late.refusal is Code.OUT_OF_ORDER
    assert texts(page(store, bob)) == ["a", "b", "c", "e"]
    assert conversation(store, alice, bob) == ["a", "b", "c", "e"]


@pytest.mark.parametrize("left", [False, True])
def test_the_ids_of_messages_that_left_the_mailbox_are_remembered(
    store: IStore, left: bool
) -> None:
    alice, bob = register(store, "alice", "bob")
    sent = run(alice, bob, "a", "b", id_=1)
    commit(store, sent)
    if left:
        commit(store, positions=position(bob, sent.offset + 1))
    publish(store, publication(alice, "again", bob, id_=2))
    assert texts(page(store, bob)) == ([] if left else ["a", "b"])
    assert account(store, alice) == (2, 0)


def test_of_a_run_that_does_not_fit_only_what_is_stored_has_its_id(store: IStore) -> None:
    alice, bob = register(store, "alice", "bob")
    sent = run(alice, bob, *"1234567", id_=1)
    commit(store, sent)
    assert (sent.accepted, sent.refusal) == (5, Code.MAILBOX_FULL)
    assert "bob" in sent.detail
    assert account(store, alice) == (5, 0)
    commit(store, positions=position(bob, sent.offset + 4))
    publish(store, *(publication(alice, str(n), bob, id_=n) for n in (5, 6, 7)))
    assert texts(page(store, bob)) == ["6", "7"]


def test_a_run_to_nobody_says_so(store: IStore) -> None:
    (alice,) = register(store, "alice")
    sent = run(alice, User("nobody"), "hi", id_=1)
    commit(store, sent)
    assert (sent.accepted, sent.refusal) == (0, Code.USER_NOT_FOUND)
    assert "nobody" in sent.detail
    assert account(store, alice) == (0, 0)
