"""The rules of admission, with a ledger of a few numbers."""

from __future__ import annotations

from typing import Any, cast

import pytest

from chat_protocol.domain.admission import (
    MAX_FIRST_PUBLISHING_ID,
    MAX_PUBLISHING_ID,
    MAX_PUBLISHING_ID_STEP,
    PUBLISHING_IDS,
    admit,
    publish,
)
from chat_protocol.domain.login_rules import LoginRequest
from chat_protocol.domain.messages import Message
from chat_protocol.domain.ranges import Ranges
from chat_protocol.domain.users import Audience, Claim, Session, User
from chat_protocol.wire.codes import Code


class FakeLedger:
    """Users with an id and room in the mailbox, and the ids of one sender."""

    mailbox_limit = 5

    def __init__(self, *publishing_ids: int, **room: int) -> None:
        self.ids = Ranges(publishing_ids)
        self._ids = {name: number for number, name in enumerate(room, 1)}
        self._room = dict(enumerate(room.values(), 1))
        self.drawn = 100
        self.asked: list[str] = []

    def find(self, user: User) -> int:
        self.asked.append(user.name)
        return self._ids.get(user.name, 0)

    def room(self, user_id: int) -> int:
        return self._room[user_id]

    def published(self, sender: Session) -> Ranges:
        return self.ids

    def draw(self, count: int) -> int:
        self.drawn += count
        return self.drawn - count


def message(*to: str | User, count: int = 1, id_: int = 0) -> Message:
    nobody = cast(Any, None)
    users = [one if isinstance(one, User) else User(one) for one in to]
    texts = [b"%d" % number for number in range(count)]
    return Message(
        Session(Claim(User("alice"), "", LoginRequest("", 2)), nobody, nobody, nobody),
        Audience(*users),
        [bytes(4)] * count,
        texts,
        texts,
        count,
        2,
        id_,
    )


def outcome(one: Message) -> tuple[int, int, Code]:
    return one.accepted, one.offset, one.refusal


def test_what_is_accepted_gets_offsets_and_ids() -> None:
    ledger = FakeLedger(bob=5, carol=3)
    first, second = message("bob", count=3), message("carol", "bob", count=2)
    assert admit(first, ledger)
    assert admit(second, ledger)
    assert (outcome(first), first.detail) == ((3, 100, Code.OK), "")
    assert outcome(second) == (2, 103, Code.OK)
    assert (first.recipient_ids, second.recipient_ids) == ((1,), (2, 1))
    assert second.entry().frames == [b"0", b"1"]


def test_a_known_user_is_not_looked_up() -> None:
    ledger = FakeLedger(bob=5)
    bob = User("bob")
    bob.id = 1
    one = message(bob)
    assert admit(one, ledger)
    assert (one.recipient_ids, ledger.asked) == ((1,), [])


def test_to_everyone_needs_no_room() -> None:
    one = message(count=3)
    assert admit(one, FakeLedger())
    assert (outcome(one), one.recipient_ids) == ((3, 100, Code.OK), ())


@pytest.mark.parametrize("to", [["nobody"], ["bob", "nobody"], ["nobody", "bob"]])
def test_an_unknown_recipient_refuses_all(to: list[str]) -> None:
    ledger = FakeLedger(bob=5)
    one = message(*to, count=2)
    assert not admit(one, ledger)
    assert outcome(one) == (0, 0, Code.USER_NOT_FOUND)
    assert "nobody" in one.detail
    assert ledger.drawn == 100


def test_the_fullest_mailbox_says_how_many_messages_fit() -> None:
    ledger = FakeLedger(bob=5, carol=2, dave=4, erin=0)
    one = message("dave", "carol", "bob", count=9)
    assert admit(one, ledger)
    assert (outcome(one), ledger.drawn) == ((2, 100, Code.MAILBOX_FULL), 102)
    assert one.detail == "5 messages wait for carol already"
    assert len(one.entry().frames) == 2
    full = message("bob", "erin", "carol", count=9)
    assert not admit(full, ledger)
    assert (outcome(full), ledger.drawn) == ((0, 0, Code.MAILBOX_FULL), 102)
    assert "erin" in full.detail


