"""The program that compares the clients of the library."""

from __future__ import annotations

import pytest

from benchmarks import clients
from benchmarks.client_load import KINDS
from benchmarks.frames import CheckFailed


def test_each_client_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert clients.main(["--seconds", "0.1", "--repetitions", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split("|")[1].strip() for line in lines]
    assert {"client", "aio", "sync"} <= set(names) & set(KINDS)
    assert "1.00 (1.00 to 1.00)" in lines[2]


def test_ratios_are_taken_within_a_repetition() -> None:
    rates = {"client": [[100.0, 200.0], [50.0, 100.0]], "aio": [[50.0, 200.0], [50.0, 50.0]]}
    row = clients.table(rates).splitlines()[-1].split("|")
    assert [cell.strip() for cell in row[2:-1]] == [
        "50",
        "0.75 (0.50 to 1.00)",
        "125",
        "0.75 (0.50 to 1.00)",
    ]


def test_a_client_that_fails_ends_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> clients.Rates:
        raise CheckFailed("a client failed: why")

    monkeypatch.setattr(clients, "measure", fail)
    assert clients.main([]) == 1
    assert "why" in capsys.readouterr().err
