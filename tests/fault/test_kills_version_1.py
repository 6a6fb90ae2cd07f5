"""A few SIGKILLs under version 1 load."""

from __future__ import annotations

import pytest

from tests.fault.frames import Arrival
from tests.fault.history import History
from tests.fault.kills_version_1 import Kill, ages
from tests.fault.program import assert_passes


@pytest.mark.timeout(320)
def test_nothing_is_lost_and_the_order_is_kept() -> None:
    # How long before a kill depends on the load of the machine.
    assert_passes("kills_version_1", "--kills", "3", "--max-age", "60")


def test_the_age_of_a_repeated_message() -> None:
    message = Arrival("alice", "1:x", 0)
    kills = [Kill(10.0, 10.5), Kill(20.0, 20.5)]

    def age(*times: float) -> list[float]:
        history = History("bob", 1)
        for time in times:
            history.arrive(message, time)
        return ages([history], kills)

    assert age(9.0) == []
    assert age(9.0, 11.0) == [1.0]
    assert age(10.2, 11.0) == [0.0]
    assert age(9.0, 21.0) == [11.0]
    assert age(9.5, 11.0, 21.0) == [0.5, 9.0]
    assert age(11.0, 12.0) == [float("inf")]
    assert age(8.0, 9.0) == [float("inf")]
