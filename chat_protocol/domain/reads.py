"""What the store is to read: pages of mailboxes, and queries."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeAlias

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chat_protocol.domain.delivery import Delivery
from chat_protocol.domain.fair_queue import FairQueue
from chat_protocol.domain.faults import end_session
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.messages import PositionKey
from chat_protocol.domain.metrics import Meter
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.queries import Page, Query
from chat_protocol.domain.users import User
from chat_protocol.errors import Unavailable

__all__ = ["Reads"]

_Asked: TypeAlias = "tuple[Query, Deferred[None]]"


class Reads:
    """Gathers what is to be read, until :meth:`run` reads it between two commits.

    Args:
        store: an open store.
        limits: ``pages_at_once`` is used.
        online: returns the users that are online.
        position: returns the position of a delivery if it is not stored yet, else 0.
        request: requests the end of the turn.
        failed: is told of an error of the store.
        meter: counts what is read.
    """

    def __init__(
        self,
        store: IStore,
        limits: Limits,
        online: Callable[[], Iterable[User]],
        position: Callable[[PositionKey], int],
        request: Callable[[], None],
        failed: Callable[[Exception], None],
        meter: Meter | None,
    ) -> None:
        self._store = store
        self._limits = limits
        self._online = online
        self._position = position
        self._request = request
        self._failed = failed
        self._meter = meter
        self._pages: list[tuple[Delivery, Page]] = []
        self._draining: dict[PositionKey, list[tuple[Delivery, Page]]] = {}
        """By the key of a delivery whose session has ended, and whose connection still takes what
        was written: pages that wait for that."""
        self._failed_pages: list[Delivery] = []
        self._queries: list[_Asked] = []
        """Those that are answered quickly."""
        self._long_queries: FairQueue[_Asked] = FairQueue()

    def __bool__(self) -> bool:
        return bool(self._pages or self.has_queries)

    @property
    def has_queries(self) -> bool:
        """Whether a query waits."""
        return bool(self._queries or self._long_queries)

    def read_page(self, delivery: Delivery, page: Page) -> None:
        """Read a page behind all that is stored by then; see domain.delivery.Mailboxes."""
        before = self._draining.get(delivery.key)
        if before is not None:
            before.append((delivery, page))
            return
        self._pages.append((delivery, page))
        self._request()

    def draining(self, delivery: Delivery) -> None:
        """See domain.delivery.Mailboxes."""
        self._draining[delivery.key] = []

    def drained(self, delivery: Delivery) -> None:
        """See domain.delivery.Mailboxes."""
        for other, page in self._draining.pop(delivery.key, ()):
            self.read_page(other, page)

    def query(self, query: Query, share: Hashable = None) -> Deferred[None]:
        """Read the answer to a query; see Exchange.query.

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
        self._request()
        return answered

    def retry(self) -> None:
        """Tell deliveries whose pages could not be read to ask again."""
        failed, self._failed_pages = self._failed_pages, []
        for delivery in failed:
            delivery.page_failed()

    async def run(self) -> None:
        """Read some pages, and the answers to some queries."""
        if self._pages:
            await self._read_pages()
        if self.has_queries:
            await self._answer_queries()

    async def _read_pages(self) -> None:
        count = self._limits.pages_at_once
        asked, self._pages = self._pages[:count], self._pages[count:]
        wanted = [(delivery, page) for delivery, page in asked if not delivery.closed]
        for delivery, page in wanted:
            # The position may have moved since it was stored.
            page.after = max(page.after, self._position(delivery.key))
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
                    end_session(session, "A delivery to {peer} met a fault", failure)

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
            self._failed(error)
            return [error]
        if self._meter is not None:
            self._meter.read(queries)
        return [None] * len(queries)
