"""What was measured, for those who run the tests with ``-s`` or ``-rP``."""

from __future__ import annotations

import sys

__all__ = ["report"]


def report(line: str) -> None:
    """Say it; nothing depends on it."""
    sys.stdout.write(f"\n    {line}\n")
