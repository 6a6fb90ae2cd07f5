"""Messages that come: acknowledged, dropped when they come again, held back in version 1."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost

from chat_protocol.client import ReceivedMessage, ResumeState, State
from chat_protocol.client.connection import UNREAD_LIMIT_FACTOR
from chat_protocol.client.service import DEFAULT_WINDOW
from chat_protocol.errors import NotConnected, RequestTimeout

from . import frames
from .line import Line, result, silence


def take(line: Line, count: int = 1) -> list[str]:
    return [result(line.client.receive()).text for _ in range(count)]


# Acknowledging.


def test_to_ask_for_the_next_acknowledges_the_one_before() -> None:
    line = Line()
    line.push(frames.deliver(3, "a"), frames.deliver(5, "b"))
    assert take(line) == ["a"]
    assert line.acknowledged() == []
    assert take(line) == ["b"]
    assert line.acknowledged() == [3]
    silence(line.client.receive())
    assert line.acknowledged() == [5]
    assert line.client.resume_state.offset == 5


def test_what_comes_while_somebody_waits_is_acknowledged_with_the_next() -> None:
    line = Line()
    receiving = line.client.receive()
    line.push(frames.deliver(3, "a"))
    assert result(receiving).text == "a"
    assert line.acknowledged() == []
    silence(line.client.receive())
    assert line.acknowledged() == [3]


def test_acknowledging_by_hand() -> None:
    line = Line(acknowledge=False)
    line.push(*(frames.deliver(number, str(number)) for number in (1, 2, 3)))
    one, two, three = (result(line.client.receive()) for _ in range(3))
    assert line.acknowledged() == []
    line.client.acknowledge(two)
    line.client.acknowledge(one)
    assert line.acknowledged() == [2], "all before it are taken as well"
    line.client.acknowledge(three)
    assert line.acknowledged() == [3]
    assert line.client.resume_state.offset == 3


def test_by_hand_what_was_taken_last_can_be_acknowledged_in_the_automatic_way_too() -> None:
    line = Line()
    line.push(frames.deliver(1, "a"))
    line.client.acknowledge(result(line.client.receive()))
    assert line.acknowledged() == [1]
    silence(line.client.receive())
    assert line.acknowledged() == []


def test_what_was_not_taken_cannot_be_acknowledged() -> None:
    """A message out of the history, say."""
    line = Line(acknowledge=False)
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    take(line)
    line.client.acknowledge(ReceivedMessage("bob", "later", 0, (), offset=7))
    assert line.acknowledged() == [1]
    line.reconnect()
    line.push(frames.deliver(2, "b"), frames.deliver(5, "c"))
    assert take(line, 2) == ["b", "c"]


def test_version_1_acknowledges_nothing() -> None:
    line = Line(1)
    line.push(frames.delivery("a"), frames.delivery("b"))
    message = result(line.client.receive())
    line.client.acknowledge(message)
    take(line)
    assert line.sent() == []


# What comes again.


def test_what_was_seen_is_dropped_when_it_comes_again() -> None:
    line = Line()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    assert take(line) == ["a"]
    line.reconnect()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"), frames.deliver(3, "c"))
    assert line.acknowledged() == [], "they wait for the application"
    assert take(line, 2) == ["b", "c"]
    assert line.acknowledged() == [1, 2]


def test_what_was_acknowledged_is_acknowledged_again_when_it_comes_again() -> None:
    """The acknowledgement was lost with the connection."""
    line = Line()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    take(line, 2)
    line.reconnect()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    assert line.acknowledged() == [1]
    silence(line.client.receive())
    assert line.acknowledged() == [2]


def test_what_is_acknowledged_while_there_is_no_connection_counts() -> None:
    line = Line(acknowledge=False)
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    message = result(line.client.receive())
    line.lose(ConnectionLost())
    line.client.acknowledge(message)
    line.connect()
    line.log_in()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    assert line.acknowledged() == [1]
    assert take(line) == ["b"]


def test_what_an_earlier_process_has_taken_is_acknowledged_and_dropped() -> None:
    line = Line(resume=ResumeState(offset=5))
    line.push(frames.deliver(4, "a"), frames.deliver(5, "b"), frames.deliver(6, "c"))
    assert line.acknowledged() == [4, 5]
    assert take(line) == ["c"]
    assert line.client.resume_state.offset == 5


def test_what_waits_outlives_the_connection() -> None:
    line = Line()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    line.lose(ConnectionLost())
    assert take(line, 2) == ["a", "b"]
    line.connect()
    line.log_in()
    line.push(frames.deliver(1, "a"))
    assert line.acknowledged() == [1]


def test_a_receive_outlives_the_connection() -> None:
    line = Line()
    receiving = line.client.receive()
    line.reconnect()
    line.push(frames.deliver(1, "a"))
    assert result(receiving).text == "a"


def test_version_1_drops_nothing_and_undoes_no_offset() -> None:
    line = Line(2)
    line.push(frames.deliver(1, "a"))
    take(line)
    line.reconnect(1)
    line.push(frames.delivery("b"), frames.delivery("b"))
    assert take(line, 2) == ["b", "b"]
    assert line.client.resume_state.offset == 1


def test_a_server_that_ignores_the_window_is_left() -> None:
    line = Line()
    line.push(*(frames.deliver(number + 1, "x") for number in range(DEFAULT_WINDOW)))
    assert not line.transport.disconnected
    line.push(frames.deliver(DEFAULT_WINDOW + 1, "x"))
    assert line.transport.disconnected
    line.lose(ConnectionLost())
    assert "more than the window of 250 messages" in str(line.events[-1])


def test_the_window_is_as_granted() -> None:
    line = Line(granted={"window": "400"}, window=0)
    line.push(*(frames.deliver(number + 1, "x") for number in range(400)))
    take(line, 100)
    line.push(*(frames.deliver(number + 401, "x") for number in range(100)))
    assert not line.transport.disconnected


# Who takes them.


def test_takers_are_served_in_their_order() -> None:
    line = Line()
    first, second = line.client.receive(), line.client.receive()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    assert (result(first).text, result(second).text) == ("a", "b")


def test_a_cancelled_taker_takes_nothing() -> None:
    line = Line()
    taker = line.client.receive()
    taker.cancel()
    line.push(frames.deliver(1, "a"))
    with pytest.raises(CancelledError):
        result(taker)
    assert take(line) == ["a"]


def test_after_the_end_what_had_come_can_be_taken() -> None:
    line = Line()
    line.push(frames.deliver(1, "a"))
    stopping = line.client.stopService()
    line.push(frames.deliver(2, "b"))
    line.lose()
    result(stopping)
    assert take(line, 2) == ["a", "b"]
    with pytest.raises(NotConnected):
        take(line)


def test_what_waited_at_the_end_is_there_after_the_next_start() -> None:
    line = Line()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    line.stop()
    line.client.startService()
    assert take(line) == ["a"]
    line.connect()
    line.log_in()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"), frames.deliver(3, "c"))
    assert take(line, 2) == ["b", "c"]


def test_the_end_reaches_all_takers_even_if_one_cancels_another() -> None:
    line = Line()
    first, second, third = (line.client.receive() for _ in range(3))
    silence(first, second)
    first.addBoth(lambda _: second.cancel())
    line.stop()
    assert second.called
    with pytest.raises(NotConnected):
        result(third)


# Iterating.


def texts(line: Line, into: list[str]) -> Deferred[None]:
    async def loop() -> None:
        async for message in line.client.messages():
            into.append(message.text)

    return Deferred.fromCoroutine(loop())


def test_the_loop_goes_on_over_lost_connections_and_ends_after_the_stop() -> None:
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


def test_why_the_client_gave_up_comes_out_of_the_loop() -> None:
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


def test_a_callback_gets_the_next_message_when_it_is_done_with_the_last() -> None:
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
def test_what_a_callback_raises_ends_the_consuming_and_acknowledges_nothing(later: bool) -> None:
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


def test_a_cancelled_consuming_cancels_its_callback_and_acknowledges_nothing() -> None:
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


def test_a_callback_that_waits_for_the_stop() -> None:
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


def test_a_callback_may_send_and_wait_for_it() -> None:
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


# Reading in version 1, which has no window.


def test_reading_stops_at_the_limit_and_goes_on_below_half_of_it() -> None:
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


def test_a_burst_is_held_back_at_the_limit_and_loses_nothing() -> None:
    """What one read brought beyond the limit stays as it is, in order."""
    line = Line(1, max_unread=1000)
    line.push(*(frames.delivery(str(number)) for number in range(100)))
    assert not line.reading
    assert line.client._inbox.size < 1500
    assert take(line, 100) == [str(number) for number in range(100)]
    assert line.reading


def test_a_slow_callback_stops_the_reading() -> None:
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


def test_a_request_goes_on_reading_behind_the_limit() -> None:
    """The answer comes behind messages; who waits for it does not take those."""
    line = Line(1, max_unread=1000)
    line.push(frames.delivery("x" * 1000))
    assert not line.reading
    sent = line.client.send("bob", "1")
    assert line.reading
    (frame,) = line.sent()
    line.push(frames.delivery("x" * 1000), frames.response(frame.correlation_id))
    assert result(sent) is None
    assert not line.reading


def test_a_request_reads_on_to_a_limit_too() -> None:
    line = Line(1, max_unread=1000)
    sent = line.client.send("bob", "1")
    for _ in range(UNREAD_LIMIT_FACTOR):
        assert line.reading
        line.push(frames.delivery("x" * 750))
    assert not line.reading
    line.clock.advance(10)
    with pytest.raises(RequestTimeout):
        result(sent)


def test_what_waits_when_the_connection_ends_can_be_received() -> None:
    line = Line(1, max_unread=1000)
    line.push(*(frames.delivery(str(number)) for number in range(100)))
    line.lose()
    assert take(line, 100) == [str(number) for number in range(100)]


def test_version_2_never_stops_reading() -> None:
    line = Line(2, max_unread=10)
    line.push(*(frames.deliver(number + 1, "x" * 1000) for number in range(100)))
    assert line.reading
    sent = line.client.send("bob", "1")
    line.answer_all()
    assert result(sent) is None


def test_what_waits_is_not_in_the_way_of_the_next_login() -> None:
    line = Line(2, max_unread=10)
    line.push(*(frames.deliver(number + 1, "x" * 1000) for number in range(100)))
    line.lose(ConnectionLost())
    line.connect()
    assert line.reading
    line.log_in()
    assert line.client.state is State.ONLINE


def test_what_waits_counts_after_the_next_login_in_version_1() -> None:
    line = Line(1, max_unread=1000)
    line.push(frames.delivery("x" * 1000))
    line.reconnect(1)
    line.push(frames.delivery("y"))
    assert not line.reading
    assert take(line, 2)[1] == "y"
    assert line.reading
