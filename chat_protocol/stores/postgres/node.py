"""This server as a node of the cluster: its lease, and what it hears of the other nodes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.domain.outage import Outage
from chat_protocol.domain.ports import IClusterListener
from chat_protocol.domain.time_marks import MARK_SECONDS
from chat_protocol.errors import StoreUnusable
from chat_protocol.stores.postgres import leases, retention
from chat_protocol.stores.postgres.connect import reason
from chat_protocol.stores.postgres.connections import Connections
from chat_protocol.stores.postgres.notification_listener import NotificationListener
from chat_protocol.stores.postgres.notifications import Notifications, dispatch
from chat_protocol.stores.postgres.upgrade import prepare
from chat_protocol.stores.thread_worker import IWorker

__all__ = ["Node"]

RENEW_SECONDS = 1.5
"""How often a node renews its lease."""

SERVE_SECONDS = leases.LEASE_SECONDS * 2 / 3
"""How long after a renewal began, by its own clock, a node serves."""

WATCH_SECONDS = 0.25
"""How often a node checks its lease by its own clock, in addition to every reactor turn."""

SWEEP_ROUNDS = 4
"""After how many renewals a node looks for new messages: a notification can be lost."""

COUNT_ROUNDS = 40
"""After how many renewals a node counts the users, and notes the time for retention."""


def _now() -> float:
    """Return seconds of a clock that goes on while the process or the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Node:
    """Keeps the lease, in a thread of its own, and passes notifications on.

    If the lease is lost, the server becomes another node, with another id.

    Args:
        connections: "lease" and "notifications" are used.
        reactor: provides IReactorTime and IReactorFDSet.
        worker: keeps the lease.
        wall_clock: nanoseconds since the epoch.
    """

    log = Logger()

    def __init__(
        self,
        connections: Connections,
        reactor: Any,
        worker: IWorker,
        wall_clock: Callable[[], int],
    ) -> None:
        self._connections = connections
        self._reactor = reactor
        self._worker = worker
        self._wall_clock = wall_clock
        self._is_behind = False
        """Whether the clock of the database is behind the last mark."""
        self.id = 0
        self.registered = 0
        """How many users there are, approximately."""
        self.listener: IClusterListener | None = None
        self._notifications: NotificationListener | None = None
        self._serving_until = 0.0
        self._lost = True
        """Whether the node has no lease, and its sessions were ended."""
        self._last_to_everyone = 0
        self._round = 0
        self._renewing: Deferred[None] | None = None
        self._outage = Outage(reactor)
        self._renewals = LoopingCall(self._renew)
        self._watch = LoopingCall(self._check)
        self._renewals.clock = self._watch.clock = reactor

    @property
    def serving(self) -> bool:
        """Whether no other node can have taken the users of this one."""
        return _now() < self._serving_until

    async def start(self) -> None:
        """Create or upgrade the schema, and become a node.

        Raises:
            psycopg.Error: the database cannot be used.
            StoreUnusable: see upgrade.prepare.
        """
        await self._worker.run(self._prepare)
        await self._worker.run(self._join)
        self._joined()
        self._renewals.start(RENEW_SECONDS, now=False).addErrback(self._failed)
        self._watch.start(WATCH_SECONDS, now=False).addErrback(self._failed)

    def _prepare(self) -> None:
        connection = self._connections.get("lease")
        prepare(connection)
        self.registered = leases.count_users(connection)

    async def stop(self) -> None:
        """Stop being a node: other nodes can take the users at once."""
        for loop in (self._renewals, self._watch):
            if loop.running:
                loop.stop()
        self._serving_until = 0.0
        if self._notifications is not None:
            self._notifications.stop()
        if self._renewing is not None:
            await self._renewing
        with suppress(psycopg.Error):
            await self._worker.run(self._leave)
        await self._worker.stop()

    def _leave(self) -> None:
        if self.id:
            leases.leave(self._connections.get("lease"), self.id)
        self._connections.drop("lease")

    # The lease.

    def _renew(self) -> None:
        if self._renewing is None or self._renewing.called:
            self._renewing = Deferred.fromCoroutine(self._renew_or_join())
            self._renewing.addErrback(self._failed)

    async def _renew_or_join(self) -> None:
        try:
            if self._lost and not self.serving:
                await self._worker.run(self._join)
                self._joined()
                self._outage.over()
                self.log.info("The database answers again: this is node {node}", node=self.id)
            else:
                self._renewed(await self._worker.run(self._renew_lease))
        except (psycopg.Error, StoreUnusable) as error:
            if self._outage.failed():
                self.log.warn("Cannot keep the lease: {reason}", reason=reason(error))
            await self._worker.run(lambda: self._connections.drop("lease"))

    def _join(self) -> None:
        """Become a node, and another one if this was a node; runs in the worker."""
        connection = self._connections.get("lease")
        if self.id:
            leases.leave(connection, self.id)
        started = _now()
        self.id = leases.join(connection)
        NotificationListener.listen(self._connections.get("notifications"), self.id)
        self._serving_until = started + SERVE_SECONDS

    def _joined(self) -> None:
        self._lost = False
        self._listen()

    def _renew_lease(self) -> tuple[list[int], int] | tuple[()] | None:
        """Renew the lease, and now and then do more; runs in the worker.

        Returns:
            None: the lease has run out; else, now and then, what leases.waiting found.
        """
        started = _now()
        connection = self._connections.get("lease")
        if not leases.renew(connection, self.id):
            return None
        self._serving_until = started + SERVE_SECONDS
        self._lost = False
        self._round += 1
        if self._notifications is None:
            NotificationListener.listen(self._connections.get("notifications"), self.id)
        if not self._round % COUNT_ROUNDS:
            self.registered = leases.count_users(connection)
            self._mark(connection)
        self._clear_dead_nodes(connection)
        return () if self._round % SWEEP_ROUNDS else leases.waiting(connection, self.id)

    def _mark(self, connection: psycopg.Connection[Any]) -> None:
        behind = retention.mark(connection, retention.database_time(connection))
        was_behind, self._is_behind = self._is_behind, behind > MARK_SECONDS * 10**9
        if self._is_behind and not was_behind:
            self.log.warn(
                "The clock of the database is {seconds:,} s behind the time at which messages were"
                " stored before. Set the clock. With --retention, messages are kept longer by as"
                " much.",
                seconds=behind // 10**9,
            )

    def _clear_dead_nodes(self, connection: psycopg.Connection[Any]) -> None:
        names = leases.clear_dead_nodes(connection)
        if names:
            notifications = Notifications()
            for name in names:
                notifications.change_presence(name, False, self._wall_clock())
            notifications.send(connection)

    def _renewed(self, found: tuple[list[int], int] | tuple[()] | None) -> None:
        if (seconds := self._outage.over()) is not None:
            self.log.info("The database answers again, after {n:.0f} seconds", n=seconds)
        if found is None:
            self._serving_until = 0.0
            self._check()
        elif self._notifications is None:
            self._listen()
            # Some may have been sent while nothing listened.
            self.notified(None)
        elif found:
            waiting, last_to_everyone = found
            if last_to_everyone != self._last_to_everyone:
                self._last_to_everyone = last_to_everyone
                self.notified(None)
            elif waiting:
                self.notified(waiting)

    def _check(self) -> None:
        """If the lease is lost, end the sessions and interrupt what waits for the database."""
        if self._lost or self.serving:
            return
        self._lost = True
        self.log.error("This node has lost its lease: its users have to log in again")
        if self._notifications is not None:
            self._notifications.stop()
            self._notifications = None
        self._connections.interrupt()
        if self.listener is not None:
            self.listener.lease_lost()

    # Notifications.

    def notified(self, user_ids: list[int] | None) -> None:
        """Tell the listener that there are new messages for these users, or for all with None."""
        if self.listener is not None:
            self.listener.notified(user_ids)

    def _listen(self) -> None:
        self._notifications = NotificationListener(
            self._reactor,
            self._connections.get("notifications"),
            self._received,
            self._listener_lost,
        )

    def _received(self, payload: str) -> None:
        if self.listener is None:
            return
        try:
            dispatch(payload, self.listener)
        except (TypeError, ValueError):
            self.log.warn("Ignoring the notification {payload!r}", payload=payload)

    def _listener_lost(self) -> None:
        self._notifications = None

    def _failed(self, failure: Failure) -> None:
        self.log.failure("The lease is not kept any more", failure)
