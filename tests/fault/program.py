"""Run a program of this folder in a short sample."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault.shim import NO_COMPILER, compiler

__all__ = ["assert_passes", "needs_compiler", "run"]

needs_compiler = pytest.mark.skipif(compiler() is None, reason=NO_COMPILER)


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m tests.fault.NAME``."""
    return subprocess.run(
        [sys.executable, "-m", f"tests.fault.{name}", *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )


def assert_passes(name: str, *arguments: str) -> None:
    """Run a program that has to pass."""
    done = run(name, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout
