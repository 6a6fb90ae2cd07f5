"""The metrics of a server for Prometheus; requires the extra ``metrics``.

Metrics add no cost to a message. The domain and the server count in plain numbers, and a scrape
reads these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from chat_protocol.domain.delivery import DeliveryState
from chat_protocol.domain.metrics import Histogram, Meter
from chat_protocol.domain.ports import IStore
from chat_protocol.server.factory import ChatFactory
from chat_protocol.version import __version__
from chat_protocol.wire.codes import Code

__all__ = ["ServerCollector", "registry_for"]

_SCOPES = ("user", "users", "everyone")
_VERSIONS = (1, 2)
_REFUSALS = [code for code in Code if Code.OK < code < Code.GOING_AWAY]
_LIMITS = (
    *("MIN_FRAME", "MAX_FRAME_BEFORE_LOGIN", "MAX_FRAME"),
    *("FREE_GUESSES", "FREE_GUESSES_OF_ADDRESS", "FREE_GUESSES_OF_NAME", "PASSWORD_CHECKS"),
    *("connections", "connections_per_address", "connection_rate_per_address", "correlation_tests"),
    *("frames_before_login", "bytes_before_login", "tests_before_login"),
    *("login_rate", "login_rate_per_address", "login_seconds", "frame_seconds"),
    *("answer_buffer", "mailbox", "message_rate", "message_rate_per_address"),
)
"""Exported from the start as 0, so that Prometheus sees the first count as an increase."""
_DELIVERY_LABELS = {
    DeliveryState.LIVE: "live",
    DeliveryState.PAUSED: "paused",
    DeliveryState.CATCHING_UP: "catching up",
}


def registry_for(
    factory: Callable[[], ChatFactory | None], store: IStore, meter: Meter
) -> CollectorRegistry:
    """Return a registry with all metrics of a server and its process.

    Args:
        factory: returns the server's factory, or None while it does not accept connections.
        store: the server's store.
        meter: the meter that the factory uses.
    """
    registry = CollectorRegistry()
    registry.register(ServerCollector(factory, store, meter))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class ServerCollector(Collector):
    """Collects the metrics of one server; for the arguments see :func:`registry_for`."""

    def __init__(
        self, factory: Callable[[], ChatFactory | None], store: IStore, meter: Meter
    ) -> None:
        self._factory = factory
        self._store = store
        self._meter = meter
        self._version = __version__

    def collect(self) -> Iterator[Metric]:
        kind = self._store.description.partition(":")[0]
        yield InfoMetricFamily(
            "chat", "Version and store.", value={"version": self._version, "store": kind}
        )
        factory = self._factory()
        yield _gauge(
            "chat_serving", "1 if the server accepts connections.", int(factory is not None)
        )
        yield from self._store_metrics()
        yield from self._message_metrics()
        if factory is not None:
            yield from _factory_metrics(factory)

    def _store_metrics(self) -> Iterator[Metric]:
        meter = self._meter
        yield _gauge(
            "chat_store_up", "1 if the last operation of the store succeeded.", int(meter.store_up)
        )
        yield _counter(
            "chat_store_failures", "Batches and queries that failed.", meter.store_failures
        )
        yield _gauge("chat_registered_users", "Registered users.", self._store.registered)
        yield _histogram(
            "chat_commit_seconds",
            "Duration of the commit of a batch, in seconds.",
            meter.commit_seconds,
        )
        yield _histogram(
            "chat_batch_messages", "Messages per committed batch.", meter.batch_messages
        )
        yield _histogram(
            "chat_mailbox_messages",
            "Messages waiting in the user's mailbox at a version 2 login.",
            meter.mailbox_messages,
        )

    def _message_metrics(self) -> Iterator[Metric]:
        meter = self._meter
        messages = CounterMetricFamily(
            "chat_messages",
            "Messages by scope and by the code of the answer; REPEATED is an OK for a message that"
            " had been stored before.",
            labels=("scope", "outcome"),
        )
        known = dict.fromkeys(((scope, Code.OK.name) for scope in _SCOPES), 0)
        for labels, count in (known | meter.messages).items():
            messages.add_metric(labels, count)
        yield messages
        deliveries = CounterMetricFamily(
            "chat_deliveries",
            "Messages delivered to a connection, as soon as they were stored (live) or later from"
            " the mailbox.",
            labels=("way",),
        )
        deliveries.add_metric(("live",), meter.delivered_live)
        deliveries.add_metric(("mailbox",), meter.delivered_from_mailbox)
        yield deliveries
        yield _histogram(
            "chat_delivery_seconds",
            "Time from reading the first message of a batch to delivering the batch, in seconds.",
            meter.delivery_seconds,
        )


def _factory_metrics(factory: ChatFactory) -> Iterator[Metric]:
    counters = factory.counters
    yield _counter("chat_connections_accepted", "Accepted connections.", counters.connections)
    logins = CounterMetricFamily(
        "chat_logins", "Logins by the code of the answer.", labels=("version", "outcome")
    )
    known = {(number, Code.OK): 0 for number in _VERSIONS}
    for (number, code), count in (known | counters.logins).items():
        logins.add_metric((str(number), code.name), count)
    yield logins
    refusals = CounterMetricFamily(
        "chat_refusals", "Refused requests of any kind.", labels=("code",)
    )
    for code, count in (dict.fromkeys(_REFUSALS, 0) | counters.refusals).items():
        refusals.add_metric((code.name,), count)
    yield refusals
    limits = CounterMetricFamily(
        "chat_limits_met",
        "How often a limit of docs/protocol.md was reached.",
        labels=("limit",),
    )
    for name, count in (dict.fromkeys(_LIMITS, 0) | counters.limits).items():
        limits.add_metric((name,), count)
    yield limits
    yield _gauge("chat_backlog_bytes", "Bytes of unanswered messages.", factory.exchange.backlog)
    yield from _connection_metrics(factory)


def _connection_metrics(factory: ChatFactory) -> Iterator[Metric]:
    paused = 0
    found: Counter[tuple[int, DeliveryState]] = Counter()
    for connection in factory.connections:
        paused += connection.paused
        session = connection.session
        if session is not None:
            found[session.version, session.delivery.state] += 1
    yield _gauge("chat_connections", "Open connections.", len(factory.connections))
    yield _gauge(
        "chat_connections_not_read",
        "Connections whose reads are paused, by a limit or during a login.",
        paused,
    )
    sessions = GaugeMetricFamily(
        "chat_sessions",
        "Online users by the state of their delivery: live, from the mailbox (catching up), or"
        " paused until the client has read what was sent.",
        labels=("version", "delivery"),
    )
    for number in _VERSIONS:
        for state, label in _DELIVERY_LABELS.items():
            sessions.add_metric((str(number), label), found[number, state])
    yield sessions


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_text, value=value)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)


def _histogram(name: str, help_text: str, value: Histogram) -> Metric:
    sums = accumulate(value.counts)
    bounds = [*(f"{bound:g}" for bound in value.bounds), "+Inf"]
    return HistogramMetricFamily(
        name, help_text, buckets=list(zip(bounds, sums, strict=True)), sum_value=value.sum
    )
