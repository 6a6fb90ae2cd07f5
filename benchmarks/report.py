"""Reports of a run, as Markdown tables and as JSON."""

from __future__ import annotations

import datetime
import os
import platform
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.figures import FIGURES, Row, spread
from benchmarks.servers import FLOOR
from benchmarks.suite import CaseResult

__all__ = [
    "BEGIN",
    "END",
    "as_json",
    "conditions",
    "markdown",
    "paragraph",
    "table",
    "tables",
    "write_into",
]

BEGIN = "<!-- figures: written by python -m benchmarks --document -->"
END = "<!-- end of figures -->"

_WIDTH = 100


def conditions(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the conditions of a run: the machine, the versions and the settings."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "twisted": version("twisted"),
        **settings,
    }


def as_json(outcomes: Iterable[CaseResult], under: Mapping[str, Any]) -> dict[str, Any]:
    """Return all samples by case, label and contender."""
    return {
        "conditions": dict(under),
        "figures": {key: figure.meaning for key, figure in FIGURES.items()},
        "cases": {
            outcome.case.name: {"title": outcome.case.title, "samples": outcome.samples}
            | ({"failures": outcome.failures} if outcome.failures else {})
            for outcome in outcomes
        },
    }


def _between(middle: str, low: str, high: str) -> str:
    return middle if low == high else f"{middle} ({low} to {high})"


def _cell(row: Row, key: str) -> str:
    """Format median, minimum and maximum; empty if the figure was not measured."""
    values = [sample[key] for sample in row if key in sample]
    if not values:
        return ""
    middle, low, high = map(FIGURES[key].show, spread(values))
    return _between(middle, low, high) if FIGURES[key].spread else middle


def _ratio(row: Row, floor: Row, key: str) -> str:
    """Format the ratio to the floor, taken within each repetition, since the machine may drift."""
    ratios = [
        one[key] / other[key]
        for one, other in zip(row, floor, strict=False)
        if key in one and other.get(key)
    ]
    if not ratios or row is floor:
        return ""
    return _between(*(f"{value:.2f}" for value in spread(ratios)))


def table(outcome: CaseResult) -> list[list[str]]:
    """Return the rows of a case, the header first."""
    case = outcome.case
    titles = [FIGURES[key].title for key in case.figures]
    against = f"{FIGURES[case.ratio].title.removesuffix(' ms')} / floor's"
    floors = any(FLOOR in rows for rows in outcome.samples.values())
    head = [*([case.label] if case.label else []), "server", *titles]
    lines = [[*head, against] if floors else head]
    for label, rows in outcome.samples.items():
        for contender, row in rows.items():
            line = [*([label] if case.label else []), contender]
            line += [_cell(row, key) for key in case.figures]
            if floors:
                line.append(_ratio(row, rows.get(FLOOR, ()), case.ratio))
            lines.append(line)
    return lines


def _disturbance(outcome: CaseResult) -> str:
    """Describe the CPU use of other programs; empty if it is unknown."""
    values = [
        sample["others"]
        for rows in outcome.samples.values()
        for row in rows.values()
        for sample in row
        if "others" in sample
    ]
    if not values:
        return ""
    middle, low, high = map(FIGURES["others"].show, spread(values))
    return f" Other programs used {_between(middle, low, high)} CPUs."


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Format rows of cells, the header first, as a Markdown table."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in lines]
    return "\n".join(
        [line(padded[0]), line("-" * width for width in widths), *map(line, padded[1:])]
    )


def paragraph(text: str) -> str:
    """Wrap a text to the line length of the documents."""
    return textwrap.fill(text, _WIDTH, break_on_hyphens=False, break_long_words=False)


def tables(outcomes: Iterable[CaseResult], under: Mapping[str, Any]) -> str:
    """Format the whole report as Markdown."""
    parts = [paragraph("; ".join(f"{key} {value}" for key, value in under.items()) + ".")]
    for outcome in outcomes:
        case = outcome.case
        parts.append(paragraph(f"**{case.name}**: {case.title}.{_disturbance(outcome)}"))
        if outcome.samples:
            parts.append(markdown(table(outcome)))
        parts += [paragraph(f"FAILED: {failure}") for failure in outcome.failures]
    return "\n\n".join(parts)


def write_into(document: Path, text: str) -> None:
    """Replace the text between the markers of a document.

    Raises:
        ValueError: the document does not contain the markers exactly once.
    """
    before = document.read_text(encoding="utf-8")
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    after, count = re.subn(
        pattern, lambda _: f"{BEGIN}\n\n{text}\n\n{END}", before, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError(
            f"cannot write the figures to {document}: it must contain the markers {BEGIN} and {END}"
            " exactly once"
        )
    document.write_text(after, encoding="utf-8")
