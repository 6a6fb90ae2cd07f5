"""Rows as columns: unnest() takes one array for each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["columns_of"]


def columns_of(rows: Iterable[tuple[Any, ...]], count: int) -> tuple[list[Any], ...]:
    """Return ``count`` columns."""
    columns: tuple[list[Any], ...] = tuple([] for _ in range(count))
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return columns
