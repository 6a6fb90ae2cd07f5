"""A real browser, if there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

__all__ = ["NO_CHROMIUM", "chromium"]

NO_CHROMIUM = "no Chromium: install Debian's chromium, and pip install playwright"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# Not for the session: Playwright keeps an event loop running in the main thread, where tests of
# other packages run theirs.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """Start one browser for all tests of a package."""
    playwright = pytest.importorskip("playwright.sync_api", reason=NO_CHROMIUM)
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
