"""Receiving in loops and callbacks, and backpressure."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from chat_protocol.client import Ended, ReceivedMessage, State
from chat_protocol.client.connection import UNREAD_LIMIT_FACTOR
from chat_protocol.errors import NotConnected, RequestTimeout
from tests.client import frames
from tests.client.line import Line, result, silence, take

# Iterating.


def texts(line: Line, into: list[str]) -> Deferred[None]:
    async def loop() -> None:
        async for message in line.client.messages():
            into.append(message.text)

    return Deferred.fromCoroutine(loop())


def test_the_loop_survives_reconnects_and_ends_after_the_stop() -> None:
    line = Line()
    seen: list[str] = []
    line.push(frames.deliver(1, "before"))
    loop = texts(line, seen)
    line.push(frames.deliver(2, "while"))
    line.reconnect()
    stopping = line.client.stopService()
    line.push(frames.deliver(3, "after"))
    assert not loop.called
    line.lose()
    assert result(loop) is None
    assert result(stopping) is None
    assert seen == ["before", "while", "after"]


def test_the_loop_raises_why_the_client_gave_up() -> None:
    line = Line()
    seen: list[str] = []
    loop = texts(line, seen)
    line.push(frames.deliver(1, "a"), frames.close(frames.REPLACED, "by another"))
    line.lose()
    with pytest.raises(NotConnected, match="by another"):
        result(loop)
    assert seen == ["a"]


def test_leaving_the_loop_loses_nothing() -> None:
    line = Line()
    line.push(frames.deliver(1, "1"), frames.deliver(2, "2"))

    async def one() -> str:
        async for message in line.client.messages():
            return message.text
        return "none"

    assert result(Deferred.fromCoroutine(one())) == "1"
    assert line.acknowledged() == []
    assert result(Deferred.fromCoroutine(one())) == "2"
    assert line.acknowledged() == [1]


# Callbacks.


def test_the_next_callback_waits_for_the_previous_one() -> None:
    line = Line()
    seen: list[str] = []
    done: list[Deferred[None]] = []

    def callback(message: ReceivedMessage) -> Deferred[None]:
        seen.append(message.text)
        done.append(Deferred())
        return done[-1]

    consuming = line.client.consume(callback)
    line.push(frames.deliver(1, "1"), frames.deliver(2, "2"))
    assert seen == ["1"]
    assert line.acknowledged() == []
    done[0].callback(None)
    assert seen == ["1", "2"]
    assert line.acknowledged() == [1]
    done[1].callback(None)
    assert line.acknowledged() == [2]
    line.stop()
    assert result(consuming) is None


def test_a_callback_can_be_a_coroutine_function() -> None:
    line = Line()
    seen: list[str] = []

    async def callback(message: ReceivedMessage) -> None:
        seen.append(message.text)

    consuming = line.client.consume(callback)
    line.push(frames.deliver(1, "1"))
    assert seen == ["1"]
    assert line.acknowledged() == [1]
    silence(consuming)
    consuming.cancel()


@pytest.mark.parametrize("later", [False, True])
def test_an_exception_in_a_callback_ends_consume_without_acknowledging(
    later: bool, logged_failures: list[Failure]
) -> None:
    line = Line()

    async def callback(message: ReceivedMessage) -> None:
        if later:
            await busy
        raise ZeroDivisionError

    busy: Deferred[None] = Deferred()
    with capturedLogs() as log:
        consuming = line.client.consume(callback)
        line.push(frames.deliver(1, "1"), frames.deliver(2, "2"))
        busy.callback(None)
    with pytest.raises(ZeroDivisionError):
        result(consuming)
    assert [frame.key for frame in line.sent()] == [frames.CLOSE]
    assert line.client.state is State.CLOSING
    line.lose()
    ended = line.events[-1]
    assert isinstance(ended, Ended)
    assert isinstance(ended.reason, ZeroDivisionError)
    assert line.client.resume_state.offset == 0
    (logged,) = [event for event in log if "log_failure" in event]
    assert formatEvent(logged) == "the callback of consume() failed for the message 1 from 'bob'"
    logged_failures.clear()


@pytest.mark.parametrize("later", [False, True])
def test_an_application_may_go_on_after_an_exception(
    later: bool, logged_failures: list[Failure]
) -> None:
    line = Line()
    told: list[object] = []
    going_on: Deferred[bool] = Deferred()

    def on_error(error: Exception, message: ReceivedMessage) -> object:
        told.append((type(error), message.text))
        return going_on if later else True

    consuming = line.client.consume(lambda message: 1 / int(message.text), on_error=on_error)
    line.push(frames.deliver(1, "0"), frames.deliver(2, "2"))
    assert [logged_failures.pop().type] == [ZeroDivisionError]
    assert told == [(ZeroDivisionError, "0")]
    assert line.acknowledged() == ([] if later else [1, 2])
    going_on.callback(True)
    assert line.client.resume_state.offset == 2
    line.stop()
    assert result(consuming) is None


def test_what_on_error_does_not_go_on_with_ends_the_client(
    logged_failures: list[Failure],
) -> None:
    line = Line()
    consuming = line.client.consume(lambda _: 1 / 0, on_error=lambda *_: None)
    line.push(frames.deliver(1, "0"))
    assert [logged_failures.pop().type] == [ZeroDivisionError]
    with pytest.raises(ZeroDivisionError):
        result(consuming)
    assert [frame.key for frame in line.sent()] == [frames.CLOSE]
    with pytest.raises(NotConnected, match="a callback raised ZeroDivisionError"):
        result(line.client.send("bob", "x"))
    line.lose()


# The end.


def test_a_message_is_acknowledged_behind_its_block() -> None:
    line = Line()
    line.push(frames.deliver(1, "1"), frames.deliver(2, "2"))

    async def handle(fails: bool) -> str:
        async with line.client.next() as message:
            if fails:
                raise ZeroDivisionError
            return message.text

    with pytest.raises(ZeroDivisionError):
        result(Deferred.fromCoroutine(handle(True)))
    assert line.acknowledged() == []
    assert [result(Deferred.fromCoroutine(handle(False))) for _ in range(2)] == ["1", "2"]
    assert line.client.resume_state.offset == 2
    line.stop()


def test_what_was_given_back_comes_first_and_in_order() -> None:
    line = Line(acknowledge=False)
    line.push(*(frames.deliver(n, str(n)) for n in range(1, 5)))
    one, two, three = (result(line.client.receive()) for _ in range(3))
    line.client.acknowledge(one)
    for message in (two, three):
        line.client.give_back(message)
    line.client.acknowledge(three)
    assert line.acknowledged() == [1], "it is not taken any more"
    assert [result(line.client.receive()).text for _ in range(3)] == ["2", "3", "4"]
    waiting = line.client.receive()
    line.client.give_back(three)
    assert result(waiting).text == "3"
    line.stop()


def drained(line: Line) -> tuple[list[str], Deferred[None]]:
    seen: list[str] = []

    async def drain() -> None:
        async for message in line.client.drain():
            seen.append(message.text)
            if message.text == "2":
                line.push(frames.deliver(9, "late"))

    return seen, Deferred.fromCoroutine(drain())


@pytest.mark.parametrize("acknowledge", [True, False])
def test_draining_hands_out_what_is_there_and_logs_out(acknowledge: bool) -> None:
    line = Line(acknowledge=acknowledge)
    line.push(*(frames.deliver(n, str(n)) for n in range(1, 4)))
    assert result(line.client.receive()).text == "1"
    seen, draining = drained(line)
    assert seen == ["2", "3"]
    assert not draining.called
    sent = [frame.key for frame in line.sent()]
    assert sent == [*[frames.ACK] * (3 if acknowledge else 0), frames.CLOSE]
    line.lose()
    assert result(draining) is None
    assert line.client.resume_state.offset == (3 if acknowledge else 0)
    line.client.startService()
    line.connect()
    line.log_in()
    line.push(frames.deliver(9, "late"))
    assert result(line.client.receive()).text == "late"
    line.stop()


def test_draining_in_version_1_hands_out_all_that_arrives() -> None:
    line = Line(1)
    line.push(frames.delivery("1"))
    seen: list[str] = []

    async def drain() -> None:
        async for message in line.client.drain():
            seen.append(message.text)

    draining = Deferred.fromCoroutine(drain())
    line.push(frames.delivery("2"))
    line.lose()
    assert result(draining) is None
    assert seen == ["1", "2"]


def test_canceling_consume_cancels_its_callback_without_acknowledging() -> None:
    line = Line()
    busy: Deferred[None] = Deferred()
    consuming = line.client.consume(lambda _: busy)
    line.push(frames.deliver(1, "1"))
    consuming.cancel()
    with pytest.raises(CancelledError):
        result(consuming)
    assert busy.called
    assert line.acknowledged() == []


def test_stopping_from_a_callback() -> None:
    line = Line()
    seen: list[str] = []
    stopping: list[Deferred[None]] = []

    def callback(message: ReceivedMessage) -> None:
        seen.append(message.text)
        stopping.append(line.client.stopService())

    consuming = line.client.consume(callback)
    line.push(frames.deliver(1, "1"))
    assert [frame.key for frame in line.sent()] == [frames.CLOSE]
    assert not consuming.called
    line.lose()
    assert result(stopping[0]) is None
    assert result(consuming) is None
    assert seen == ["1"]
    assert line.idle


def test_a_callback_may_await_the_stop() -> None:
    line = Line()

    async def callback(message: ReceivedMessage) -> None:
        line.client.acknowledge(message)
        await line.client.stopService()

    consuming = line.client.consume(callback)
    line.push(frames.deliver(1, "1"))
    assert [frame.key for frame in line.sent()] == [frames.ACK, frames.CLOSE]
    line.lose()
    assert result(consuming) is None
    assert line.idle


def test_a_callback_may_send_and_await_it() -> None:
    line = Line()
    answers: list[str] = []

    async def callback(message: ReceivedMessage) -> None:
        await line.client.send(message.sender, f"re: {message.text}")
        answers.append(message.text)

    consuming = line.client.consume(callback)
    line.push(frames.deliver(1, "1"))
    assert answers == []
    line.answer_all()
    assert answers == ["1"]
    line.stop()
    assert result(consuming) is None


# Backpressure in version 1, which has no window.


def test_reading_pauses_at_the_limit_and_resumes_below_half_of_it() -> None:
    line = Line(1, max_unread=10 * 1000)
    text = "x" * 1000
    count = 0
    while line.reading:
        line.push(frames.delivery(text))
        count += 1
        assert count < 10, "no limit"
    assert count == 8
    taken = 0
    while not line.reading:
        take(line)
        taken += 1
    assert taken == 5


def test_a_burst_pauses_reading_and_loses_nothing() -> None:
    """Frames that one read delivers beyond the limit are kept in order."""
    line = Line(1, max_unread=1000)
    line.push(*(frames.delivery(str(number)) for number in range(100)))
    assert not line.reading
    assert line.client._inbox.size < 1500
    assert take(line, 100) == [str(number) for number in range(100)]
    assert line.reading


def test_a_slow_callback_pauses_reading() -> None:
    line = Line(1, max_unread=1000)
    busy: Deferred[None] = Deferred()
    consuming = line.client.consume(lambda message: busy)
    for _ in range(4):
        assert line.reading
        line.push(frames.delivery("x" * 200))
    assert not line.reading
    busy.callback(None)
    assert line.reading
    silence(consuming)
    consuming.cancel()


def test_a_pending_request_raises_the_limit() -> None:
    """The answer follows messages that a caller awaiting it does not take."""
    line = Line(1, max_unread=1000)
    line.push(frames.delivery("x" * 1000))
    assert not line.reading
    sent = line.client.send("bob", "1")
    assert line.reading
    (frame,) = line.sent()
    line.push(frames.delivery("x" * 1000), frames.response(frame.correlation_id))
    assert result(sent) is None
    assert not line.reading


def test_reading_pauses_at_the_raised_limit() -> None:
    line = Line(1, max_unread=1000)
    sent = line.client.send("bob", "1")
    for _ in range(UNREAD_LIMIT_FACTOR):
        assert line.reading
        line.push(frames.delivery("x" * 750))
    assert not line.reading
    line.clock.advance(10)
    with pytest.raises(RequestTimeout):
        result(sent)


def test_messages_buffered_at_the_end_can_be_received() -> None:
    line = Line(1, max_unread=1000)
    line.push(*(frames.delivery(str(number)) for number in range(100)))
    line.lose()
    assert take(line, 100) == [str(number) for number in range(100)]


def test_version_2_never_pauses_reading() -> None:
    line = Line(2, max_unread=10)
    line.push(*(frames.deliver(number + 1, "x" * 1000) for number in range(100)))
    assert line.reading
    sent = line.client.send("bob", "1")
    line.answer_all()
    assert result(sent) is None


def test_unread_messages_do_not_block_the_next_login() -> None:
    line = Line(2, max_unread=10)
    line.push(*(frames.deliver(number + 1, "x" * 1000) for number in range(100)))
    line.lose(ConnectionLost())
    line.connect()
    assert line.reading
    line.log_in()
    assert line.client.state is State.ONLINE


def test_unread_messages_count_after_a_version_1_login() -> None:
    line = Line(1, max_unread=1000)
    line.push(frames.delivery("x" * 1000))
    line.reconnect(1)
    line.push(frames.delivery("y"))
    assert not line.reading
    assert take(line, 2)[1] == "y"
    assert line.reading
