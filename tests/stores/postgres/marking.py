"""A PostgreSQL store whose tests need not wait a minute for the age of a message."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from chat_protocol.domain.messages import Batch
from chat_protocol.stores.postgres import retention as postgres_retention
from chat_protocol.stores.postgres.store import PostgresStore
from tests.stores.conftest import ImmediateWorker, StillReactor
from tests.stores.helpers import now

__all__ = ["MarkingStore"]


class MarkingStore(PostgresStore):
    """Marks how old messages are when the clock is looked at again, as it else does by itself."""

    _stored = 0

    @classmethod
    def opened(cls, url: str, wall_clock: Callable[[], int]) -> MarkingStore:
        """Return an open store without a mailbox limit."""
        worker = ImmediateWorker()
        store = cls(url, 0, StillReactor(), worker, worker, wall_clock)
        now(store.open())
        return store

    def commit(self, batch: Batch) -> Deferred[None]:
        self._mark()
        self._stored = self._wall_clock()
        return super().commit(batch)

    def forget(self, before: int) -> Deferred[bool]:
        self._mark()
        return super().forget(before)

    def _database_time(self, connection: object) -> int:  # type: ignore[override]
        return self._wall_clock()

    def _mark(self) -> None:
        time = self._wall_clock()
        if self._stored and time != self._stored:
            postgres_retention.mark(self._connections.get("lease"), self._stored + 60 * 10**9)
            self._stored = time
