"""The exchange between sessions and store: it does what a reactor turn asked for, in batches.

While the store commits one batch, the exchange gathers the next one (group commit). So the batches
grow with the load, and no message waits for a timer. The way of a message:

1. A handler (server/factory.py) makes a Message of what was read, for :meth:`Exchange.submit`.
2. At the end of the turn (domain/turn.py) the store gets a batch. It admits and stores the message,
   with SQLite and PostgreSQL in a thread of its own.
3. At the end of the turn in which that is done, the message is delivered to sessions that can take
   it, and its sender is answered (domain/fan_out.py, domain/delivery.py). The outputs are flushed.
   Other sessions read the message from the mailbox later (domain/reads.py).

Only the store's part runs in other threads.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from enum import Enum, auto

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.domain.delivery import Delivery
from chat_protocol.domain.fan_out import FanOut
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.logins import Logins
from chat_protocol.domain.messages import Batch, Message, PositionKey
from chat_protocol.domain.metrics import Meter
from chat_protocol.domain.outage import Outage
from chat_protocol.domain.ports import ISharedStore, IStore
from chat_protocol.domain.queries import Page, Query
from chat_protocol.domain.reads import Reads
from chat_protocol.domain.turn import Turn
from chat_protocol.domain.unanswered import Unanswered
from chat_protocol.domain.users import Session, User
from chat_protocol.errors import OutcomeUnknown, Unavailable
from chat_protocol.wire.codes import Code

__all__ = ["POSITION_SECONDS", "Exchange"]

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
        told: is told of the messages whose outcome is known, behind their answers; None: nobody is.
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
        told: Callable[[list[Message]], None] | None = None,
    ) -> None:
        self._store = store
        self._turn = turn
        self._clock = clock
        self._check_lease = check_lease
        self._meter = meter
        self._nobody_waits = nobody_waits
        self._told = told
        self._outage = Outage(clock)
        self._phase = _Phase.IDLE
        self._unanswered = Unanswered(limits)
        self._messages: list[Message] = []
        self._stored: list[Message] = []
        """Messages whose outcome is known, and that are still to be delivered and answered."""
        self.logins = Logins(store, turn.request)
        self._positions: dict[PositionKey, int] = {}
        self._idle: list[Deferred[None]] = []
        self._position_timer: IDelayedCall | None = None
        self._retry_timer: IDelayedCall | None = None
        self._reads = Reads(
            store, limits, online, self.unstored_position, turn.request, self._store_failed, meter
        )
        self._fan_out = FanOut(
            ISharedStore.providedBy(store), limits, online, self._unanswered, meter
        )
        turn.end = self.end_of_turn

    @property
    def backlog(self) -> int:
        """Bytes of messages that are not answered yet."""
        return self._unanswered.size

    # Requests of the sessions.

    def submit(self, message: Message) -> None:
        """Store messages, deliver them, and answer each when its outcome is known."""
        if not self._messages:
            self._turn.request()
            if self._meter is not None:
                self._meter.came()
        self._messages.append(message)
        self._unanswered.add(message)

    def read_page(self, delivery: Delivery, page: Page) -> None:
        """Read a page behind all that is stored by then; see domain.delivery.Mailboxes."""
        self._reads.read_page(delivery, page)

    def draining(self, delivery: Delivery) -> None:
        """See domain.delivery.Mailboxes."""
        self._reads.draining(delivery)

    def drained(self, delivery: Delivery) -> None:
        """See domain.delivery.Mailboxes."""
        self._reads.drained(delivery)

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
        return self._reads.query(query, share)

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
        stored, self._stored = self._stored, []
        if stored:
            self._fan_out.deliver(stored)
            self._fan_out.answer(stored)
        self._turn.flush()
        if stored and self._told is not None:
            self._told(stored)
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
        due = self._position_timer is None or self._reads.has_queries or self._idle
        return bool(self._positions and due)

    def _has_work(self) -> bool:
        return bool(self._reads) or self._has_changes()

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
            if self._succeeded(committing) and not self._reads:
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
            await self._reads.run()
        finally:
            self._phase = _Phase.IDLE
            # A turn that is ending delivers what was stored meanwhile by itself.
            if not self._turn.ending or self._has_work():
                self._turn.request()

    def _broken(self, failure: Failure) -> None:
        self.log.failure("The exchange failed", failure)

    def _tell_idle(self) -> None:
        if self._phase is not _Phase.IDLE:
            return
        if self._stored or self._has_work():
            self._turn.request()
            return
        idle, self._idle = self._idle, []
        for one in idle:
            one.callback(None)

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
            self._unanswered.remove(message)
        for session in senders:
            session.connection.abort()
        self._unanswered.forget(senders)
        self._unanswered.resume()

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
        self._reads.retry()
        self._turn.request()

    def _positions_due(self) -> None:
        self._position_timer = None
        self._turn.request()


def _parts(batch: Batch) -> list[Batch]:
    """Split a batch: one part for the messages of each sender, one for all else."""
    by_sender: dict[Session, list[Message]] = {}
    for message in batch.messages:
        by_sender.setdefault(message.sender, []).append(message)
    parts = [Batch([], messages, {}) for messages in by_sender.values()]
    if batch.registrations or batch.positions or batch.released:
        parts.insert(0, Batch(batch.registrations, [], batch.positions, batch.released))
    return parts
