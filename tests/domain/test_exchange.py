"""The exchange between sessions and store: a store that refuses, and a message to many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.domain.delivery import Delivery
from chat_protocol.domain.exchange import POSITION_SECONDS, Exchange
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.login_rules import LoginRequest
from chat_protocol.domain.messages import Batch, Message, Registration
from chat_protocol.domain.outage import REMIND_SECONDS
from chat_protocol.domain.ports import ISharedStore
from chat_protocol.domain.queries import Conversation, Lookup, Query
from chat_protocol.domain.turn import Turn
from chat_protocol.domain.users import Audience, Claim, Session, User
from chat_protocol.errors import OutcomeUnknown, Unavailable
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.wire import commands
from chat_protocol.wire.codec import decode, encode
from tests.stores.helpers import commit, page, register, run, texts


class FullStore(MemoryStore):
    """Refuses a batch while it is full."""

    full = False

    def commit(self, batch: Batch) -> Deferred[None]:
        return fail(Unavailable("full")) if self.full else super().commit(batch)


class Moved:
    """A delivery whose position has moved."""

    def __init__(self, user: User, position: int) -> None:
        self.key = (user.id, 0)
        self.position = position


class Output:
    """An IOutput that keeps each piece as it is written."""

    backlog = 0
    written = 0
    taken = 0

    def __init__(self) -> None:
        self.delivered: list[bytes] = []
        self.answers: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.answers.append(data)

    def deliver(self, data: bytes) -> None:
        self.delivered.append(data)


def made(store: MemoryStore, clock: Clock, online: list[User] | None = None) -> Exchange:
    return Exchange(store, Turn(clock), Limits(), clock, lambda: online or [])


def move(exchange: Exchange, user: User, position: int) -> None:
    exchange.move(cast(Delivery, Moved(user, position)))


def test_a_position_waits_for_a_store_that_takes_it() -> None:
    """However often the store refuses, the highest one is stored in the end."""
    clock, store = Clock(), FullStore()
    exchange = made(store, clock)
    alice, bob, carol = register(store, "alice", "bob", "carol")
    first, other = run(alice, bob, "1", "2", "3"), run(alice, carol, "4", "5")
    commit(store, first, other)
    store.full = True
    move(exchange, carol, other.offset)
    for offset in (first.offset, first.offset + 1):
        move(exchange, bob, offset)
        clock.advance(POSITION_SECONDS)
        clock.advance(1)
        assert exchange.unstored_position((bob.id, 0)) == offset
        assert texts(page(store, bob)) == ["1", "2", "3"]
    store.full = False
    clock.advance(1)
    clock.advance(POSITION_SECONDS)
    assert texts(page(store, bob)) == ["3"]
    assert texts(page(store, carol)) == ["5"]
    assert exchange.unstored_position((bob.id, 0)) == 0
    assert clock.getDelayedCalls() == []


def test_a_page_is_read_behind_a_position_that_is_not_stored_yet() -> None:
    clock, store = Clock(), FullStore()
    exchange = made(store, clock)
    alice, bob = register(store, "alice", "bob")
    sent = run(alice, bob, "1", "2", "3")
    commit(store, sent)
    output = Output()
    delivery = Delivery("bob", (bob.id, 0), cast(Any, output), Limits(), exchange, 10)
    store.full = True
    move(exchange, bob, sent.offset + 1)
    delivery.begin()
    clock.advance(0)
    (data,) = output.delivered
    assert decode(data[4:])[1] == commands.Deliver(sent.offset + 2, "3", "alice", 0, ("bob",), 7)
    exchange.stop()


def test_a_store_that_refuses_for_long_is_reported_now_and_then() -> None:
    clock, store = Clock(), FullStore()
    exchange = made(store, clock)
    alice, bob = register(store, "alice", "bob")
    sent = run(alice, bob, "1")
    commit(store, sent)
    with capturedLogs() as events:
        store.full = True
        move(exchange, bob, sent.offset)
        for _ in range(int(REMIND_SECONDS * 1.5)):
            clock.advance(1)
        store.full = False
        for _ in range(3):
            clock.advance(1)
    assert [formatEvent(event) for event in events] == [
        "The store refuses: full",
        "The store refuses: full",
        "The store takes messages again, after 90 seconds",
    ]


def online(user: User, exchange: Exchange, clock: Clock, version: int) -> Output:
    """Begin a session of a user; everything in its mailbox is delivered."""
    output = Output()
    delivery = Delivery(
        user.name, (user.id, 0), cast(Any, output), Limits(), exchange, 10 if version > 1 else 0
    )
    claim = Claim(user, "", LoginRequest("", version))
    user.add(Session(claim, cast(Any, output), cast(Any, None), delivery))
    delivery.begin()
    clock.advance(0)
    return output


def test_all_sessions_of_version_2_get_the_same_bytes_encoded_once() -> None:
    clock, store = Clock(), MemoryStore()
    users = register(store, "alice", "bob", "carol", "dave", "erin")
    exchange = made(store, clock, users)
    versions = (2, 2, 2, 1, 2)
    outputs = [
        online(user, exchange, clock, version)
        for user, version in zip(users, versions, strict=True)
    ]
    alice, *recipients = users
    recipients.pop()
    (session,) = alice.sessions
    for audience in (Audience(*recipients), Audience()):
        sent = [encode(commands.Message(text, "alice", "", 5)) for text in ("hi", "there")]
        message = Message(
            session, audience, [b"\0\0\0\1", b"\0\0\0\2"], [b"hi", b"there"], sent, 100, 2
        )
        exchange.submit(message)
        clock.advance(0)
        to = tuple(user.name for user in audience.recipients)
        scope = commands.Scope.USERS if to else commands.Scope.EVERYONE
        bob, carol, dave, erin = (output.delivered for output in outputs[1:])
        expected = b"".join(
            encode(commands.Deliver(offset, text, "alice", scope, to, 5))
            for offset, text in enumerate(("hi", "there"), message.offset)
        )
        assert bob == [expected]
        assert carol[0] is bob[0]
        assert dave == [
            b"".join(encode(commands.Message(text, "alice", "dave", 5)) for text in ("hi", "there"))
        ]
        assert erin == ([] if to else bob)
        assert outputs[0].delivered == []
        for output in outputs:
            output.delivered.clear()
    assert len(outputs[0].answers) == 2


class UnreadableStore(MemoryStore):
    """Cannot answer a query for one name."""

    def read(self, queries: Sequence[Query]) -> Deferred[None]:
        if any(isinstance(query, Lookup) and query.name == "bad" for query in queries):
            return fail(Unavailable("cannot read that"))
        return super().read(queries)


def test_a_query_that_cannot_be_answered_does_not_concern_the_others() -> None:
    clock, store = Clock(), UnreadableStore()
    register(store, "alice", "bob")
    exchange = made(store, clock)
    names = ("alice", "bad", "bob")
    lookups = [Lookup(name) for name in names]
    outcomes: list[object] = []
    for lookup in lookups:
        exchange.query(lookup).addBoth(outcomes.append)
    clock.advance(0)
    assert [lookup.user_id for lookup in lookups] == [1, 0, 2]
    failed = [isinstance(one, Failure) and one.check(Unavailable) is not None for one in outcomes]
    assert failed == [False, True, False]
    exchange.stop()


class PatientStore(MemoryStore):
    """Notes what it is asked between two commits, and answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[Query]] = []
        self.answers: list[Deferred[None]] = []

    def read(self, queries: Sequence[Query]) -> Deferred[None]:
        self.asked.append(list(queries))
        answered: Deferred[None] = Deferred()
        answered.addCallback(lambda _: super(PatientStore, self).read(queries))
        self.answers.append(answered)
        return answered


