"""``python -m benchmarks soak``: a long mixed load that detects growth of memory and latency."""

from __future__ import annotations

import argparse
import json
import math
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
from benchmarks.frames import CheckFailed
from benchmarks.mixture import Mixture
from benchmarks.picture import Panel, draw
from benchmarks.procfs import machine_time
from benchmarks.progress import Progress
from benchmarks.report import conditions, markdown, paragraph
from benchmarks.servers import ProjectServer, Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Moment", "main", "parser", "soak", "verdict"]

_SAMPLES = 10
"""Minimum number of intervals. Longer runs have one interval per minute."""

_FLAT = 0.05
"""Accepted growth of memory in the second half, as a share of the memory."""

_FLAT_BYTES = 4_000_000
"""Growth of memory that is always accepted, in bytes."""

_CREEP = 2.0
"""Accepted ratio of the latency in the second half to that in the first half."""

_CREEP_SECONDS = 0.002
"""Growth of latency that is always accepted, in seconds."""


@dataclass(frozen=True)
class Moment:
    """The measurements at the end of one interval."""

    minutes: float
    """Minutes since the beginning."""
    rss: int
    """Resident memory of the server in bytes."""
    database: int
    """Size of the store's files in bytes."""
    answered: int
    """Messages answered since the beginning."""
    visits: int
    """Logins since the beginning."""
    cpu: float
    """CPU seconds of the server per message in this interval."""
    others: float
    """CPUs used by other programs in this interval, including the load process."""
    latencies: dict[str, float]
    """Percentiles of the interval, in seconds from the scheduled time to the arrival."""


def _size(target: Target) -> int:
    file = target.database
    if file is None:
        return 0
    return sum(one.stat().st_size for one in file.parent.glob(f"{file.name}*"))


def soak(target: Target, minutes: float, rate: float, progress: Progress) -> list[Moment]:
    """Load a server and measure it at the end of each interval.

    Args:
        minutes: duration of the load.
        rate: messages per second.

    Raises:
        CheckFailed: a message was lost, duplicated, reordered or altered.
    """
    progress.begin(1)
    mixture = Mixture(target.address, rate)
    try:
        return _measure(target, mixture, minutes, progress)
    finally:
        progress.end()
        mixture.close()


def _measure(target: Target, mixture: Mixture, minutes: float, progress: Progress) -> list[Moment]:
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
    """Return a sentence for each figure that grew too much."""
    half = len(moments) // 2
    first, second = halves = moments[:half], moments[half:]
    faults = []
    slope, _ = linear_regression([m.minutes for m in second], [m.rss for m in second])
    growth = slope * (second[-1].minutes - second[0].minutes)
    if growth > max(_FLAT_BYTES, _FLAT * second[0].rss):
        faults.append(f"memory grew by {growth / 1e6:.1f} MB in the second half")
    for name in ("delivery p50", "delivery p99"):
        # On a machine that is busy otherwise, a moment may pass without a delivery.
        measured = [[m.latencies[name] for m in part if name in m.latencies] for part in halves]
        if not all(measured):
            continue
        early, late = map(median, measured)
        if late > max(_CREEP * early, early + _CREEP_SECONDS):
            before, after = (median(m.others for m in part) for part in (first, second))
            faults.append(
                f"{name} grew from {early * 1e3:.2f} to {late * 1e3:.2f} ms, while other programs"
                f" used {before:.2f}, then {after:.2f} CPUs"
            )
    return faults


def _table(moments: Sequence[Moment]) -> str:
    head = ["minute", "MB", "file MB", "messages", "logins", "CPU us", "others"]
    names = next((list(m.latencies) for m in moments if m.latencies), [])
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
            *(f"{m.latencies.get(name, math.nan) * 1e3:.2f}" for name in names),
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
        for name in next((list(m.latencies) for m in moments if m.latencies), []):
            values = [moment.latencies.get(name, math.nan) * 1e3 for moment in moments]
            axes.plot(minutes, values, label=name.removeprefix("delivery "))
        axes.set(
            xlabel="minutes", ylabel="ms from schedule to arrival", yscale="log", title="Latency"
        )

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
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks soak",
        description="Run a long mixed load - pairs, many senders to one recipient, offline users,"
        " repeated logins, slow readers, large messages - and check that neither the memory nor the"
        " latency of the server grows.",
    )
    made.add_argument(
        "--minutes", type=float, default=20.0, help="duration of the load (default: 20)"
    )
    made.add_argument(
        "--rate", type=float, default=1000.0, help="messages per second (default: 1000)"
    )
    made.add_argument(
        "--store", default="sqlite:", help="URL of the store (default: sqlite:, a new file)"
    )
    made.add_argument(
        "--directory",
        type=Path,
        help="directory on the disk to measure (default: the one for temporary files)",
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write all intervals as JSON")
    made.add_argument(
        "--picture", type=Path, metavar="FILE", help="write curves as SVG; requires the extra bench"
    )
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the soak; return 0 if all checks passed and nothing grew too much, else 1."""
    options = parser().parse_args(arguments)
    if options.picture and find_spec("matplotlib") is None:
        raise SystemExit("--picture: matplotlib is not installed. Run pip install '.[bench]'.")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="soak-", dir=options.directory) as folder,
            ProjectServer(options.store, Path(folder)).running() as target,
        ):
            moments = soak(target, options.minutes, options.rate, Progress(sys.stderr))
    except CheckFailed as failure:
        print(f"FAILED: {failure}")
        return 1
    faults = verdict(moments)
    under = conditions({"store": options.store, "rate": options.rate})
    print(paragraph("; ".join(f"{key} {value}" for key, value in under.items()) + ".") + "\n")
    print(_table(moments))
    print(f"\n{'; '.join(faults) or 'Memory and latency did not grow'}.")
    if options.json:
        record = {"conditions": under, "faults": faults, "moments": list(map(asdict, moments))}
        options.json.write_text(json.dumps(record, indent=1) + os.linesep)
    if options.picture:
        draw(options.picture, _panels(moments))
    return 1 if faults else 0
