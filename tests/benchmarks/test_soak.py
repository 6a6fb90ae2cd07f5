"""The soak: a short one, its checks, and its verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from benchmarks import mixture
from benchmarks.frames import CheckFailed
from benchmarks.mixture import Mixture
from benchmarks.soak import Moment, main, verdict
from tests.benchmarks.relay import RunningRelay


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture, "_PHASE_SECONDS", 0.5)
    monkeypatch.setattr(mixture, "_TIMEOUT", 1.0)


def test_a_short_one(tmp_path: Path) -> None:
    record = tmp_path / "soak.json"
    arguments = ["--minutes", "0.05", "--json", str(record), "--directory", str(tmp_path)]
    # Whether a few seconds are flat is chance; that nothing is lost is not.
    assert main(arguments) in (0, 1)
    moments = json.loads(record.read_text())["moments"]
    assert len(moments) == 10
    last = moments[-1]
    assert last["answered"] > 1000
    assert last["visits"] > 10
    assert last["rss"] > 1e6
    assert last["database"] > moments[0]["database"] > 0
    measured = [one["latencies"]["delivery p50"] for one in moments if one["latencies"]]
    assert measured
    assert min(measured) > 0


@pytest.mark.parametrize("fault", ["drop", "double"])
def test_what_is_lost_or_doubled_is_found(fault: str) -> None:
    with RunningRelay(fault) as server:
        # Of the rate so much that several messages come together.
        users = Mixture(server.address, 100_000)
        try:
            with pytest.raises(CheckFailed):
                _load(users)
        finally:
            users.close()


def _load(users: Mixture) -> None:
    users.run_until(monotonic() + 1)
    users.finish()


def test_a_right_server_passes() -> None:
    with RunningRelay() as server:
        users = Mixture(server.address, 1000)
        _load(users)
        assert len(users.latencies()) > 100
        assert users.visits > 5
        users.close()


def _moments(change: Callable[[int, Moment], Moment]) -> list[Moment]:
    calm = {"delivery p50": 0.001, "delivery p99": 0.01}
    first = Moment(0, 50_000_000, 0, 0, 0, 1e-5, 0.0, calm)
    return [change(n, replace(first, minutes=float(n))) for n in range(20)]


def test_what_is_flat() -> None:
    assert verdict(_moments(lambda n, m: m)) == []
    # What a server takes at first it may take.
    assert verdict(_moments(lambda n, m: replace(m, rss=m.rss + min(n, 9) * 10_000_000))) == []


def test_memory_that_grows() -> None:
    (fault,) = verdict(_moments(lambda n, m: replace(m, rss=m.rss + n * 1_000_000)))
    assert fault == "memory grew by 9.0 MB in the second half"


@pytest.mark.parametrize("name", ["delivery p50", "delivery p99"])
def test_latency_that_creeps(name: str) -> None:
    def creeping(n: int, moment: Moment) -> Moment:
        return replace(moment, latencies={**moment.latencies, name: 0.01 * (n + 1)})

    (fault,) = verdict(_moments(creeping))
    assert fault.startswith(f"{name} grew from 55.00 to 155.00 ms")