def test_long_queries_are_answered_for_each_user_in_turn_one_between_two_commits() -> None:
    clock, store = Clock(), PatientStore()
    alice, bob = register(store, "alice", "bob")
    exchange = made(store, clock)

    def ask(user: User) -> Conversation:
        query = Conversation(user.id, 0, 0, 10, 10_000)
        exchange.query(query, user)
        return query

    of_alice = [ask(alice) for _ in range(3)]
    of_bob = ask(bob)
    clock.advance(0)
    # Who logs in waits for one of them at most.
    lookups: list[Query] = [Lookup("alice"), Lookup("bob")]
    for lookup in lookups:
        exchange.query(lookup)
    sent = run(alice, bob, "hi")
    sent.sender = cast(Session, Connected(alice))
    exchange.submit(sent)
    assert not sent.accepted
    store.answers[0].callback(None)
    clock.advance(0)
    assert sent.accepted
    for number in (1, 2, 3):
        store.answers[number].callback(None)
        clock.advance(0)
    assert store.asked == [[of_alice[0]], [*lookups, of_bob], [of_alice[1]], [of_alice[2]]]
    exchange.stop()


def test_a_login_that_was_cancelled_while_it_was_stored_is_given_up() -> None:
    """Otherwise no other node lets the user in while this one runs."""
    released: list[tuple[int, int]] = []

    @implementer(ISharedStore)
    class Shared(MemoryStore):
        serving = True

        def attach(self, listener: object, token_seconds: float) -> None:
            pass

        def distrust_tokens(self) -> Deferred[None]:
            raise NotImplementedError

        def commit(self, batch: Batch) -> Deferred[None]:
            for number, registration in enumerate(batch.registrations, 7):
                registration.number = number
            released.extend((one.user.id, one.number) for one in batch.released)
            return super().commit(batch)

    clock = Clock()
    exchange = made(Shared(), clock)
    registered = exchange.logins.register(Registration("bob", 1))
    registered.addErrback(lambda failure: failure.trap(CancelledError))
    registered.cancel()
    clock.advance(0)
    assert released == [(1, 7)]
    assert clock.getDelayedCalls() == []


