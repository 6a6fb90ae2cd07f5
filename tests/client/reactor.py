"""Tests that need a running reactor."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest_twisted  # type: ignore[import-untyped]

__all__ = ["in_reactor"]


def in_reactor(function: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], object]:
    """Run a coroutine function as a test in the reactor of the test run."""
    decorated: Callable[[], object] = pytest_twisted.ensureDeferred(function)
    return decorated
