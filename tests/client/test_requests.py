from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from chat_protocol.client.requests import Requests
from chat_protocol.errors import NotConnected, RequestTimeout
from tests.client.line import result


def test_ids_start_at_1() -> None:
    requests = Requests(Clock())
    assert [requests.next_id() for _ in range(3)] == [1, 2, 3]


def test_ids_start_over_without_0() -> None:
    """Deliveries carry 0, so no request has it."""
    requests = Requests(Clock())
    requests._last_id = 0xFFFF_FFFE
    assert [requests.next_id() for _ in range(2)] == [0xFFFF_FFFF, 1]


def test_ids_of_waiting_requests_are_skipped() -> None:
    requests = Requests(Clock())
    waiting = [requests.wait(number, 3.0) for number in (1, 2, 4)]
    assert [requests.next_id() for _ in range(2)] == [3, 5]
    requests.fail(lambda: NotConnected("over"))
    for each in waiting:
        with pytest.raises(NotConnected):
            result(each)


def test_answers_find_their_requests_in_any_order() -> None:
    requests = Requests(Clock())
    first, second = requests.wait(1, 3.0), requests.wait(2, 3.0)
    assert requests.answer(2, "to the second")
    assert requests.answer(1, "to the first")
    assert (result(first), result(second)) == ("to the first", "to the second")


def test_an_answer_is_taken_once() -> None:
    requests = Requests(Clock())
    waiting = requests.wait(1, 3.0)
    assert requests.answer(1, "answer")
    assert not requests.answer(1, "again")
    assert result(waiting) == "answer"


def test_an_unknown_id_is_no_answer() -> None:
    assert not Requests(Clock()).answer(7, "answer")


def test_time_out_after_the_given_time() -> None:
    clock = Clock()
    requests = Requests(clock)
    waiting = requests.wait(1, 3.0)
    clock.advance(2.9)
    assert not waiting.called
    clock.advance(0.1)
    with pytest.raises(RequestTimeout, match="within 3 seconds"):
        result(waiting)


def test_an_answer_after_the_time_out_is_for_nobody() -> None:
    clock = Clock()
    requests = Requests(clock)
    waiting = requests.wait(1, 3.0)
    clock.advance(3.0)
    assert not requests.answer(1, "late")
    with pytest.raises(RequestTimeout):
        result(waiting)


def test_an_answer_stops_the_clock() -> None:
    clock = Clock()
    requests = Requests(clock)
    waiting = requests.wait(1, 3.0)
    requests.answer(1, "answer")
    assert clock.getDelayedCalls() == []
    assert result(waiting) == "answer"


def test_a_cancelled_request_is_forgotten() -> None:
    clock = Clock()
    requests = Requests(clock)
    waiting = requests.wait(1, 3.0)
    waiting.cancel()
    assert len(requests) == 0
    assert clock.getDelayedCalls() == []
    with pytest.raises(CancelledError):
        result(waiting)


def test_failing_gives_each_an_error_of_its_own_in_the_order_of_sending() -> None:
    requests = Requests(Clock())
    order: list[tuple[int, BaseException | None]] = []

    def note(failure: Failure, number: int) -> None:
        order.append((number, failure.value))

    for number in (5, 3):
        requests.wait(number, 3.0).addErrback(note, number)
    requests.fail(lambda: NotConnected("over"))
    assert [number for number, _ in order] == [5, 3]
    assert order[0][1] is not order[1][1]
    assert len(requests) == 0


def test_without_a_time_out_it_waits_as_long_as_it_takes() -> None:
    clock = Clock()
    requests = Requests(clock)
    waiting = requests.wait(1, None)
    assert clock.getDelayedCalls() == []
    assert requests.answer(1, "answer")
    assert result(waiting) == "answer"


def test_who_fails_may_cancel_the_next() -> None:
    requests = Requests(Clock())
    first, second, third = (requests.wait(number, None) for number in (1, 2, 3))
    first.addErrback(lambda _: second.cancel())
    requests.fail(lambda: NotConnected("over"))
    with pytest.raises(CancelledError):
        result(second)
    with pytest.raises(NotConnected):
        result(third)
