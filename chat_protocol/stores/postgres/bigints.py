"""Columns of numbers, encoded in a fraction of the time that psycopg takes for a list."""

from __future__ import annotations

import struct
from array import array

from psycopg.adapt import Dumper
from psycopg.pq import Format

__all__ = ["Bigints", "BigintsDumper"]

_BIGINT = 20
_BIGINT_ARRAY = 1016
"""Of the types in pg_type."""

_ARRAY = struct.Struct(">iiIii")
_LENGTH = struct.pack(">i", 8)
"""Of each element, in front of it."""


class Bigints(list[int]):
    """The elements of a bigint[]."""


class BigintsDumper(Dumper):
    """Encodes Bigints in the binary format of PostgreSQL (array_recv)."""

    format = Format.BINARY
    oid = _BIGINT_ARRAY

    def dump(self, obj: Bigints) -> bytes:
        count = len(obj)
        # In words of 4 bytes an element is its length and two halves.
        halves = array("I", struct.pack(f">{count}q", *obj))
        elements = array("I", _LENGTH * 3 * count)
        elements[1::3], elements[2::3] = halves[::2], halves[1::2]
        return _ARRAY.pack(1, 0, _BIGINT, count, 1) + elements.tobytes()
