"""A server process for the tests of the client that blocks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.blackbox.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), ["--store", "memory:"]) as server:
        yield server


@pytest.fixture
def url(server: Server) -> str:
    return f"tcp:127.0.0.1:{server.address[1]}"
