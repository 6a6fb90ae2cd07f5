"""A short run of the fault program, and one that has to fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def promise(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.fault.promise", *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.timeout(320)
@pytest.mark.parametrize(
    "arguments",
    [
        ("--kills", "5", "--harms", "15"),
        ("--kills", "5", "--harms", "15", "--devices", "4", "--version-1", "2", "--rate", "10"),
        ("--store", "memory", "--kills", "0", "--harms", "30"),
        ("--client", "aio", "--kills", "5", "--harms", "15"),
        ("--client", "aio", "--kills", "5", "--harms", "15", "--devices", "4", "--rate", "10"),
    ],
)
def test_each_message_arrives_once_and_in_order(arguments: tuple[str, ...]) -> None:
    done = promise(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout


@pytest.mark.postgresql
@pytest.mark.usefixtures("postgres")
@pytest.mark.timeout(320)
def test_over_several_nodes_too() -> None:
    faults = ("--nodes", "3", "--kills", "6", "--database-kills", "3", "--harms", "15")
    done = promise("--store", "postgresql", *faults)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout


@pytest.mark.timeout(320)
def test_without_deduplication_the_check_fails() -> None:
    # Whether a fault meets a message in flight is chance.
    for _ in range(3):
        done = promise("--kills", "3", "--harms", "60", "--without-deduplication")
        assert done.returncode == 1, done.stdout + done.stderr
        if "doubled" in done.stdout:
            return
    pytest.fail(done.stdout + done.stderr)
