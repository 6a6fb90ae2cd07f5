"""A load notices a server that does not keep every message."""

from __future__ import annotations

import itertools

import pytest

from benchmarks import loads
from benchmarks.frames import CheckFailed
from benchmarks.loads import Plan, Result
from benchmarks.workers import Load, run
from tests.benchmarks.relay import RunningRelay

_prefixes = itertools.count()


def _run(load: Load, fault: str) -> Result:
    with RunningRelay(fault) as server:
        plan = Plan(
            server.address, f"t{next(_prefixes):03d}", seconds=0.2, pairs=2, window=64, timeout=0.3
        )
        result, _ = run(load, [plan], lambda: None)
    return result


@pytest.mark.parametrize("load", [loads.pairs, loads.fan_in, loads.offline])
def test_a_right_server_passes(load: Load) -> None:
    assert _run(load, "").messages > 400


@pytest.mark.parametrize("load", [loads.pairs, loads.fan_in, loads.offline])
@pytest.mark.parametrize("fault", ["drop", "drop the last", "double", "reorder", "alter"])
def test_a_wrong_delivery_is_found(load: Load, fault: str) -> None:
    with pytest.raises(CheckFailed, match=r"deliver|did not arrive"):
        _run(load, fault)


@pytest.mark.parametrize("fault", ["refuse", "answer twice", "answer out of order"])
def test_a_wrong_answer_is_found(fault: str) -> None:
    with pytest.raises(CheckFailed, match="answer"):
        _run(loads.pairs, fault)


def test_a_missing_answer_is_found() -> None:
    with pytest.raises(CheckFailed, match="answer"):
        _run(loads.pairs, "do not answer")