class HeldStore(MemoryStore):
    """Commits a batch of messages when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Deferred[None]] = []

    def commit(self, batch: Batch) -> Deferred[None]:
        if not batch.messages:
            return super().commit(batch)
        committed: Deferred[None] = Deferred()
        committed.addCallback(lambda _: super(HeldStore, self).commit(batch))
        self.held.append(committed)
        return committed


class Connected:
    """A session, and its connection with the pauses."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.device = ""
        self.device_id = 0
        self.outstanding = 0
        self.output = Output()
        self.connection = self
        self.paused = self.aborted = False

    def pause(self, cause: object) -> None:
        self.paused = True

    def resume(self, cause: object) -> None:
        self.paused = False

    def abort(self) -> None:
        self.aborted = True


def test_a_sender_reads_on_when_the_bytes_that_it_waits_for_are_dropped() -> None:
    clock, store = Clock(), HeldStore()
    users = register(store, "alice", "bob")
    limits = Limits(session_backlog=10_000, store_backlog=1000)
    exchange = Exchange(store, Turn(clock), limits, clock, list)
    alice, bob = (Connected(user) for user in users)

    def submit(session: Connected) -> None:
        message = run(session.user, session.user, "x" * 1100)
        message.sender, message.size = cast(Session, session), 1100
        exchange.submit(message)

    submit(alice)
    clock.advance(0)
    submit(bob)
    store.held[0].callback(None)
    clock.advance(0)
    assert alice.output.answers
    assert (alice.paused, bob.paused) == (True, True)
    store.held[1].errback(OutcomeUnknown("failed"))
    clock.advance(0)
    assert (bob.aborted, bob.output.answers) == (True, [])
    assert exchange.backlog == 0
    assert not alice.paused
    exchange.stop()


@pytest.mark.parametrize("version", [1, 2])
def test_a_session_keeps_its_recipients_at_hand(version: int) -> None:
    limits = Limits(routes=3)
    nothing: Any = None
    claim = Claim(User("alice"), "", LoginRequest("", version))
    session = Session(claim, cast(Any, Output()), nothing, nothing)
    audiences = [Audience(User(name)) for name in ("bob", "carol", "dave", "erin")]
    for audience in [*audiences[:3], *audiences[:3]]:
        session.remember(audience, limits)
    assert list(dict.fromkeys(session.routes.values())) == audiences[:3]
    session.remember(audiences[3], limits)
    assert set(session.routes.values()) == {audiences[3]}


def test_the_store_can_ask_whether_nobody_waits() -> None:
    clock, asked = Clock(), []

    class AskingStore(MemoryStore):
        def commit(self, batch: Batch) -> Deferred[None]:
            asked.append(batch.nobody_waits())
            return super().commit(batch)

    store = AskingStore()
    (bob,) = register(store, "bob")
    for nobody_waits in (None, lambda: True):
        exchange = Exchange(store, Turn(clock), Limits(), clock, list, nobody_waits=nobody_waits)
        move(exchange, bob, 1)
        clock.advance(POSITION_SECONDS)
        clock.advance(0)
    # At the registration, and without an answer, it is not known.
    assert asked == [False, False, True]
