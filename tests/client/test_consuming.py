"""Receiving in loops and callbacks, and backpressure."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost

from chat_protocol.client import ReceivedMessage, State
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
def test_an_exception_in_a_callback_ends_consume_without_acknowledging(later: bool) -> None:
    line = Line()

    async def callback(message: ReceivedMessage) -> None:
        if later:
            await busy
        raise ZeroDivisionError

    busy: Deferred[None] = Deferred()
    consuming = line.client.consume(callback)
    line.push(frames.deliver(1, "1"), frames.deliver(2, "2"))
    busy.callback(None)
    with pytest.raises(ZeroDivisionError):
        result(consuming)
    assert line.acknowledged() == []
    assert line.client.state is State.ONLINE
    assert line.client.resume_state.offset == 0


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
