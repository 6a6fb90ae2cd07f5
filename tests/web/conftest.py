"""People at a page, in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.server import Server
from tests.server.conftest import log
from tests.web.chromium import chromium
from tests.web.people import People

__all__ = ["chromium", "log"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


@pytest.fixture
def people(chromium: Any, server: Server) -> Iterator[People]:
    people = People(chromium, server)
    yield people
    people.close()
