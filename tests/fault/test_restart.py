"""A short run of the program that stops and starts a server under load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(200)
def test_a_restart_refuses_nobody_and_loses_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fault.restart", "--restarts", "2", "--users", "8"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=190,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout
