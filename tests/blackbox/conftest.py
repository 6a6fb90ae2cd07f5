"""Servers for the tests; every one is ended, and its log looked at, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.blackbox.client import Address
from tests.blackbox.server import Server


class StartServer(Protocol):
    """Starts a server with options."""

    def __call__(self, *options: str, directory: Path | None = None) -> Server: ...


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """A function that starts servers in the test's directory; their logs must be clean."""
    servers = []
    with ExitStack() as stack:

        def start(*options: str, directory: Path | None = None) -> Server:
            server = stack.enter_context(Server(directory or tmp_path, options))
            servers.append(server)
            return server

        yield start
    for server in servers:
        server.check_log()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server on the default store for the tests of a module, which use users of their own."""
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server
    server.check_log()


@pytest.fixture
def address(server: Server) -> Address:
    return server.address


_names = iter(range(10**9))


@pytest.fixture
def user(request: pytest.FixtureRequest) -> UserNames:
    return UserNames(f"t{next(_names)}")


class UserNames:
    """Names that no other test uses."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __call__(self, name: str) -> str:
        return f"{self._prefix}-{name}"
