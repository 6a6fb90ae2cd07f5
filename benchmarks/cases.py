"""The cases: the server to start, the load, and the figures to report."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks import loads, waiting
from benchmarks.figures import Sample, of_load, others
from benchmarks.loads import Plan, Result
from benchmarks.logins import logins
from benchmarks.loop import drain, log_in
from benchmarks.servers import FLOOR, Contender, Target
from benchmarks.workers import Load, Phase, run

__all__ = ["CASES", "Case", "Settings"]

IDLE = 10_000
"""Sessions of the case ``idle``."""

ONLINE = (10, 100, 1_000, 10_000)
"""Numbers of online users in the case ``users``; ten of them send or receive messages."""

RATES = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
"""Messages per second of the case ``rates``."""

_SUSTAINED = 0.9
"""A server sustains a rate if it delivers at least this share of it."""

_serial = itertools.count()


@dataclass
class Settings:
    """The settings of a run, which apply to all cases."""

    seconds: float
    """Duration of each measurement."""
    processes: int
    """Number of load processes."""
    directory: Path
    """Directory for the files of the measured servers."""
    database: Path | None = None
    """SQLite file with waiting messages, once it has been created."""

    def waiting_database(self) -> Path:
        """Return the path of an SQLite file with waiting messages; create it on the first call."""
        if self.database is None:
            path = self.directory / "waiting.db"
            waiting.make(path)
            self.database = path
        return self.database


Measured = Mapping[str, Sample]
"""Samples by label; the label of a single sample is empty."""


@dataclass(frozen=True)
class Case:
    """A measurement that is made with each contender."""

    name: str
    title: str
    figures: tuple[str, ...]
    """Keys of FIGURES: the columns of the table."""
    measure: Callable[[Contender, Settings], Measured]
    ratio: str = "answered"
    """The figure that is compared with the floor's."""
    label: str = ""
    """Header of the column with the labels of the samples."""
    takes: Callable[[Contender], bool] = lambda contender: contender.protocol is None


def _prefix() -> str:
    """Return a unique prefix of fixed length for usernames."""
    return f"b{os.getpid() % 10**6:06d}{next(_serial):04d}"


