"""``python -m benchmarks soak``: the same mixed load for long, and whether anything grows."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import linear_regression, median
from time import monotonic
from typing import TYPE_CHECKING

from benchmarks.figures import percentiles
from benchmarks.frames import Failed
from benchmarks.mixture import Mixture
from benchmarks.picture import Panel, draw
from benchmarks.procfs import machine_time
from benchmarks.progress import Progress
from benchmarks.report import conditions, markdown, paragraph
from benchmarks.servers import Ours, Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Moment", "main", "parser", "soak", "verdict"]

_SAMPLES = 10
"""At least so many; one a minute where that is more."""

_FLAT = 0.05
"""Part of its memory that a server may grow by in the second half."""

_FLAT_BYTES = 4_000_000
"""Bytes that it may grow by whatever it has."""

_CREEP = 2.0
"""How much longer messages may take in the second half than in the first."""

_CREEP_SECONDS = 0.002
"""Seconds that they may take longer whatever they took."""


@dataclass(frozen=True)
class Moment:
    """What was seen at the end of one interval."""

    minutes: float
    """Since the beginning."""
    rss: int
    """Bytes of memory."""
    database: int
    """Bytes of the store's files."""
    answered: int
    """Messages so far."""
    visits: int
    """Logins so far."""
    cpu: float
    """Processor seconds of the server per message, in this interval."""
    others: float
    """Processors that other programs took in it, the users included."""
    latencies: dict[str, float]
    """Percentiles of the interval, in seconds from when a message was due to its arrival."""


def _size(target: Target) -> int:
    file = target.database
    if file is None:
        return 0
    return sum(one.stat().st_size for one in file.parent.glob(f"{file.name}*"))


def soak(target: Target, minutes: float, rate: float, progress: Progress) -> list[Moment]:
    """Load a server for so long, and look at it again and again.

    Raises:
        Failed: a message is lost, doubled, out of order or altered.
    """
    progress.begin(1)
    mixture = Mixture(target.address, rate)
    try:
        return _look(target, mixture, minutes, progress)
    finally:
        progress.end()
        mixture.close()


def _look(target: Target, mixture: Mixture, minutes: float, progress: Progress) -> list[Moment]:
    began = monotonic()
    count = max(_SAMPLES, round(minutes))
    moments: list[Moment] = []
    before, costs, machine, answered = began, target.costs(), machine_time(), mixture.answered
    for number in range(count):
        mixture.run_until(began + (number + 1) * minutes * 60 / count)
        now, now_costs, now_machine = monotonic(), target.costs(), machine_time()
        assert costs is not None
        assert now_costs is not None
        cpu = now_costs.cpu - costs.cpu
        moment = Moment(
            (now - began) / 60,
            now_costs.rss,
            _size(target),
            mixture.answered,
            mixture.visits,
            cpu / max(1, mixture.answered - answered),
            (now_machine - machine - cpu) / (now - before),
            percentiles(mixture.latencies(), "delivery"),
        )
        moments.append(moment)
        before, costs, machine, answered = now, now_costs, now_machine, moment.answered
        progress.show((number + 1) / count, f"{moment.answered:,} messages")
    mixture.finish()
    return moments


def verdict(moments: Sequence[Moment]) -> list[str]:
    """What grew that must not, in sentences; empty: nothing."""
    half = len(moments) // 2
    first, second = moments[:half], moments[half:]
    faults = []
    slope, _ = linear_regression([m.minutes for m in second], [m.rss for m in second])
    growth = slope * (second[-1].minutes - second[0].minutes)
    if growth > max(_FLAT_BYTES, _FLAT * second[0].rss):
        faults.append(f"memory grew by {growth / 1e6:.1f} MB in the second half")
    for name in ("delivery p50", "delivery p99"):
        early, late = (median(m.latencies[name] for m in part) for part in (first, second))
        if late > max(_CREEP * early, early + _CREEP_SECONDS):
            before, after = (median(m.others for m in part) for part in (first, second))
            faults.append(
                f"{name} went from {early * 1e3:.2f} to {late * 1e3:.2f} ms, the processors that"
                f" other programs took from {before:.2f} to {after:.2f}"
            )
    return faults


