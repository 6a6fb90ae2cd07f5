"""The summary of a run names everything that was not tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "several"])
def test_what_was_not_tested_is_said(workers: tuple[str, ...]) -> None:
    test = "tests/web/test_browser.py::test_a_phone"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *workers, test],
        cwd=Path(__file__).parents[1],
        # Without a path there is no browser.
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The page in a browser WAS NOT TESTED" in done.stdout
    assert "1 skipped" in done.stdout.splitlines()[-1]
