"""The metrics page: a parser reads it, and each figure moves with what it is named for."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock, deferLater
from zope.interface import implementer

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.messages import Batch
from chat_protocol.domain.metrics import Histogram, Meter
from chat_protocol.domain.ports import IStore
from chat_protocol.errors import Unavailable
from chat_protocol.server.factory import ChatFactory
from chat_protocol.server.rejected import ClosedAtOnce
from chat_protocol.service.metrics import registry_for
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.wire.commands import Heartbeat, Login2, Message, Publish, Scope
from tests.server.line import Server, login, message
from tests.server.line2 import Peer2


@implementer(IStore)
class Store(MemoryStore):
    """Takes its time, or refuses."""

    seconds = 0.0
    refuses = False
    clock: Clock

    def commit(self, batch: Batch) -> Deferred[None]:
        if self.refuses:
            return fail(Unavailable("full"))
        if self.seconds:
            return deferLater(self.clock, self.seconds, self._commit, batch)
        return super().commit(batch)

    def _commit(self, batch: Batch) -> None:
        super().commit(batch)


class Measured(Server):
    """A server, and what its page says."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.limits = Limits(mailbox=2, connections=9)
        self.store: Store = Store(2)
        self.store.clock = self.clock
        self.meter = Meter(self.clock.seconds)
        self.factory = ChatFactory(
            self.store, self.clock, lambda: 1234, self.limits, meter=self.meter
        )
        self.serves = True
        self.registry = registry_for(
            lambda: self.factory if self.serves else None, self.store, self.meter
        )

    def connect(self) -> Peer2:
        protocol = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4000))
        return Peer2(self, protocol)

    def on(self, name: str) -> Peer2:
        peer = self.connect()
        peer.say(Login2(name))
        return peer

    def samples(self) -> dict[str, float]:
        """Every figure by its name and labels."""
        text = generate_latest(self.registry).decode()
        return {
            f"{sample.name}{sorted(sample.labels.items())}" if sample.labels else sample.name: (
                sample.value
            )
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def families(self) -> set[str]:
        text = generate_latest(self.registry).decode()
        return {family.name for family in text_string_to_metric_families(text)}


def _stopped(server: Measured) -> None:
    server.serves = False


def _refused(server: Measured) -> None:
    alice = server.on("alice")
    server.store.refuses = True
    alice.say(Publish(1, "hi", Scope.USERS, ("alice",), 0))


def _slow(server: Measured) -> None:
    server.on("bob")
    alice = server.on("alice")
    server.store.seconds = 0.3
    alice.say(Message("hi", "", "bob", 0))
    server.clock.advance(0.3)
    server.turn()


def _pair(server: Measured) -> None:
    server.on("bob")
    server.on("alice").say(
        Message("hi", "", "bob", 0),
        Publish(7, "hi", Scope.USERS, ("bob", "alice"), 0),
        Publish(0, "hi", Scope.EVERYONE, (), 0),
    )


def _repeated(server: Measured) -> None:
    server.on("bob")
    alice = server.on("alice")
    for _ in range(2):
        alice.say(Publish(7, "hi", Scope.USERS, ("bob",), 0))


def _waiting(server: Measured) -> None:
    server.on("bob").lose()
    server.on("alice").say(*[Message("hi", "", "bob", 0)] * 3)
    server.on("bob")


def _paused(server: Measured) -> None:
    server.on("carol")
    bob = server.connect()
    bob.send(login("bob"))
    bob.protocol.output.pauseProducing()  # type: ignore[attr-defined]
    alice = server.connect()
    alice.send(login("alice"))
    for _ in range(2):
        alice.send(message("hi", "alice", "bob"))


def _backlog(server: Measured) -> None:
    alice = server.on("alice")
    server.store.seconds = 1.0
    alice.say(Message("hi", "", "alice", 0))


def _logins(server: Measured) -> None:
    server.on("alice")
    server.on("alice")
    server.connect().send(login("bob"))
    server.connect().send(login(" "))


def _limit(server: Measured) -> None:
    peers = [server.connect() for _ in range(9)]
    assert isinstance(
        server.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4000)), ClosedAtOnce
    )
    assert peers


