"""What tests of the server in memory have."""

from __future__ import annotations

import pytest

from chat_protocol.testing import MemoryServer
from tests.testing.pair import HalfCloser, Pair


@pytest.fixture
def pair() -> Pair:
    return Pair(HalfCloser(), HalfCloser())


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer()
