"""What all tests of the PostgreSQL store have."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def lease(long_lease: None) -> None:
    """The stores in the process of the tests need no renewal."""
