from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from chat_protocol.client.requests import PendingRequests
from chat_protocol.errors import NotConnected, RequestTimeout
from tests.client.line import result


def test_ids_start_at_1() -> None:
    requests = PendingRequests(Clock())
    assert [requests.next_id() for _ in range(3)] == [1, 2, 3]


def test_ids_wrap_around_without_0() -> None:
    """0 is reserved for deliveries."""
    requests = PendingRequests(Clock())
    requests._last_id = 0xFFFF_FFFE
    assert [requests.next_id() for _ in range(2)] == [0xFFFF_FFFF, 1]


def test_ids_of_pending_requests_are_skipped() -> None:
    requests = PendingRequests(Clock())
    waiting = [requests.add(number, 3.0) for number in (1, 2, 4)]
    assert [requests.next_id() for _ in range(2)] == [3, 5]
    requests.fail_all(lambda: NotConnected("over"))
    for each in waiting:
        with pytest.raises(NotConnected):
            result(each)


def test_answers_match_their_requests_in_any_order() -> None:
    requests = PendingRequests(Clock())
    first, second = requests.add(1, 3.0), requests.add(2, 3.0)
    assert requests.answer(2, "to the second")
    assert requests.answer(1, "to the first")
    assert (result(first), result(second)) == ("to the first", "to the second")


def test_a_request_is_answered_once() -> None:
    requests = PendingRequests(Clock())
    waiting = requests.add(1, 3.0)
    assert requests.answer(1, "answer")
    assert not requests.answer(1, "again")
    assert result(waiting) == "answer"


def test_an_unknown_id_matches_no_request() -> None:
    assert not PendingRequests(Clock()).answer(7, "answer")


def test_timeout() -> None:
    clock = Clock()
    requests = PendingRequests(clock)
    waiting = requests.add(1, 3.0)
    clock.advance(2.9)
    assert not waiting.called
    clock.advance(0.1)
    with pytest.raises(RequestTimeout, match="within 3 seconds"):
        result(waiting)


def test_an_answer_after_the_timeout_is_ignored() -> None:
    clock = Clock()
    requests = PendingRequests(clock)
    waiting = requests.add(1, 3.0)
    clock.advance(3.0)
    assert not requests.answer(1, "late")
    with pytest.raises(RequestTimeout):
        result(waiting)


def test_an_answer_cancels_the_timeout() -> None:
    clock = Clock()
    requests = PendingRequests(clock)
    waiting = requests.add(1, 3.0)
    requests.answer(1, "answer")
    assert clock.getDelayedCalls() == []
    assert result(waiting) == "answer"


def test_a_canceled_request_is_removed() -> None:
    clock = Clock()
    requests = PendingRequests(clock)
    waiting = requests.add(1, 3.0)
    waiting.cancel()
    assert len(requests) == 0
    assert clock.getDelayedCalls() == []
    with pytest.raises(CancelledError):
        result(waiting)


def test_all_requests_fail_in_order_with_separate_errors() -> None:
    requests = PendingRequests(Clock())
    order: list[tuple[int, BaseException | None]] = []

    def note(failure: Failure, number: int) -> None:
        order.append((number, failure.value))

    for number in (5, 3):
        requests.add(number, 3.0).addErrback(note, number)
    requests.fail_all(lambda: NotConnected("over"))
    assert [number for number, _ in order] == [5, 3]
    assert order[0][1] is not order[1][1]
    assert len(requests) == 0


def test_a_request_without_a_timeout_waits() -> None:
    clock = Clock()
    requests = PendingRequests(clock)
    waiting = requests.add(1, None)
    assert clock.getDelayedCalls() == []
    assert requests.answer(1, "answer")
    assert result(waiting) == "answer"


def test_an_errback_may_cancel_the_next_request() -> None:
    requests = PendingRequests(Clock())
    first, second, third = (requests.add(number, None) for number in (1, 2, 3))
    first.addErrback(lambda _: second.cancel())
    requests.fail_all(lambda: NotConnected("over"))
    with pytest.raises(CancelledError):
        result(second)
    with pytest.raises(NotConnected):
        result(third)
