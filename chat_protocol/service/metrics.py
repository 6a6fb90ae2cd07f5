"""The figures of a server for Prometheus; needs what the extra ``metrics`` installs.

Nothing here is on the way of a message: the domain counts in plain numbers, and these are read
when somebody asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
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

from chat_protocol.domain.delivery import State
from chat_protocol.domain.meter import Histogram, Meter
from chat_protocol.interfaces import IStore
from chat_protocol.server.factory import ChatFactory
from chat_protocol.wire.codes import Code

__all__ = ["ServerCollector", "registry_for"]

_SCOPES = ("user", "users", "everyone")
_VERSIONS = (1, 2)
_REFUSALS = [code for code in Code if Code.OK < code < Code.GOING_AWAY]
_LIMITS = (
    *("MIN_FRAME", "MAX_FRAME_BEFORE_LOGIN", "MAX_FRAME"),
    *("FREE_GUESSES", "FREE_GUESSES_OF_ADDRESS", "FREE_GUESSES_OF_NAME"),
    *("connections", "connections_per_address", "connection_rate_per_address", "correlation_tests"),
    *("login_rate", "login_rate_per_address", "login_seconds", "frame_seconds"),
    *("answer_buffer", "mailbox", "message_rate", "message_rate_per_address"),
)
"""Shown from the start, as 0: what appears with its first count has not grown, to Prometheus."""
_DELIVERIES = {State.LIVE: "live", State.HELD: "held", State.CATCHING_UP: "catching up"}


def registry_for(
    factory: Callable[[], ChatFactory | None], store: IStore, meter: Meter
) -> CollectorRegistry:
    """All figures of a server and its process.

    Args:
        factory: the server's; None before it serves and after that.
        store: its store.
        meter: that the factory was given.
    """
    registry = CollectorRegistry()
    registry.register(ServerCollector(factory, store, meter))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class ServerCollector(Collector):
    """The figures of one server; see :func:`registry_for`."""

    def __init__(
        self, factory: Callable[[], ChatFactory | None], store: IStore, meter: Meter
    ) -> None:
        self._factory = factory
        self._store = store
        self._meter = meter
        self._version = version("chat-protocol")

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        kind = self._store.description.partition(":")[0]
        yield InfoMetricFamily(
            "chat", "The server.", value={"version": self._version, "store": kind}
        )
        factory = self._factory()
        yield _gauge("chat_serving", "1: connections are accepted.", int(factory is not None))
        yield from self._store_figures()
        yield from self._message_figures()
        if factory is not None:
            yield from _factory_figures(factory)

    def _store_figures(self) -> Iterator[Metric]:
        meter = self._meter
        yield _gauge(
            "chat_store_up", "1: the store did what it was asked for last.", int(meter.store_up)
        )
        yield _counter(
            "chat_store_failures", "Batches and queries that failed.", meter.store_failures
        )
        yield _gauge("chat_registered_users", "Users that there are.", self._store.registered)
        yield _histogram(
            "chat_commit_seconds",
            "What the store took for a batch, until it was as durable as it promises.",
            meter.commit_seconds,
        )
        yield _histogram(
            "chat_batch_messages", "Messages that were stored together.", meter.batch_messages
        )
        yield _histogram(
            "chat_mailbox_messages",
            "Messages that waited for a user at a login of version 2.",
            meter.mailbox_messages,
        )

    def _message_figures(self) -> Iterator[Metric]:
        meter = self._meter
        messages = CounterMetricFamily(
            "chat_messages",
            "Messages that came to the store, by whom they were for and what was answered;"
            " REPEATED is an OK for what was stored before.",
            labels=("scope", "outcome"),
        )
        known = dict.fromkeys(((scope, Code.OK.name) for scope in _SCOPES), 0)
        for labels, count in (known | meter.messages).items():
            messages.add_metric(labels, count)
        yield messages
        deliveries = CounterMetricFamily(
            "chat_deliveries",
            "Messages that were handed to a recipient, as they were stored (live) or read back"
            " from the mailbox.",
            labels=("way",),
        )
        deliveries.add_metric(("live",), meter.delivered_live)
        deliveries.add_metric(("mailbox",), meter.delivered_from_mailbox)
        yield deliveries
        yield _counter(
            "chat_returned_messages",
            "Messages that a connection had not taken, put back into the mailbox; twice, perhaps.",
            meter.returned,
        )
        yield _histogram(
            "chat_delivery_seconds",
            "From when the first message of a batch came in until they were handed to who is"
            " on-line.",
            meter.delivery_seconds,
        )


def _factory_figures(factory: ChatFactory) -> Iterator[Metric]:
    counters = factory.counters
    yield _counter("chat_connections_accepted", "Connections taken.", counters.connections)
    logins = CounterMetricFamily(
        "chat_logins", "Logins, by what was answered.", labels=("version", "outcome")
    )
    known = {(number, Code.OK): 0 for number in _VERSIONS}
    for (number, code), count in (known | counters.logins).items():
        logins.add_metric((str(number), code.name), count)
    yield logins
    refusals = CounterMetricFamily(
        "chat_refusals", "Requests of any kind that were refused.", labels=("code",)
    )
    for code, count in (dict.fromkeys(_REFUSALS, 0) | counters.refusals).items():
        refusals.add_metric((code.name,), count)
    yield refusals
    limits = CounterMetricFamily(
        "chat_limits_met",
        "How often a limit of docs/protocol.md was met.",
        labels=("limit",),
    )
    for name, count in (dict.fromkeys(_LIMITS, 0) | counters.limits).items():
        limits.add_metric((name,), count)
    yield limits
    yield _gauge(
        "chat_backlog_bytes", "Messages that have no answer yet.", factory.exchange.backlog
    )
    yield from _connection_figures(factory)


def _connection_figures(factory: ChatFactory) -> Iterator[Metric]:
    paused = 0
    found: Counter[tuple[int, State]] = Counter()
    for connection in factory.connections:
        paused += connection.paused
        session = connection.session
        if session is not None:
            found[session.version, session.delivery.state] += 1
    yield _gauge("chat_connections", "Connections that there are.", len(factory.connections))
    yield _gauge(
        "chat_connections_not_read",
        "Of these so many that are not read from just now: a limit is met, or a login under way.",
        paused,
    )
    sessions = GaugeMetricFamily(
        "chat_sessions",
        "Users who are on-line, by how their messages come: live, from the mailbox (catching up),"
        " or not until they have taken what was sent (held).",
        labels=("version", "delivery"),
    )
    for number in _VERSIONS:
        for state, words in _DELIVERIES.items():
            sessions.add_metric((str(number), words), found[number, state])
    yield sessions


def _counter(name: str, what: str, value: float) -> Metric:
    return CounterMetricFamily(name, what, value=value)


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(name, what, value=value)


def _histogram(name: str, what: str, value: Histogram) -> Metric:
    sums = accumulate(value.counts)
    bounds = [*(f"{bound:g}" for bound in value.bounds), "+Inf"]
    return HistogramMetricFamily(
        name, what, buckets=list(zip(bounds, sums, strict=True)), sum_value=value.sum
    )
