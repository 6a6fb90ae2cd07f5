"""Columns of numbers, encoded in a quarter of the time that psycopg takes for a list."""

from __future__ import annotations

import struct

from psycopg.adapt import Dumper
from psycopg.pq import Format

__all__ = ["Bigints", "BigintsDumper"]

_BIGINT = 20
_BIGINT_ARRAY = 1016
"""Of the types in pg_type."""

_ARRAY = struct.Struct(">iiIii")
_ELEMENT = struct.Struct(">iq")


class Bigints(list[int]):
    """The elements of a bigint[]."""


class BigintsDumper(Dumper):
    """Encodes Bigints in the binary format of PostgreSQL (array_recv)."""

    format = Format.BINARY
    oid = _BIGINT_ARRAY

    def dump(self, obj: Bigints) -> bytes:
        pack = _ELEMENT.pack
        head = _ARRAY.pack(1, 0, _BIGINT, len(obj), 1)
        return head + b"".join([pack(8, number) for number in obj])
