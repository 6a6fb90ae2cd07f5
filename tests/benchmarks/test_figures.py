"""What becomes of samples: percentiles, tables, curves."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cases import CASES
from benchmarks.figures import percentiles
from benchmarks.picture import CURVES, draw_suite
from benchmarks.report import BEGIN, END, table, write_into
from benchmarks.schedule import intended_latencies
from benchmarks.suite import CaseResult


def test_percentiles() -> None:
    found = percentiles([float(n) for n in range(1001)], "answer")
    assert found == {
        "answer p50": 500.0,
        "answer p90": 900.0,
        "answer p99": 990.0,
        "answer p99.9": 999.0,
        "answer max": 1000.0,
    }
    assert percentiles([], "answer") == {}


def test_latency_counts_from_when_a_message_was_due() -> None:
    # Due at 10, 11, 12 and 13; three came together, late.
    arrivals = [(12.5, 3), (13.25, 4)]
    assert list(intended_latencies(arrivals, 10.0, 1.0)) == [2.5, 1.5, 0.5, 0.25]


def test_a_table_has_medians_and_ratios_within_a_repetition() -> None:
    outcome = CaseResult(CASES["pairs-64"])
    for answered, floor in ((100.0, 200.0), (300.0, 400.0), (50.0, 500.0)):
        outcome.add("memory:", {"": {"answered": answered}})
        outcome.add("floor", {"": {"answered": floor}})
    head, ours, floors = table(outcome)
    assert head[:2] == ["server", "answered/s"]
    assert ours[:2] == ["memory:", "100 (50 to 300)"]
    assert ours[-1] == "0.50 (0.10 to 0.75)"
    assert floors[-1] == ""


def test_a_document_without_marks_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("text")
    with pytest.raises(ValueError, match="cannot write the figures"):
        write_into(document, "new")
    assert document.read_text() == "text"


def test_figures_are_written_between_the_marks(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nbehind\n")
    write_into(document, r"\1")
    assert document.read_text() == f"before\n{BEGIN}\n\n\\1\n\n{END}\nbehind\n"


def test_curves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "curves.svg"
    outcomes = [CaseResult(CASES[name]) for name in CURVES]
    for label in ("1,000", "10,000"):
        sample = {"delivered": 1e3, "cpu": 1e-6, "delivery p50": 1e-3, "delivery p99": 1e-2}
        for outcome in outcomes:
            outcome.add("memory:", {label: sample})
    assert draw_suite(picture, outcomes)
    assert "memory: p99" in picture.read_text()
    assert not draw_suite(picture, [CaseResult(CASES["latency"])])


def test_bars_of_the_cases_with_one_in_flight(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "bars.svg"
    outcome = CaseResult(CASES["pairs-1-2"])
    outcome.add("memory:", {"": {"answered": 1e3, "cpu": 2e-5}})
    outcome.add("mosquitto", {"": {"answered": 2e3}})
    assert draw_suite(picture, [outcome])
    text = picture.read_text()
    assert "CPU us" in text
    assert "answered/s" in text
    # The broker without a CPU time has a bar of its rate only.
    assert text.count(">memory:<") == 2
    assert text.count(">mosquitto<") == 1
