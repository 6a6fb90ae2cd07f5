"""The exchange between sessions and store: it does what a reactor turn asked for, in batches.

While the store commits one batch, the exchange gathers the next one (group commit). So the batches
grow with the load, and no message waits for a timer. The way of a message:

1. A handler (server/factory.py) makes a Message of what was read, for :meth:`Exchange.submit`.
2. At the end of the turn (domain/turn.py) the store gets a batch. It admits and stores the message,
   with SQLite and PostgreSQL in a thread of its own.
3. At the end of the turn in which that is done, the message is delivered to sessions that can take
   it (domain/delivery.py), its sender is answered, and the outputs are flushed. Other sessions read
   it from the mailbox later.

Only the store's part runs in other threads.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from enum import Enum, auto
from typing import TypeAlias

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.domain.delivery import Delivery
from chat_protocol.domain.entries import Entry
from chat_protocol.domain.fair_queue import FairQueue
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.logins import Logins
from chat_protocol.domain.messages import Batch, Message, PositionKey
from chat_protocol.domain.metrics import Meter
from chat_protocol.domain.outage import Outage
from chat_protocol.domain.ports import ISharedStore, IStore
from chat_protocol.domain.queries import Page, Query
from chat_protocol.domain.turn import Turn
from chat_protocol.domain.users import Session, User
from chat_protocol.errors import OutcomeUnknown, Unavailable
from chat_protocol.wire.codec import encode_answers
from chat_protocol.wire.codes import Code

__all__ = ["POSITION_SECONDS", "Exchange"]

_Asked: TypeAlias = "tuple[Query, Deferred[None]]"

POSITION_SECONDS = 0.1
"""Longest time in seconds until a position that has moved goes to the store. A batch takes it along
earlier."""

_RETRY_SECONDS = 1.0
"""Time between two attempts at what no client retries: positions, logouts, pages of mailboxes."""


class _Phase(Enum):
    """What the store is doing for the exchange."""

    IDLE = auto()
    COMMITTING = auto()
    READING = auto()


class Exchange:
    """Calls ``commit`` and ``read`` of the store, one at a time.

    Args:
        store: an open store.
        turn: calls :meth:`end_of_turn`.
        limits: ``session_backlog``, ``store_backlog``, ``pages_at_once`` and ``routes`` are used.
        clock: times retries and POSITION_SECONDS.
        online: returns the users that are online.
        check_lease: called first at the end of each turn; None: there is no lease.
        meter: measures the batches.
        nobody_waits: tells whether no connection waits for the reactor; None: it is not known.
    """

    log = Logger()

    def __init__(
        self,
        store: IStore,
        turn: Turn,
        limits: Limits,
        clock: IReactorTime,
        online: Callable[[], Iterable[User]],
        check_lease: Callable[[], None] | None = None,
        meter: Meter | None = None,
        nobody_waits: Callable[[], bool] | None = None,
    ) -> None:
        self._store = store
        self._shared = ISharedStore.providedBy(store)
        self._turn = turn
        self._limits = limits
        self._clock = clock
        self._online = online
        self._check_lease = check_lease
        self._meter = meter
        self._nobody_waits = nobody_waits
        self._outage = Outage(clock)
        self._phase = _Phase.IDLE
        self.backlog = 0
        """Bytes of messages that are not answered yet."""
        self._paused: set[Session] = set()
        self._messages: list[Message] = []
        self._stored: list[Message] = []
        """Messages whose outcome is known, and that are still to be delivered and answered."""
        self.logins = Logins(store, turn.request)
        self._positions: dict[PositionKey, int] = {}
        self._pages: list[tuple[Delivery, Page]] = []
        self._draining: dict[PositionKey, list[tuple[Delivery, Page]]] = {}
        """By the key of a delivery whose session has ended, and whose connection still takes what
        was written: pages that wait for that."""
        self._failed_pages: list[Delivery] = []
        self._queries: list[_Asked] = []
        """Those that are answered quickly."""
        self._long_queries: FairQueue[_Asked] = FairQueue()
        self._idle: list[Deferred[None]] = []
        self._position_timer: IDelayedCall | None = None
        self._retry_timer: IDelayedCall | None = None
        turn.end = self.end_of_turn

    # Requests of the sessions.

    def submit(self, message: Message) -> None:
        """Store messages, deliver them, and answer each when its outcome is known."""
        if not self._messages:
            self._turn.request()
            if self._meter is not None:
                self._meter.came()
        self._messages.append(message)
        session = message.sender
        session.outstanding += message.size
        self.backlog += message.size
        if (
            session.outstanding > self._limits.session_backlog
            or self.backlog > self._limits.store_backlog
        ):
            session.connection.pause(self)
            self._paused.add(session)

    def read_page(self, delivery: Delivery, page: Page) -> None:
        """Read a page behind all that is stored by then; see domain.delivery.Mailboxes."""
        before = self._draining.get(delivery.key)
        if before is not None:
            before.append((delivery, page))
            return
        self._pages.append((delivery, page))
        self._turn.request()

    def draining(self, delivery: Delivery) -> None:
        """See domain.delivery.Mailboxes."""
        self._draining[delivery.key] = []

    def drained(self, delivery: Delivery) -> None:
        """See domain.delivery.Mailboxes."""
        for other, page in self._draining.pop(delivery.key, ()):
            self.read_page(other, page)

    def move(self, delivery: Delivery) -> None:
        self._positions[delivery.key] = delivery.position
        if self._position_timer is None:
            self._position_timer = self._clock.callLater(POSITION_SECONDS, self._positions_due)

    def unstored_position(self, key: PositionKey) -> int:
        """Return the position of a delivery if it has moved and is not stored yet; else 0."""
        return self._positions.get(key, 0)

    def query(self, query: Query, share: Hashable = None) -> Deferred[None]:
        """Read the answer to a query after all that was submitted before is stored.

        Args:
            query: it is filled in.
            share: None: the answer is short, and a login waits for it. Otherwise the query waits
                for its turn: the shares, which are users, are served in turn, one query between two
                commits.

        Fires when the query is filled in. Fails with Unavailable if the store cannot be read.
        """
        answered: Deferred[None] = Deferred()
        if share is None:
            self._queries.append((query, answered))
        else:
            self._long_queries.push(share, (query, answered))
        self._turn.request()
        return answered

    def when_idle(self) -> Deferred[None]:
        """Wait until everything is stored, answered and flushed, positions included.

        If the store refuses to write, the Deferred fires without waiting for positions and logouts.
        """
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        self._turn.request()
        return idle

    def stop(self) -> None:
        """Stop all timers."""
        for timer in (self._position_timer, self._retry_timer):
            if timer is not None:
                timer.cancel()
        self._position_timer = self._retry_timer = None

    # The end of a turn.

    def end_of_turn(self) -> None:
        """Do what the events of the turn asked for.

        The order matters: a message is stored before it is delivered, and delivered before its
        sender is told OK.
        """
        if self._check_lease is not None:
            self._check_lease()
        if self._phase is _Phase.IDLE:
            # First, so that the store works on the next batch while this one is delivered.
            self._begin()
        if self._stored:
            stored, self._stored = self._stored, []
            self._deliver(stored)
            self._answer(stored)
        self._turn.flush()
        if self._idle:
            self._tell_idle()

    def _has_changes(self) -> bool:
        if self._messages or self.logins.coming:
            return True
        if self._retry_timer is not None:
            return False
        if self.logins.leaving:
            return True
        # A login counts the messages behind the position, and a stop leaves no position unstored.
        due = self._position_timer is None or self._has_queries or self._idle
        return bool(self._positions and due)

    def _has_work(self) -> bool:
        return bool(self._pages or self._has_queries) or self._has_changes()

    @property
    def _has_queries(self) -> bool:
        return bool(self._queries or self._long_queries)

    def _begin(self) -> None:
        """Start to store the next batch, and to read what was asked for."""
        if not self._has_work():
            return
        batch = committing = None
        if self._has_changes():
            batch = self._gather()
            if self._nobody_waits is not None:
                batch.nobody_waits = self._nobody_waits
            committing = self._commit(batch)
            if self._succeeded(committing) and not (self._pages or self._has_queries):
                # Without a coroutine: it would cost more than the rest of a turn with one message.
                self._committed(batch)
                if self._has_work():
                    self._turn.request()
                return
        self._phase = _Phase.COMMITTING
        Deferred.fromCoroutine(self._work(batch, committing)).addErrback(self._broken)

    @staticmethod
    def _succeeded(committing: Deferred[None]) -> bool:
        return committing.called and committing.result is None

    def _gather(self) -> Batch:
        """Return the next batch: all that is to be stored."""
        messages, self._messages = self._messages, []
        positions, self._positions = self._positions, {}
        registrations, released = self.logins.gather()
        return Batch(registrations, messages, positions, released)

    def _commit(self, batch: Batch) -> Deferred[None]:
        if self._meter is not None:
            self._meter.begins()
        try:
            return self._store.commit(batch)
        except Exception:
            return fail()

    async def _work(self, batch: Batch | None, committing: Deferred[None] | None) -> None:
        try:
            if batch is not None and committing is not None:
                await self._settle(batch, committing)
            self._phase = _Phase.READING
            if self._pages:
                await self._read_pages()
            if self._has_queries:
                await self._answer_queries()
        finally:
            self._phase = _Phase.IDLE
            # A turn that is ending delivers what was stored meanwhile by itself.
            if not self._turn.ending or self._has_work():
                self._turn.request()

    def _broken(self, failure: Failure) -> None:
        self.log.failure("The exchange failed", failure)

    # The outcome of a batch.

    async def _settle(self, batch: Batch, committing: Deferred[None]) -> None:
        try:
            await committing
        except Unavailable as error:
            await self._refused(batch, error)
        except OutcomeUnknown as error:
            self._unknown(batch, error)
        except Exception:
            await self._isolate(batch)
        else:
            self._committed(batch)

    def _committed(self, batch: Batch) -> None:
        self._stored += batch.messages
        self.logins.stored(batch.registrations, batch.released)
        if (seconds := self._outage.over()) is not None:
            self.log.info("The store takes messages again, after {n:.0f} seconds", n=seconds)
        if self._meter is not None:
            self._meter.stored(batch)

    async def _refused(self, batch: Batch, error: Unavailable) -> None:
        """Answer Unavailable: nothing of the batch is stored. Retry what no client retries."""
        self._store_failed(error)
        for message in batch.messages:
            message.refuse(Code.UNAVAILABLE, "the store cannot take it now, try again")
        self._stored += batch.messages
        if self._meter is not None:
            self._meter.refused(batch)
        self._retry_background(batch)
        await self.logins.refused(batch.registrations, self._store_failed)

    def _unknown(self, batch: Batch, error: OutcomeUnknown) -> None:
        """End the connections of the senders: any answer could be wrong."""
        self._store_failed(error)
        self._abort_senders(batch)
        self._retry_background(batch)
        self.logins.failed(batch.registrations, Failure(error))  # type: ignore[no-untyped-call]

    async def _isolate(self, batch: Batch) -> None:
        """Confine a fault of the program to the sender whose messages meet it.

        Nothing of the batch is stored. So the part of each sender is stored by itself.
        """
        failure = Failure()  # type: ignore[no-untyped-call]
        self.log.failure("A batch met a fault", failure)
        parts = _parts(batch)
        for message in batch.messages:
            message.reset()
        if len(parts) > 1:
            for part in parts:
                await self._settle(part, self._commit(part))
            return
        if self._meter is not None:
            self._meter.failed()
        self._abort_senders(batch)
        self.logins.failed(batch.registrations, failure)
        # Positions are dropped, as they may be what meets the fault: what lies behind the stored
        # ones is delivered again.
        if batch.released:
            self.logins.retry(batch.released)
            self._retry_later()

    def _retry_background(self, batch: Batch) -> None:
        self._positions = batch.positions | self._positions
        self.logins.retry(batch.released)

    def _abort_senders(self, batch: Batch) -> None:
        """End the connections that sent the messages of a batch, without answers.

        Later messages of the same senders are dropped as well, so that a resend keeps the order.
        """
        senders = {message.sender for message in batch.messages}
        dropped = batch.messages + [one for one in self._messages if one.sender in senders]
        self._messages = [one for one in self._messages if one.sender not in senders]
        for message in dropped:
            message.sender.outstanding -= message.size
            self.backlog -= message.size
        for session in senders:
            session.connection.abort()
        self._paused -= senders
        self._resume_senders()

    def _store_failed(self, error: Exception) -> None:
        """Schedule a retry, and log that the store has failed, at most once a minute."""
        if self._meter is not None:
            self._meter.failed()
        if self._outage.failed():
            if isinstance(error, Unavailable):
                self.log.error("The store refuses: {reason}", reason=error.detail)
            elif isinstance(error, OutcomeUnknown):
                self.log.error(
                    "The store cannot tell whether it stored a batch: {reason}. The server closes"
                    " the connections concerned.",
                    reason=error,
                )
            else:
                self.log.failure(
                    "The store failed",
                    Failure(error),  # type: ignore[no-untyped-call]
                )
        self._retry_later()

    def _retry_later(self) -> None:
        if self._retry_timer is None:
            self._retry_timer = self._clock.callLater(_RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        self._retry_timer = None
        failed, self._failed_pages = self._failed_pages, []
        for delivery in failed:
            delivery.page_failed()
        self._turn.request()

    def _positions_due(self) -> None:
        self._position_timer = None
        self._turn.request()

    # Delivering and answering.

    def _deliver(self, messages: list[Message]) -> None:
        """Write messages to recipients who are online. Others get them from the mailbox later."""
        count = 0
        for message in messages:
            if message.offset:
                try:
                    count += self._deliver_message(message)
                except Exception:
                    self._fault(message.sender, "A message of {peer} met a fault")
        if count and self._meter is not None:
            self._meter.delivered(count)

    def _deliver_message(self, message: Message) -> int:
        """Return how many deliveries were written: sessions times messages."""
        entry, recipients = message.entry(), message.audience.recipients
        delivers = b""
        count = 0
        for user in recipients or self._everyone_but(message.sender.user):
            if not user.id:
                self._learn(message)
            # A shared store notifies the nodes of the recipients, this one included.
            if self._shared:
                continue
            for session in user.sessions:
                try:
                    if session.version == 1:
                        frames = entry.messages_for(user.name)
                        data = frames[0] if len(frames) == 1 else b"".join(frames)
                    else:
                        data = delivers = delivers or message.delivers()
                    count += session.delivery.deliver(entry, data)
                except Exception:
                    self._fault(session, "A delivery to {peer} met a fault")
        if message.copied and not self._shared:
            count += self._deliver_copies(message, entry, delivers)
        return count * message.accepted

    def _deliver_copies(self, message: Message, entry: Entry, delivers: bytes) -> int:
        """Write a message to the other devices of its sender."""
        count = 0
        for session in message.sender.user.sessions:
            if session.device == message.sender.device:
                continue
            try:
                if session.version == 1:
                    session.delivery.pass_over(entry)
                else:
                    delivers = delivers or message.delivers()
                    count += session.delivery.deliver(entry, delivers)
            except Exception:
                self._fault(session, "A delivery to {peer} met a fault")
        return count

    def _everyone_but(self, sender: User) -> list[User]:
        return [user for user in self._online() if user is not sender]

    def _learn(self, message: Message) -> None:
        """Keep the ids of the recipients, and keep the audience at hand."""
        audience = message.audience
        for user, user_id in zip(audience.recipients, message.recipient_ids, strict=True):
            user.id = user_id
        message.sender.remember(audience, self._limits)

    def _answer(self, messages: list[Message]) -> None:
        """Answer messages."""
        for message in messages:
            self._answer_message(message)
        if self._paused:
            self._resume_senders()

    def _answer_message(self, message: Message) -> None:
        sender, ids, accepted = message.sender, message.correlation_ids, message.accepted
        sender.outstanding -= message.size
        self.backlog -= message.size
        try:
            if accepted == len(ids):
                sender.output.write(encode_answers(Code.OK, ids, message.version))
                return
            if accepted:
                sender.output.write(encode_answers(Code.OK, ids[:accepted], message.version))
            code, detail = message.refusal, message.detail
            if code is Code.ERROR:
                # The store has logged a fault, and it is not known whether it stored the message.
                sender.connection.abort()
                return
            answers = encode_answers(code, ids[accepted:], message.version, detail)
            sender.output.write(answers)
            sender.connection.refused(code, len(ids) - accepted, detail)
        except Exception:
            self._fault(sender, "An answer to {peer} met a fault")

    def _fault(self, session: Session, what: str, failure: Failure | None = None) -> None:
        """Log a fault, by default the current exception, and end the connection concerned."""
        self.log.failure(what, failure, peer=session.user.name)
        session.connection.abort()

    def _resume_senders(self) -> None:
        if self.backlog > self._limits.store_backlog // 2:
            return
        threshold = self._limits.session_backlog // 2
        for session in [one for one in self._paused if one.outstanding <= threshold]:
            self._paused.discard(session)
            try:
                session.connection.resume(self)
            except Exception:
                self._fault(session, "A request of {peer} met a fault")

    def _tell_idle(self) -> None:
        if self._phase is not _Phase.IDLE:
            return
        if self._stored or self._has_work():
            self._turn.request()
            return
        idle, self._idle = self._idle, []
        for one in idle:
            one.callback(None)

    # Reading.

    async def _read_pages(self) -> None:
        count = self._limits.pages_at_once
        asked, self._pages = self._pages[:count], self._pages[count:]
        wanted = [(delivery, page) for delivery, page in asked if not delivery.closed]
        for delivery, page in wanted:
            # The position may have moved since it was stored.
            page.after = max(page.after, self.unstored_position(delivery.key))
        if not wanted:
            return
        errors = await self._read([page for _, page in wanted])
        for (delivery, page), error in zip(wanted, errors, strict=True):
            if error is None:
                try:
                    delivery.page_read(page)
                except Exception:
                    self._fault_of(delivery, Failure())  # type: ignore[no-untyped-call]
            elif isinstance(error, Unavailable):
                self._failed_pages.append(delivery)
            else:
                self._fault_of(delivery, Failure(error))  # type: ignore[no-untyped-call]

    def _fault_of(self, delivery: Delivery, failure: Failure) -> None:
        """End the connection of a delivery that met a fault."""
        for user in self._online():
            for session in user.sessions:
                if session.delivery is delivery:
                    self._fault(session, "A delivery to {peer} met a fault", failure)

    async def _answer_queries(self) -> None:
        count = self._limits.pages_at_once
        asked, self._queries = self._queries[:count], self._queries[count:]
        if self._long_queries:
            asked.append(self._long_queries.pop())
        errors = await self._read([query for query, _ in asked])
        for (_, answered), error in zip(asked, errors, strict=True):
            if error is None:
                answered.callback(None)
            else:
                answered.errback(Unavailable("the store cannot be read now, try again"))

    async def _read(self, queries: Sequence[Query]) -> list[Exception | None]:
        """Have queries answered; return the error of each.

        If they fail together they are asked one by one, so that one which cannot be answered does
        not concern the others.
        """
        try:
            await self._store.read(queries)
        except Exception as error:
            if len(queries) > 1:
                return [one for query in queries for one in await self._read([query])]
            self._store_failed(error)
            return [error]
        if self._meter is not None:
            self._meter.read(queries)
        return [None] * len(queries)


def _parts(batch: Batch) -> list[Batch]:
    """Split a batch: one part for the messages of each sender, one for all else."""
    by_sender: dict[Session, list[Message]] = {}
    for message in batch.messages:
        by_sender.setdefault(message.sender, []).append(message)
    parts = [Batch([], messages, {}) for messages in by_sender.values()]
    if batch.registrations or batch.positions or batch.released:
        parts.insert(0, Batch(batch.registrations, [], batch.positions, batch.released))
    return parts