def _run(load: Load, target: Target, settings: Settings, **plan: Any) -> tuple[Result, list[Phase]]:
    """Run a load, with its pairs divided among the load processes."""
    whole = Plan(target.address, "", settings.seconds, **plan)
    processes = max(1, min(settings.processes, whole.pairs))
    shares = [whole.pairs // processes + (n < whole.pairs % processes) for n in range(processes)]
    plans = [
        replace(whole, prefix=_prefix(), pairs=share, rate=whole.rate * share / (whole.pairs or 1))
        for share in shares
    ]
    return run(load, plans, target.costs)


def _loaded(load: Load, **plan: Any) -> Callable[[Contender, Settings], Measured]:
    """Return a measurement that starts a new server and runs one load."""

    def measure(contender: Contender, settings: Settings) -> Measured:
        chosen = {**plan, "protocol": contender.protocol}
        if 2 not in contender.versions:
            # The floor and brokers are compared all the same.
            chosen |= {"version": 1, "transport": "tcp"}
        with contender.running() as target:
            return {"": of_load(*_run(load, target, settings, **chosen))}

    return measure


def _idle(contender: Contender, settings: Settings) -> Measured:
    with contender.running() as target:
        alone = replace(settings, processes=1)
        result, (phase, _) = _run(loads.idle, target, alone, idle=IDLE)
    figures = {"logins": result.messages / result.answering, **others(result, [phase])}
    if phase.cpu is not None and phase.rss is not None:
        figures["login_cpu"] = phase.cpu / result.messages
        figures["memory"] = phase.rss / result.messages
    return {"": figures}


def _logins(contender: Contender, settings: Settings) -> Measured:
    with contender.running() as target:
        result, (phase,) = _run(logins, target, settings, pairs=32)
    figures = {"logins": result.messages / result.answering, "busy": result.busy}
    figures |= others(result, [phase])
    if phase.cpu is not None:
        figures["login_cpu"] = phase.cpu / result.messages
    return {"": figures}


def _users(contender: Contender, settings: Settings) -> Measured:
    figures = {}
    for online in ONLINE:
        with contender.running() as target:
            alone = replace(settings, processes=1)
            load = _run(loads.pairs, target, alone, pairs=5, idle=online - 10)
            figures[f"{online:,}"] = of_load(*load)
    return figures


def _rates(contender: Contender, settings: Settings) -> Measured:
    figures = {}
    missed = 0
    with contender.running() as target:
        for rate in RATES:
            load = _run(loads.open_loop, target, settings, pairs=64, rate=rate, record=True)
            sample = figures[f"{rate:,}"] = of_load(*load)
            # A single missed rate can be due to other programs on the machine.
            missed = missed + 1 if sample["delivered"] < _SUSTAINED * rate else 0
            if missed == 2:
                break
    return figures


def _waiting(contender: Contender, settings: Settings) -> Measured:
    figures: dict[str, Sample] = {}
    couples = [
        (waiting.user_name(n), waiting.user_name(n + waiting.USERS // 2))
        for n in range(0, waiting.USERS // 2, waiting.USERS // 128)
    ]
    for label, database in (("0", None), ("1,000,000", settings.waiting_database())):
        with contender.running(database) as target:
            begun = target.costs()
            name, expected = "user000001", waiting.frames_for if database else None
            before = monotonic()
            (sock,) = log_in(target.address, [name])
            drain(sock, waiting.frames_for(name) if database else b"", name)
            after = monotonic()
            sock.close()
            alone = replace(settings, processes=1)
            sample = of_load(
                *_run(loads.pairs, target, alone, names=couples, pairs=64, waiting=expected)
            )
        sample |= {"start": target.started_in, "login": after - before}
        if begun is not None:
            sample["rss"] = begun.rss
        figures[label] = sample
    return figures


_THROUGHPUT = ("answered", "delivered", "cpu", "busy")
_TURN_AROUND = (
    "answered", "cpu", "answer p50", "answer p99",
    "delivery p50", "delivery p90", "delivery p99", "delivery p99.9", "delivery max",
)  # fmt: skip
_TURN_AROUND_BUSY = (*_TURN_AROUND, "busy")


def _takes_2_or_broker(contender: Contender) -> bool:
    return 2 in contender.versions or contender.name == FLOOR or contender.protocol is not None


CASES = {
    case.name: case
    for case in (
        Case(
            "pairs-64",
            "64 pairs, each with 64 messages in flight",
            _THROUGHPUT,
            _loaded(loads.pairs, pairs=64),
        ),
        Case(
            "pairs-1",
            "64 pairs, each with one message in flight",
            _TURN_AROUND,
            _loaded(loads.pairs, pairs=64, window=1, record=True),
        ),
        Case(
            "pairs-1-2",
            "50 pairs of version 2, and of brokers, each with one message in flight",
            _TURN_AROUND_BUSY,
            _loaded(loads.pairs, pairs=50, window=1, record=True, version=2),
            takes=_takes_2_or_broker,
        ),
        *(
            Case(
                f"pairs-1-{transport}",
                f"50 pairs of version 2 over {title}, each with one message in flight",
                _TURN_AROUND_BUSY,
                _loaded(
                    loads.pairs, pairs=50, window=1, record=True, version=2, transport=transport
                ),
                takes=lambda contender: 2 in contender.versions or contender.name == FLOOR,
            )
            for transport, title in (("tls", "TLS"), ("websocket", "WebSockets"))
        ),
        Case(
            "latency",
            "1 pair with one message in flight",
            _TURN_AROUND,
            _loaded(loads.pairs, pairs=1, window=1, record=True),
        ),
        Case(
            "fan-in",
            "32 senders to one recipient, each with 64 messages in flight",
            _THROUGHPUT,
            _loaded(loads.fan_in, pairs=32),
        ),
        Case(
            "offline",
            "16 senders to offline users, each with 64 messages in flight; then the recipients"
            " log in",
            (*_THROUGHPUT, "drain_cpu"),
            _loaded(loads.offline, pairs=16),
        ),
        Case(
            "version-2",
            "64 pairs of version 2 (Publish with publishing ids, Deliver, Ack), each with 64"
            " messages in flight",
            _THROUGHPUT,
            _loaded(loads.pairs, pairs=64, version=2),
            takes=lambda contender: 2 in contender.versions or contender.name == FLOOR,
        ),
        Case(
            "latency-2",
            "1 pair of version 2, and of brokers, with one message in flight",
            _TURN_AROUND,
            _loaded(loads.pairs, pairs=1, window=1, record=True, version=2),
            takes=_takes_2_or_broker,
        ),
        Case(
            "rates",
            "64 pairs that send at a fixed rate, independent of the answers",
            ("delivered", "cpu", *_TURN_AROUND[2:], "sending p99", "busy"),
            _rates,
            ratio="delivery p50",
            label="messages/s",
        ),
        Case(
            "users",
            "5 pairs, each with 64 messages in flight, among many online users",
            ("answered", "cpu", "busy"),
            _users,
            label="online users",
        ),
        Case(
            "idle",
            f"{IDLE:,} new users log in, 32 at a time, and stay idle",
            ("logins", "login_cpu", "memory"),
            _idle,
            ratio="logins",
        ),
        Case(
            "logins",
            "32 clients log in and disconnect in a loop, with registered names",
            ("logins", "login_cpu", "busy"),
            _logins,
            ratio="logins",
        ),
        Case(
            "waiting",
            f"a store with many messages waiting for {waiting.USERS:,} users; then 64 pairs, each"
            " with 64 messages in flight",
            ("start", "rss", "login", "answered", "cpu", "busy"),
            _waiting,
            label="waiting messages",
            takes=lambda contender: contender.durable,
        ),
    )
}
