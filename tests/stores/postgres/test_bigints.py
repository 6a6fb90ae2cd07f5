"""The encoding of columns of numbers."""

from __future__ import annotations

import pytest

from chat_protocol.stores.postgres.bigints import Bigints
from tests.stores.postgres.server import PostgresServer
from tests.stores.postgres.stores import connected

pytestmark = pytest.mark.postgresql


@pytest.mark.parametrize("numbers", [[], [0], [-(2**63), -1, 2**63 - 1], list(range(5000))])
def test_postgresql_reads_what_was_written(postgres: PostgresServer, numbers: list[int]) -> None:
    with connected(postgres.new_database()) as connection:
        row = connection.execute("SELECT %b::bigint[]", (Bigints(numbers),)).fetchone()
    assert row == (numbers,)
