"""The suite against real servers, each load for a moment."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import loads
from benchmarks.cases import CASES
from benchmarks.figures import FIGURES
from benchmarks.loads import Plan
from benchmarks.logins import logins
from benchmarks.procfs import listener
from benchmarks.program import main
from benchmarks.servers import ProjectServer
from benchmarks.workers import run
from tests.benchmarks.relay import RunningRelay
from tests.docs.markdown import DOCS


def test_a_case_from_start_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document, figures = tmp_path / "page.md", tmp_path / "figures.json"
    document.write_text("before\n" + (DOCS / "performance.md").read_text())
    options = ["--cases", "pairs-64", "--stores", "memory:", "--seconds", "0.2"]
    with RunningRelay() as relay:
        host, port = relay.address
        options += ["--server", f"{host}:{port}", "relay", "--repetitions", "2"]
        options += ["--document", str(document), "--json", str(figures)]
        assert main([*options, "--directory", str(tmp_path)]) == 0
    samples = json.loads(figures.read_text())["cases"]["pairs-64"]["samples"][""]
    assert {name: len(row) for name, row in samples.items()} == {
        "memory:": 2,
        "floor": 2,
        "relay": 2,
    }
    for sample in samples["memory:"]:
        assert set(CASES["pairs-64"].figures) <= set(sample)
        assert sample["answered"] > 0
        assert sample["delivered"] > 0
        assert sample["cpu"] > 0
    printed = capsys.readouterr().out.strip()
    assert printed in document.read_text()
    assert "| relay " in printed


def test_a_server_that_fails_has_no_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunningRelay("double") as relay:
        host, port = relay.address
        options = ["--cases", "pairs-64", "--stores", "memory:", "--seconds", "0.2"]
        options += ["--server", f"{host}:{port}", "relay", "--repetitions", "1"]
        assert main([*options, "--directory", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "FAILED: relay: deliveries to" in printed
    assert "| relay " not in printed
    assert "| memory: " in printed


@pytest.mark.parametrize("store", ["memory:", "sqlite:"])
def test_every_load_against_a_server(tmp_path: Path, store: str) -> None:
    with ProjectServer(store, tmp_path).running() as target:
        base = Plan(target.address, "", seconds=0.2, pairs=4)
        for number, (load, plan) in enumerate(
            (
                (loads.pairs, replace(base, window=1, record=True)),
                (loads.open_loop, replace(base, rate=1000.0, record=True)),
                (loads.pairs, replace(base, version=2)),
                (loads.pairs, replace(base, version=2, window=1, record=True)),
                (loads.open_loop, replace(base, version=2, rate=1000.0, record=True)),
                (loads.fan_in, base),
                (loads.offline, base),
                (loads.idle, replace(base, idle=40)),
                (logins, base),
            )
        ):
            result, phases = run(load, [replace(plan, prefix=f"t{number}")], target.costs)
            assert result.messages > 0
            assert phases[0].cpu is not None
            if plan.record:
                assert len(result.answer_latencies) == result.messages
                assert len(result.delivery_latencies) == result.messages
                assert min(result.delivery_latencies) > 0


def test_processes_share_the_pairs(tmp_path: Path) -> None:
    with ProjectServer("memory:", tmp_path).running() as target:
        plans = [Plan(target.address, f"t{n}", seconds=0.2, pairs=2) for n in range(2)]
        result, _ = run(loads.pairs, plans, lambda: None)
        alone, _ = run(loads.pairs, [replace(plans[0], prefix="t2")], lambda: None)
    assert result.messages > alone.messages / 2
    assert result.answering >= 0.2


def test_the_process_behind_a_port_is_found(tmp_path: Path) -> None:
    with ProjectServer("memory:", tmp_path).running() as target:
        assert listener(target.address[1]) == target.pid


def test_the_figures_of_all_cases_are_known() -> None:
    for case in CASES.values():
        assert {case.ratio, *case.figures} <= set(FIGURES)
