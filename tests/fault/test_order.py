"""A few rounds in which messages are refused and resent."""

from __future__ import annotations

import pytest

from tests.fault.program import assert_passes, needs_compiler


@needs_compiler
@pytest.mark.timeout(320)
def test_a_resend_after_a_full_disk_keeps_the_order() -> None:
    assert_passes("order", "--rounds", "4")


@pytest.mark.postgresql
@pytest.mark.usefixtures("postgres")
@pytest.mark.timeout(320)
def test_a_resend_after_a_restart_of_the_database_keeps_the_order() -> None:
    assert_passes("order", "--rounds", "2", "--store", "postgresql")