def test_ids_above_the_highest_are_new() -> None:
    ledger = FakeLedger(3, 7, bob=5)
    one = message("bob", count=4, id_=9)
    assert admit(one, ledger)
    publish(one, ledger.ids)
    assert (outcome(one), ledger.ids.edges) == ((4, 100, Code.OK), [3, 7, 9, 13])


def test_only_the_ids_of_accepted_messages_are_noted() -> None:
    ledger = FakeLedger(3, 7, bob=2)
    one = message("bob", count=4, id_=7)
    assert admit(one, ledger)
    publish(one, ledger.ids)
    assert (outcome(one), ledger.ids.edges) == ((2, 100, Code.MAILBOX_FULL), [3, 9])


@pytest.mark.parametrize("to", ["bob", "nobody", "full"])
def test_a_stored_id_is_answered_ok_whatever_else_is_true_now(to: str) -> None:
    ledger = FakeLedger(3, 7, bob=5, full=0)
    one = message(to, id_=6)
    assert not admit(one, ledger)
    assert (outcome(one), ledger.drawn) == ((1, 0, Code.OK), 100)


@pytest.mark.parametrize("id_", [1, 7, 8])
def test_an_id_below_the_highest_that_was_not_stored_is_out_of_order(id_: int) -> None:
    one = message("bob", id_=id_)
    assert not admit(one, FakeLedger(3, 7, 9, 10, bob=5))
    assert outcome(one) == (0, 0, Code.OUT_OF_ORDER)
    assert one.detail == f"publishingId {id_} was not stored, but 9 was"


@pytest.mark.parametrize(("kept", "known"), [(PUBLISHING_IDS - 1, True), (PUBLISHING_IDS, False)])
def test_below_what_is_looked_back_on_it_is_not_known(kept: int, known: bool) -> None:
    one = message("bob", id_=10)
    assert not admit(one, FakeLedger(50, 50 + kept, bob=5))
    assert outcome(one) == (0, 0, Code.OUT_OF_ORDER)
    assert ("not known" in one.detail) is not known


def test_what_may_be_stored_already_comes_one_by_one() -> None:
    with pytest.raises(ValueError, match="one by one"):
        admit(message("bob", count=2, id_=6), FakeLedger(3, 7, bob=5))


@pytest.mark.parametrize(
    ("edges", "highest_allowed"),
    [
        ((), MAX_FIRST_PUBLISHING_ID),
        ((1, 2), 1 + MAX_PUBLISHING_ID_STEP),
        ((1, 2**62 + 1), 2**62 + MAX_PUBLISHING_ID_STEP),
        ((MAX_PUBLISHING_ID - 9, MAX_PUBLISHING_ID - 5), MAX_PUBLISHING_ID),
    ],
)
def test_ids_have_bounds(edges: tuple[int, ...], highest_allowed: int) -> None:
    for id_, accepted in ((highest_allowed + 1, 0), (highest_allowed, 1), (highest_allowed - 1, 2)):
        ledger = FakeLedger(*edges, bob=5)
        one = message("bob", count=3, id_=id_)
        assert admit(one, ledger) is bool(accepted)
        assert outcome(one) == (accepted, 100 if accepted else 0, Code.MALFORMED)
        highest = edges[-1] - 1 if edges else 0
        assert one.detail == f"publishingId: at most {highest_allowed} can follow {highest}"
    one = message("bob", count=3, id_=highest_allowed - 2)
    assert admit(one, FakeLedger(*edges, bob=5))
    assert outcome(one) == (3, 100, Code.OK)


def test_the_ids_that_are_kept_are_bounded() -> None:
    ids = Ranges()
    for first in range(1, 10_000, 7):
        one = message("bob", count=5, id_=first)
        one.accept((1,), 5, 100)
        publish(one, ids)
        assert min(first + 4, PUBLISHING_IDS) <= ids.count + 2 * (first // 7)
        assert ids.count <= 2 * PUBLISHING_IDS
        assert (first + 4) in ids
    assert ids.count >= PUBLISHING_IDS
