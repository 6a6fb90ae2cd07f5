"""Between the sessions and the store: gathers batches, hands out their results.

While one batch is being stored the next one gathers; so the batches grow with the load and
nobody waits for a timer. Deliveries and answers follow from the result of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.domain.batch import Batch, Page, Publication, Query, Run
from chat_protocol.domain.delivery import Delivery
from chat_protocol.domain.directory import User
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.logins import GatheredLogins, Logins
from chat_protocol.domain.meter import Meter
from chat_protocol.domain.outage import Outage
from chat_protocol.domain.session import Session
from chat_protocol.domain.stored import Waiting
from chat_protocol.domain.turn import Turn
from chat_protocol.errors import Unavailable
from chat_protocol.interfaces import ISharedStore, IStore
from chat_protocol.wire.codec import encode_answers
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Scope

__all__ = ["Exchange"]

_RETRY_SECONDS = 1.0
"""After a refused batch: when what nobody waits for is tried again."""


class _Work:
    """What is being stored, and what beside the messages waits for that."""

    __slots__ = ("batch", "committing", "logins", "returning")

    def __init__(
        self,
        batch: Batch,
        logins: GatheredLogins,
        returning: list[Run],
        committing: Deferred[None],
    ) -> None:
        self.batch = batch
        self.logins = logins
        self.returning = returning
        self.committing = committing


class Exchange:
    """The one caller of the store.

    Args:
        store: an open one.
        turn: its ``store`` and ``answer`` become this object's.
        limits: ``session_backlog``, ``store_backlog``, ``pages_at_once`` and ``routes``.
        clock: times another attempt after the store refused one.
        online: the users that are on-line.
        meter: is told of each batch.
    """

    log = Logger()

    def __init__(
        self,
        store: IStore,
        turn: Turn,
        limits: Limits,
        clock: IReactorTime,
        online: Callable[[], Iterable[User]],
        meter: Meter | None = None,
    ) -> None:
        self._store = store
        self._shared = ISharedStore.providedBy(store)
        self._turn = turn
        self._limits = limits
        self._clock = clock
        self._online = online
        self._meter = meter
        self._outage = Outage(clock)
        self._busy = False
        self._starting = False
        """Within the end of a turn, which goes on with what is stored by then."""
        self.backlog = 0
        """Bytes of messages that have no answer yet."""
        self._held: set[Session] = set()
        self._messages: list[Run | Publication] = []
        self._stored: list[Run | Publication] = []
        self.logins = Logins(store, turn.request)
        self._returned: list[Waiting] = []
        self._returning: list[Run] = []
        self._taken: dict[int, int] = {}
        self._pages: list[tuple[Delivery, Page]] = []
        self._unread: list[Delivery] = []
        self._queries: list[tuple[Query, Deferred[None]]] = []
        self._idle: list[Deferred[None]] = []
        self._retry: IDelayedCall | None = None
        turn.store = self._start
        turn.answer = self._answer

    # What the sessions say.

    def submit(self, message: Run | Publication) -> None:
        """Take messages; each is answered with a code when its fate is known."""
        if self._meter is not None and not self._messages:
            self._meter.came()
        self._messages.append(message)
        self._turn.request()
        session = message.sender
        session.outstanding += message.size
        self.backlog += message.size
        if (
            session.outstanding > self._limits.session_backlog
            or self.backlog > self._limits.store_backlog
        ):
            session.connection.hold(self)
            self._held.add(session)

    def ask(self, delivery: Delivery, page: Page) -> None:
        """Have a page read behind all that is stored by then."""
        self._pages.append((delivery, page))
        self._turn.request()

    def query(self, query: Query) -> Deferred[None]:
        """Have a query answered behind all that is stored by then; fires when it is filled in.

        Raises:
            Unavailable: in the Deferred; the store cannot be read now.
        """
        answered: Deferred[None] = Deferred()
        self._queries.append((query, answered))
        self._turn.request()
        return answered

    def taken(self, user: User, offset: int) -> None:
        """The user's mailbox is delivered up to there."""
        self._taken[user.id] = max(offset, self._taken.get(user.id, 0))
        self._turn.request()

    def give_back(self, waiting: list[Waiting]) -> None:
        """These were not taken by the connection they were meant for."""
        if waiting:
            self._returned += waiting
            self._turn.request()

    def when_idle(self) -> Deferred[None]:
        """Fires when nothing waits for the store and every answer is written to its output."""
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        self._turn.request()
        return idle

    def stop(self) -> None:
        """Make no more attempts of its own."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    # What becomes of it.

    def _start(self) -> None:
        if self._busy or not self._pending():
            return
        self._busy = self._starting = True
        work = self._commit() if self._changes() else None
        if work is not None and self._is_done_with(work):
            # Without a coroutine, which costs more than all else in a turn of one message.
            try:
                self._committed(work)
            finally:
                self._done()
        else:
            Deferred.fromCoroutine(self._work(work)).addErrback(self._broken)
        self._starting = False

    def _is_done_with(self, work: _Work) -> bool:
        """Whether it is stored already and nothing else is asked of the store."""
        stored = work.committing
        if not stored.called or self._pages or self._queries or work.logins.registrations:
            return False
        return not isinstance(stored.result, (Failure, Deferred))

    async def _work(self, work: _Work | None) -> None:
        try:
            if work is not None:
                try:
                    await work.committing
                except Exception as error:
                    await self._refused(work, error)
                else:
                    self._committed(work)
            if self._pages:
                await self._read()
            if self._queries:
                await self._ask()
        finally:
            self._done()

    def _done(self) -> None:
        self._busy = False
        # A turn that is about to end sees to the rest.
        if not self._starting or self._pending():
            self._turn.request()

    def _broken(self, failure: Failure) -> None:
        self.log.failure("The exchange failed", failure)

    def _changes(self) -> bool:
        if self._messages or self.logins.coming:
            return True
        more = self._returned or self._returning or self._taken or self.logins.leaving
        return bool(more) and self._retry is None

    def _pending(self) -> bool:
        return bool(self._pages or self._queries) or self._changes()

    def _commit(self) -> _Work:
        """Give the store all that has gathered."""
        messages, self._messages = self._messages, []
        logins = self.logins.gather()
        returned, self._returned = self._returned, []
        returning, self._returning = self._returning, []
        taken, self._taken = self._taken, {}
        for message in messages:
            if isinstance(message, Run):
                self._admit_run(message)
            else:
                self._admit_publication(message)
        batch = Batch(
            [registration for registration, _ in logins.registrations],
            messages,
            returned,
            taken,
            [session for session, _ in logins.released],
        )
        if self._meter is not None:
            self._meter.begins()
        try:
            committing = self._store.commit(batch)
        except Exception as error:
            committing = fail(error)
        return _Work(batch, logins, returning, committing)

    def _committed(self, work: _Work) -> None:
        self.logins.stored(work.logins)
        self._stored += work.returning
        self._hand_out(work.batch.messages)
        if (seconds := self._outage.over()) is not None:
            self.log.info("The store takes messages again, after {n:.0f} seconds", n=seconds)
        if self._meter is not None:
            self._meter.stored(work.batch)

    async def _refused(self, work: _Work, error: Exception) -> None:
        batch = work.batch
        self._store_refused(error)
        for message in batch.messages:
            message.refuse(Code.UNAVAILABLE, "the store cannot take it now, try again")
        if self._meter is not None:
            self._meter.refused(batch)
        self._returned = batch.returned + self._returned
        self._returning = work.returning + self._returning
        self._taken = batch.taken | self._taken
        await self.logins.refused(work.logins, self._store_refused)
        self._hand_out(batch.messages)

    def _store_refused(self, error: Exception) -> None:
        """Say so now and then, and try again by itself what nobody asks for again."""
        if self._meter is not None:
            self._meter.failed()
        if self._outage.failed():
            if isinstance(error, Unavailable):
                self.log.error("The store refuses: {reason}", reason=error.detail)
            else:
                self.log.failure("The store failed")
        self._try_again_later()

    def _try_again_later(self) -> None:
        if self._retry is None:
            self._retry = self._clock.callLater(_RETRY_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        unread, self._unread = self._unread, []
        for delivery in unread:
            delivery.page_failed()
        self._turn.request()

    def _admit_run(self, run: Run) -> None:
        session = None if self._shared else run.recipient.session
        if session is not None and session.delivery.admit(run.size, len(run.texts)):
            run.live = session
            run.waits = session.delivery.in_mailbox
        run.recipient_id = run.recipient.id

    def _admit_publication(self, publication: Publication) -> None:
        if self._shared:
            return
        recipients = publication.recipients
        if publication.scope == Scope.EVERYONE:
            sender = publication.sender.user
            recipients = tuple(user for user in self._online() if user is not sender)
        publication.live = [
            user.session
            for user in recipients
            if user.session is not None and user.session.delivery.admit(publication.size, 1)
        ]

    def _hand_out(self, messages: list[Run | Publication]) -> None:
        for message in messages:
            if isinstance(message, Run):
                self._hand_out_run(message)
            else:
                for session in message.live:
                    session.delivery.deliver_publication(message)
                self._stored.append(message)

    def _hand_out_run(self, run: Run) -> None:
        if run.accepted and not run.recipient.id:
            run.recipient.id = run.recipient_id
            run.sender.remember(run.recipient, self._limits)
        live = run.live
        delivered = live is None or live.delivery.deliver_run(run)
        if delivered or run.waits or not run.accepted:
            self._stored.append(run)
        else:
            self._put_in_mailbox(run, run.accepted)

    def _put_in_mailbox(self, run: Run, count: int) -> None:
        """The last ones were stored as delivered and not taken: there, and only then OK."""
        if count:
            messages = run.stored().messages()[-count:]
            self._returned += [Waiting(run.recipient.id, one) for one in messages]
        self._returning.append(run)
        run.live = None
        self._turn.request()

    def _answer(self) -> None:
        if self._stored:
            messages, self._stored = self._stored, []
            for message in messages:
                if isinstance(message, Run):
                    if not self._answer_run(message):
                        continue
                else:
                    self._answer_publication(message)
                message.sender.outstanding -= message.size
                self.backlog -= message.size
            if self._held:
                self._release()
        # What a refusing store does not take is not waited for.
        settled = not self._returning or self._retry is not None
        if self._idle and settled and not self._busy and not self._pending():
            idle, self._idle = self._idle, []
            for one in idle:
                one.callback(None)

    def _answer_run(self, run: Run) -> bool:
        """Whether it was answered; if not, it comes again."""
        live = run.live
        if live is not None and run.accepted and not run.waits:
            if live.delivery.closed:
                # Perhaps given back when the session ended: OK when that is stored.
                self._put_in_mailbox(run, 0)
                return False
            untaken = live.delivery.untaken(run)
            if untaken:
                self._put_in_mailbox(run, untaken)
                return False
        write, ids, accepted = run.sender.output.write, run.correlation_ids, run.accepted
        if accepted == len(ids):
            write(encode_answers(Code.OK, ids, run.version))
            return True
        if accepted:
            write(encode_answers(Code.OK, ids[:accepted], run.version))
        write(encode_answers(run.refusal, ids[accepted:], run.version, run.detail))
        run.sender.connection.refused(run.refusal, len(ids) - accepted, run.detail)
        return True

    def _answer_publication(self, publication: Publication) -> None:
        code, detail = publication.refusal, publication.detail
        ids = [publication.correlation_id]
        publication.sender.output.write(encode_answers(code, ids, publication.version, detail))
        if code is not Code.OK:
            publication.sender.connection.refused(code, 1, detail)
            return
        for user, user_id in zip(publication.recipients, publication.recipient_ids, strict=False):
            user.id = user_id
        if len(publication.recipients) == 1:
            publication.sender.remember(publication.recipients[0], self._limits)

    def _release(self) -> None:
        if self.backlog > self._limits.store_backlog // 2:
            return
        threshold = self._limits.session_backlog // 2
        for session in [one for one in self._held if one.outstanding <= threshold]:
            self._held.discard(session)
            session.connection.release(self)

    async def _read(self) -> None:
        count = self._limits.pages_at_once
        asked, self._pages = self._pages[:count], self._pages[count:]
        # What is still to go back to a mailbox stands in front of what is there.
        incomplete = {waiting.user_id for waiting in self._returned}
        wanted = []
        for delivery, page in asked:
            if page.user_id in incomplete:
                self._unread.append(delivery)
                self._try_again_later()
            elif not delivery.closed:
                wanted.append((delivery, page))
        if not wanted:
            return
        try:
            await self._store.read([page for _, page in wanted])
        except Exception as error:
            self._store_refused(error)
            self._unread += [delivery for delivery, _ in wanted]
        else:
            for delivery, page in wanted:
                delivery.page_read(page)
            if self._meter is not None:
                self._meter.read([page for _, page in wanted])

    async def _ask(self) -> None:
        count = self._limits.pages_at_once
        asked, self._queries = self._queries[:count], self._queries[count:]
        try:
            await self._store.read([query for query, _ in asked])
        except Exception as error:
            self._store_refused(error)
            for _, answered in asked:
                answered.errback(Unavailable("the store cannot be read now, try again"))
        else:
            if self._meter is not None:
                self._meter.read([query for query, _ in asked])
            for _, answered in asked:
                answered.callback(None)
