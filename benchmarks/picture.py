"""Draw curves of the figures as SVG; requires matplotlib (extra ``bench``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figures import FIGURES, Row, spread
from benchmarks.suite import CaseResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CURVES", "Panel", "draw", "draw_suite"]

Panel = Callable[["Axes"], None]
"""A function that draws one set of curves."""

_STYLES = {"arrival p50": "-", "arrival p99": "--"}


def _median(row: Row, key: str) -> float | None:
    values = [sample[key] for sample in row if key in sample]
    return spread(values)[0] if values else None


def _points(
    rows: Iterable[Mapping[str, Row]], contender: str, x: str, y: str
) -> list[tuple[float, float]]:
    """Return the medians of two figures for each label."""
    pairs = [
        (_median(row[contender], x), _median(row[contender], y)) for row in rows if contender in row
    ]
    return [(one, other) for one, other in pairs if one is not None and other is not None]


def _contenders(outcome: CaseResult) -> list[str]:
    return list(dict.fromkeys(name for rows in outcome.samples.values() for name in rows))


def _latency_under_load(outcome: CaseResult, axes: Axes) -> None:
    for number, contender in enumerate(_contenders(outcome)):
        for title, style in _STYLES.items():
            key = title.replace("arrival", "delivery")
            points = _points(outcome.samples.values(), contender, "delivered", key)
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(
                    x,
                    [value * 1e3 for value in y],
                    style,
                    marker=".",
                    color=f"C{number}",
                    label=f"{contender} {title.removeprefix('arrival ')}",
                )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="messages delivered per second",
        ylabel="ms from the scheduled time of a message to its arrival",
        title="Latency by load",
    )


def _cost_of_users(outcome: CaseResult, axes: Axes) -> None:
    for number, contender in enumerate(_contenders(outcome)):
        rows = [
            (label, row[contender]) for label, row in outcome.samples.items() if contender in row
        ]
        points = [
            (int(label.replace(",", "")), value * 1e6)
            for label, row in rows
            if (value := _median(row, "cpu")) is not None
        ]
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, marker=".", color=f"C{number}", label=contender)
    axes.set(
        xscale="log",
        xlabel="online users",
        ylabel="CPU time of the server per message, in us",
        title="Cost by number of users",
    )
    axes.set_ylim(bottom=0)


def _bars(outcome: CaseResult, axes: Axes, key: str) -> None:
    """Draw the median of a figure for each contender, with the minimum and the maximum."""
    figure = FIGURES[key]
    for rows in outcome.samples.values():
        for number, (contender, row) in enumerate(rows.items()):
            values = [sample[key] * figure.factor for sample in row if key in sample]
            if values:
                middle, low, high = spread(values)
                error = [[middle - low], [high - middle]]
                axes.barh(contender, middle, xerr=error, color=f"C{number}")
    axes.invert_yaxis()
    axes.set(xlabel=figure.title, title=f"{outcome.case.name}: {figure.meaning}")


def _rate(outcome: CaseResult, axes: Axes) -> None:
    _bars(outcome, axes, "answered")


def _cost(outcome: CaseResult, axes: Axes) -> None:
    _bars(outcome, axes, "cpu")


_ONE_IN_FLIGHT = (
    "pairs-1",
    "pairs-1-2",
    "pairs-1-tls",
    "pairs-1-websocket",
    "latency",
    "latency-2",
)

CURVES = {
    "rates": (_latency_under_load,),
    "users": (_cost_of_users,),
    **dict.fromkeys(_ONE_IN_FLIGHT, (_rate, _cost)),
}
"""The functions that draw the curves or the bars of a case. Other cases have none."""


def draw(path: Path, panels: Sequence[Panel]) -> None:
    """Write an SVG file with panels, two in a row.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.fonttype"] = "none"
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(7 * columns, 5 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).flat
    for panel, one in zip(panels, axes, strict=False):
        panel(one)
        one.grid(True, which="major", alpha=0.3)
        if one.get_legend_handles_labels()[0]:
            one.legend()
    for one in axes[len(panels) :]:
        one.remove()
    figure.savefig(path, format="svg", metadata={"Date": None})


def draw_suite(path: Path, outcomes: Iterable[CaseResult]) -> bool:
    """Draw the curves of a run; return False if no case of the run has curves."""

    panels: list[Panel] = [
        partial(drawing, outcome)
        for outcome in outcomes
        if outcome.samples
        for drawing in CURVES.get(outcome.case.name, ())
    ]
    if panels:
        draw(path, panels)
    return bool(panels)
