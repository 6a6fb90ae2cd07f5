"""A few failed syncs."""

from __future__ import annotations

import pytest

from tests.fault.program import assert_passes, needs_compiler


@needs_compiler
@pytest.mark.timeout(320)
def test_no_refused_message_is_received_after_a_failed_sync() -> None:
    assert_passes("fsync_failure", "--rounds", "5")
