"""The figures that are measured: what they are called, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.loads import Result
from benchmarks.workers import Phase

__all__ = [
    "FIGURES",
    "PERCENTILES",
    "Figure",
    "Row",
    "Sample",
    "of_load",
    "others",
    "percentiles",
    "spread",
]

Sample = Mapping[str, float]
"""Figures by their keys, of one measurement."""

Row = Sequence[Sample]
"""The repetitions of one measurement."""


@dataclass(frozen=True)
class Figure:
    """Something that is measured."""

    key: str
    title: str
    """With its unit."""
    meaning: str
    digits: int = 0
    factor: float = 1.0
    """From the unit of samples to that of the title."""
    spread: bool = True
    """Whether its lowest and highest are shown."""

    def show(self, value: float) -> str:
        """A value as it stands in a table."""
        return f"{value * self.factor:,.{self.digits}f}"


PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}

FIGURES = {
    figure.key: figure
    for figure in (
        Figure("answered", "answered/s", "messages answered OK, per second"),
        Figure("delivered", "delivered/s", "messages that arrived, per second"),
        Figure("logins", "logins/s", "logins answered OK, per second"),
        Figure("cpu", "CPU us", "server's processor time per message", 2, 1e6),
        Figure("drain_cpu", "drain CPU us", "the same, for taking it from the mailbox", 2, 1e6),
        Figure("login_cpu", "CPU us/login", "server's processor time per login", 1, 1e6),
        Figure("memory", "kB/session", "memory that a silent session takes", 2, 1e-3),
        Figure("rss", "MB", "server's memory", 1, 1e-6),
        Figure("start", "start s", "from the start of the process to its first connection", 2),
        Figure("login", "login ms", "a login and the messages that waited for it", 1, 1e3),
        Figure("busy", "users busy", "part of a processor that the users took", 2, spread=False),
        Figure("others", "others", "processors that other programs took meanwhile", 2),
        *(
            Figure(
                f"{kind} {name}",
                f"{title} {name} ms",
                f"{meaning}, {name}",
                2,
                1e3,
                spread=name in ("p50", "p99") and kind != "sending",
            )
            for kind, title, meaning in (
                ("sending", "users late", "until the users have sent a message that is due"),
                ("answer", "answer", "until a message is answered"),
                ("delivery", "arrival", "until a message arrives"),
            )
            for name in PERCENTILES
        ),
    )
}


def others(result: Result, phases: Sequence[Phase]) -> dict[str, float]:
    """What disturbed a measurement, where the server can be looked at."""
    cpu = [phase.cpu for phase in phases]
    if None in cpu:
        return {}
    used = sum(phase.machine for phase in phases) - sum(filter(None, cpu)) - result.cpu
    return {"others": max(0.0, used / sum(phase.seconds for phase in phases))}


def percentiles(values: Sequence[float], kind: str) -> dict[str, float]:
    """The percentiles of latencies, in seconds; nothing of nothing."""
    ordered = sorted(values)
    if not ordered:
        return {}
    last = len(ordered) - 1
    return {f"{kind} {name}": ordered[int(part * last)] for name, part in PERCENTILES.items()}


def of_load(result: Result, phases: Sequence[Phase]) -> dict[str, float]:
    """The figures of a load in which messages were sent."""
    figures = {"answered": result.messages / result.answering, "busy": result.busy}
    if result.delivering:
        figures["delivered"] = result.messages / result.delivering
    for key, phase in zip(("cpu", "drain_cpu"), phases, strict=False):
        if phase.cpu is not None:
            figures[key] = phase.cpu / result.messages
    figures |= others(result, phases)
    figures |= percentiles(result.sending_latencies, "sending")
    figures |= percentiles(result.answer_latencies, "answer")
    figures |= percentiles(result.delivery_latencies, "delivery")
    return figures


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, lowest and highest."""
    return median(values), min(values), max(values)