MOVES: dict[str, tuple[Callable[[Measured], object], dict[str, float]]] = {
    "chat_info": (
        lambda server: setattr(server.store, "description", "other: than before"),
        {f"chat_info[('store', 'other'), ('version', '{version('chat-protocol')}')]": 1},
    ),
    "chat_serving": (_stopped, {"chat_serving": -1}),
    "chat_store_up": (_refused, {"chat_store_up": -1}),
    "chat_store_failures": (_refused, {"chat_store_failures_total": 1}),
    "chat_registered_users": (_pair, {"chat_registered_users": 2}),
    "chat_commit_seconds": (
        _slow,
        {
            "chat_commit_seconds_count": 3,
            "chat_commit_seconds_sum": 0.3,
            "chat_commit_seconds_bucket[('le', '0.25')]": 2,
            "chat_commit_seconds_bucket[('le', '0.5')]": 3,
            "chat_commit_seconds_bucket[('le', '+Inf')]": 3,
        },
    ),
    "chat_batch_messages": (
        _pair,
        {"chat_batch_messages_count": 1, "chat_batch_messages_sum": 3},
    ),
    "chat_mailbox_messages": (
        _waiting,
        {"chat_mailbox_messages_count": 3, "chat_mailbox_messages_sum": 2},
    ),
    "chat_messages": (
        _pair,
        {
            "chat_messages_total[('outcome', 'OK'), ('scope', 'user')]": 1,
            "chat_messages_total[('outcome', 'OK'), ('scope', 'users')]": 1,
            "chat_messages_total[('outcome', 'OK'), ('scope', 'everyone')]": 1,
        },
    ),
    "chat_deliveries": (_pair, {"chat_deliveries_total[('way', 'live')]": 4}),
    "chat_delivery_seconds": (
        _slow,
        {"chat_delivery_seconds_count": 1, "chat_delivery_seconds_sum": 0.3},
    ),
    "chat_connections_accepted": (_logins, {"chat_connections_accepted_total": 4}),
    "chat_logins": (
        _logins,
        {
            "chat_logins_total[('outcome', 'OK'), ('version', '1')]": 1,
            "chat_logins_total[('outcome', 'OK'), ('version', '2')]": 1,
            "chat_logins_total[('outcome', 'USER_ALREADY_LOGGED'), ('version', '2')]": 1,
            "chat_logins_total[('outcome', 'INVALID_USERNAME'), ('version', '1')]": 1,
        },
    ),
    "chat_refusals": (
        lambda server: server.on("alice").say(Message("hi", "", "nobody", 0), Heartbeat()),
        {"chat_refusals_total[('code', 'USER_NOT_FOUND')]": 1},
    ),
    "chat_limits_met": (_limit, {"chat_limits_met_total[('limit', 'connections')]": 1}),
    "chat_backlog_bytes": (_backlog, {"chat_backlog_bytes": 37}),
    "chat_connections": (_logins, {"chat_connections": 4}),
    "chat_connections_not_read": (
        lambda server: server.on("alice").protocol.pause(server),
        {"chat_connections_not_read": 1},
    ),
    "chat_sessions": (
        _paused,
        {
            "chat_sessions[('delivery', 'live'), ('version', '2')]": 1,
            "chat_sessions[('delivery', 'live'), ('version', '1')]": 1,
            "chat_sessions[('delivery', 'paused'), ('version', '1')]": 1,
        },
    ),
}
PROCESS = ("process_", "python_gc_")


@pytest.mark.parametrize("name", MOVES)
def test_it_moves(name: str) -> None:
    server = Measured()
    before = server.samples()
    do, expected = MOVES[name]
    do(server)
    after = server.samples()
    for sample, difference in expected.items():
        assert sample.startswith(name)
        assert after[sample] - before.get(sample, 0) == pytest.approx(difference), sample


def test_each_figure_is_one_of_them() -> None:
    server = Measured()
    _waiting(server)
    own = {name for name in server.families() if not name.startswith(PROCESS)}
    assert own == set(MOVES)


def test_the_process_is_there() -> None:
    server = Measured()
    before = server.samples()
    sum(range(3_000_000))
    after = server.samples()
    assert after["process_cpu_seconds_total"] > before["process_cpu_seconds_total"]
    assert after["process_resident_memory_bytes"] > 1e6
    assert after["process_open_fds"] > 2
    assert after["process_start_time_seconds"] > 1e9
    assert "python_gc_collections_total[('generation', '2')]" in after


def test_openmetrics_too() -> None:
    server = Measured()
    _pair(server)
    text = generate_openmetrics(server.registry).decode()
    names = {family.name for family in parse_openmetrics(text)}
    assert names >= set(MOVES) - {"chat_info"} | {"chat"}


@pytest.mark.parametrize(
    ("do", "sample"),
    [
        (_repeated, "[('outcome', 'REPEATED'), ('scope', 'user')]"),
        (_waiting, "[('outcome', 'MAILBOX_FULL'), ('scope', 'user')]"),
        (_refused, "[('outcome', 'UNAVAILABLE'), ('scope', 'user')]"),
    ],
)
def test_what_became_of_a_message(do: Callable[[Any], object], sample: str) -> None:
    server = Measured()
    do(server)
    assert server.samples()["chat_messages_total" + sample] == 1


def test_what_is_read_from_a_mailbox_counts_apart() -> None:
    server = Measured()
    _waiting(server)
    samples = server.samples()
    assert samples["chat_deliveries_total[('way', 'mailbox')]"] == 2
    assert samples["chat_deliveries_total[('way', 'live')]"] == 0


def test_a_store_that_is_well_again_is_up() -> None:
    server = Measured()
    alice = server.on("alice")
    server.store.refuses = True
    alice.say(Message("hi", "", "alice", 0))
    assert server.samples()["chat_store_up"] == 0
    server.store.refuses = False
    alice.say(Message("hi", "", "alice", 0))
    assert server.samples()["chat_store_up"] == 1


def test_a_value_on_a_bound_is_below_it() -> None:
    histogram = Histogram((1, 10))
    for value in (0.5, 1, 2, 10, 11):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.sum == 24.5


def test_without_a_meter_nothing_is_asked_of_one() -> None:
    server = Server()
    alice = server.logged_in("alice")
    assert alice.send(message("hi", "alice", "alice"))