def _table(moments: Sequence[Moment]) -> str:
    head = ["minute", "MB", "file MB", "messages", "logins", "CPU us", "others"]
    names = list(moments[0].latencies)
    rows = [[*head, *(f"{name.removeprefix('delivery ')} ms" for name in names)]]
    rows += [
        [
            f"{m.minutes:.1f}",
            f"{m.rss / 1e6:.1f}",
            f"{m.database / 1e6:.1f}",
            f"{m.answered:,}",
            f"{m.visits:,}",
            f"{m.cpu * 1e6:.0f}",
            f"{m.others:.2f}",
            *(f"{m.latencies[name] * 1e3:.2f}" for name in names),
        ]
        for m in moments
    ]
    return markdown(rows)


def _panels(moments: Sequence[Moment]) -> list[Panel]:
    minutes = [moment.minutes for moment in moments]

    def memory(axes: Axes) -> None:
        axes.plot(minutes, [moment.rss / 1e6 for moment in moments], label="memory")
        axes.set(xlabel="minutes", ylabel="MB", title="Memory")
        axes.set_ylim(bottom=0)

    def latency(axes: Axes) -> None:
        for name in moments[0].latencies:
            values = [moment.latencies[name] * 1e3 for moment in moments]
            axes.plot(minutes, values, label=name.removeprefix("delivery "))
        axes.set(xlabel="minutes", ylabel="ms from due to arrival", yscale="log", title="Latency")

    def database(axes: Axes) -> None:
        axes.plot(
            [moment.answered for moment in moments],
            [moment.database / 1e6 for moment in moments],
            label="files of the store",
        )
        axes.set(xlabel="messages stored", ylabel="MB", title="Database")
        axes.set_ylim(bottom=0)

    return [memory, latency, *([database] if moments[0].database else [])]


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks soak",
        description="Load a server for long: pairs, many to one, users who are away, come and go"
        " or do not read, large messages; and see whether its memory or its latency grows.",
    )
    made.add_argument("--minutes", type=float, default=20.0, help="(default: 20)")
    made.add_argument(
        "--rate", type=float, default=1000.0, help="messages a second (default: 1000)"
    )
    made.add_argument("--store", default="sqlite:", help="(default: sqlite:, a new file)")
    made.add_argument("--directory", type=Path, help="on the disk to be measured")
    made.add_argument("--json", type=Path, metavar="FILE", help="every interval, as JSON")
    made.add_argument(
        "--picture", type=Path, metavar="FILE", help="curves, as SVG; needs the extra bench"
    )
    return made


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if nothing was lost and nothing grew, 1 otherwise."""
    options = parser().parse_args(arguments)
    if options.picture and find_spec("matplotlib") is None:
        raise SystemExit("--picture needs matplotlib: pip install '.[bench]'")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="soak-", dir=options.directory) as folder,
            Ours(options.store, Path(folder)).running() as target,
        ):
            moments = soak(target, options.minutes, options.rate, Progress(sys.stderr))
    except Failed as failure:
        print(f"FAILED: {failure}")
        return 1
    faults = verdict(moments)
    under = conditions({"store": options.store, "rate": options.rate})
    print(paragraph("; ".join(f"{key} {value}" for key, value in under.items()) + ".") + "\n")
    print(_table(moments))
    print(f"\n{'; '.join(faults) or 'Memory is flat and latency does not creep'}.")
    if options.json:
        record = {"conditions": under, "faults": faults, "moments": list(map(asdict, moments))}
        options.json.write_text(json.dumps(record, indent=1) + os.linesep)
    if options.picture:
        draw(options.picture, _panels(moments))
    return 1 if faults else 0
