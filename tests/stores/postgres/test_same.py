"""The PostgreSQL store against the one in memory: whatever happens, both say the same."""

from __future__ import annotations

import random

import pytest
from twisted.internet.defer import Deferred

from chat_protocol.domain.messages import Batch
from chat_protocol.domain.time_marks import MARK_SECONDS
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.stores.postgres import retention
from chat_protocol.stores.postgres.admin.admin import PostgresAdmin
from chat_protocol.stores.postgres.store import PostgresStore
from tests.stores.conftest import ImmediateWorker, StillReactor, WallClock
from tests.stores.helpers import now
from tests.stores.postgres.server import PostgresServer
from tests.stores.test_same import LIMIT, Side, Traffic, forget, login, moves

pytestmark = pytest.mark.postgresql


class PunctualStore(PostgresStore):
    """Notes the age of messages at the same moments as the store in memory."""

    _noted = _last_stored = 0

    def commit(self, batch: Batch) -> Deferred[None]:
        if batch.messages:
            self._note()
            self._last_stored = self._wall_clock()
        return super().commit(batch)

    def forget(self, before: int) -> Deferred[bool]:
        self._note()
        return super().forget(before)

    def _database_time(self, connection: object) -> int:  # type: ignore[override]
        return self._wall_clock()

    def _note(self) -> None:
        time = self._wall_clock()
        if time - self._noted >= MARK_SECONDS * 10**9:
            self._noted = time
            retention.mark(self._connections.get("lease"), self._last_stored)


def opened(url: str, wall_clock: WallClock) -> PunctualStore:
    worker = ImmediateWorker()
    store = PunctualStore(url, LIMIT, StillReactor(), worker, worker, wall_clock)
    now(store.open())
    return store


@pytest.mark.parametrize("seed", range(6))
def test_both_say_the_same(seed: int, postgres: PostgresServer, wall_clock: WallClock) -> None:
    rnd = random.Random(seed)
    url = postgres.new_database()
    store = opened(url, wall_clock)
    sides = Side(MemoryStore(LIMIT, wall_clock=wall_clock)), Side(store)
    traffic = Traffic(rnd)
    for step in range(60):
        wall_clock.pass_(rnd.choice([0, 0, 61]))
        if rnd.random() < 0.1:
            forget(sides, wall_clock, rnd)
        known = list(sides[0].sessions)
        if len(known) < 2 or rnd.random() < 0.1:
            name, device = login(known, rnd)
            assert sides[0].log_in(name, device, step) == sides[1].log_in(name, device, step)
            continue
        if rnd.random() < 0.1:
            assert sides[0].forget_devices(step) == sides[1].forget_devices(step)
        if rnd.random() < 0.1:
            # As after the loss of a connection: nothing is known but what the database says.
            store._connections.drop("batches")
            store._database = None
        sent = [traffic.sending(known) for _ in range(rnd.randint(0, 4))]
        positions = moves(sides[0], known, rnd)
        answers, others = (side.commit(sent, positions) for side in sides)
        assert answers == others
        if step % 3 == 0:
            look = rnd.random()
            state, others = (side.state(random.Random(look)) for side in sides)
            assert state == others
    now(store.close())
    assert PostgresAdmin(url).check().faults == []
