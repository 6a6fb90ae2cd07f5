"""The measured figures: their names, units and formats."""

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
"""The figures of one measurement, by their keys."""

Row = Sequence[Sample]
"""The repetitions of one measurement."""


@dataclass(frozen=True)
class Figure:
    """The description of a figure."""

    key: str
    title: str
    """Header of its column, with the unit."""
    meaning: str
    digits: int = 0
    factor: float = 1.0
    """Factor from the unit of samples to the unit of the title."""
    spread: bool = True
    """Whether tables show the minimum and the maximum."""

    def show(self, value: float) -> str:
        """Format a value for a table."""
        return f"{value * self.factor:,.{self.digits}f}"


PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}

FIGURES = {
    figure.key: figure
    for figure in (
        Figure("answered", "answered/s", "messages answered with OK, per second"),
        Figure("delivered", "delivered/s", "messages delivered, per second"),
        Figure("logins", "logins/s", "logins answered with OK, per second"),
        Figure("cpu", "CPU us", "CPU time of the server per message", 2, 1e6),
        Figure(
            "drain_cpu",
            "drain CPU us",
            "CPU time of the server per message delivered from a mailbox",
            2,
            1e6,
        ),
        Figure("login_cpu", "CPU us/login", "CPU time of the server per login", 1, 1e6),
        Figure("memory", "kB/session", "memory per idle session", 2, 1e-3),
        Figure("rss", "MB", "resident memory of the server", 1, 1e-6),
        Figure("start", "start s", "time from the start of the process to its first connection", 2),
        Figure("login", "login ms", "time of a login with the delivery of its mailbox", 1, 1e3),
        Figure("busy", "load busy", "CPUs used by the busiest load process", 2, spread=False),
        Figure("others", "others", "CPUs used by other programs", 2),
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
                ("sending", "load late", "delay of the load process in sending a message"),
                ("answer", "answer", "time until a message is answered"),
                ("delivery", "arrival", "time until a message arrives"),
            )
            for name in PERCENTILES
        ),
    )
}


def others(result: Result, phases: Sequence[Phase]) -> dict[str, float]:
    """Return the CPUs used by other programs; empty if the server's CPU time is unknown."""
    cpu = [phase.cpu for phase in phases]
    if None in cpu:
        return {}
    used = sum(phase.machine for phase in phases) - sum(filter(None, cpu)) - result.cpu
    return {"others": max(0.0, used / sum(phase.seconds for phase in phases))}


def percentiles(values: Sequence[float], kind: str) -> dict[str, float]:
    """Return the percentiles of latencies in seconds; empty if there are no latencies."""
    ordered = sorted(values)
    if not ordered:
        return {}
    last = len(ordered) - 1
    return {f"{kind} {name}": ordered[int(part * last)] for name, part in PERCENTILES.items()}


def of_load(result: Result, phases: Sequence[Phase]) -> dict[str, float]:
    """Return the figures of a load that sent messages."""
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
    """Return the median, the minimum and the maximum."""
    return median(values), min(values), max(values)
