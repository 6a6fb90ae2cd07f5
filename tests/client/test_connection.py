"""The client against bytes: what it writes, what it makes of what it reads."""

from __future__ import annotations

import struct

import pytest
from twisted.internet.error import ConnectionLost

from chat_protocol.client.connection import CLOSE_TIMEOUT, UNREAD_LIMIT_FACTOR
from chat_protocol.errors import (
    FrameLengthError,
    InternalFault,
    Malformed,
    NotConnected,
    NotLoggedIn,
    RequestTimeout,
    UserAlreadyLogged,
    UserNotFound,
)

from . import frames
from .line import NOW, Line, result

EXAMPLE = bytes.fromhex("0000000E 01 0001 00000001 0005 7573657231")


def test_login_is_the_example_of_the_protocol() -> None:
    line = Line(login=None)
    logged_in = line.client.login("user1")
    assert line.written() == EXAMPLE
    line.push(bytes.fromhex("00000009 01 0003 00000001 0001"))
    assert result(logged_in) is None
    assert line.client.username == "user1"


def test_a_message_says_from_whom_and_when() -> None:
    line = Line()
    sent = line.client.send("bob", "hällo")
    (frame,) = line.sent()
    assert (frame.version, frame.key) == (1, frames.MESSAGE)
    assert frames.strings(frame.body, 3) == ["hällo", "alice", "bob"]
    assert struct.unpack(">Q", frame.body[-8:]) == (NOW,)
    line.push(frames.response(frame.correlation_id))
    assert result(sent) is None


def test_correlation_id_test_has_an_empty_body() -> None:
    line = Line()
    tested = line.client.correlation_id_test()
    (frame,) = line.sent()
    assert (frame.key, frame.body) == (frames.TEST, b"")
    line.push(frames.response(frame.correlation_id))
    assert result(tested) is None


def test_answers_out_of_order_find_their_requests() -> None:
    line = Line()
    first, second = line.client.send("bob", "1"), line.client.send("nobody", "2")
    ids = [frame.correlation_id for frame in line.sent()]
    line.push(frames.response(ids[1], frames.NOT_FOUND) + frames.response(ids[0]))
    assert result(first) is None
    with pytest.raises(UserNotFound):
        result(second)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (frames.ERROR, InternalFault),
        (frames.NOT_FOUND, UserNotFound),
        (frames.ALREADY_LOGGED, UserAlreadyLogged),
        (777, InternalFault),
    ],
)
def test_a_refused_login_raises_and_leaves_no_name(code: int, error: type[Exception]) -> None:
    line = Line(login=None)
    logged_in = line.client.login("alice")
    line.push(frames.response(line.sent()[0].correlation_id, code))
    with pytest.raises(error):
        result(logged_in)
    assert line.client.username is None


def test_sending_needs_a_login() -> None:
    line = Line(login=None)
    with pytest.raises(NotLoggedIn):
        result(line.client.send("bob", "text"))
    assert line.sent() == []


@pytest.mark.parametrize("text", ["x" * 65_536, "ä" * 32_768, "\ud800"])
def test_what_no_string_can_hold_is_a_value_error_and_not_sent(text: str) -> None:
    line = Line()
    with pytest.raises(ValueError, match="string"):
        result(line.client.send("bob", text))
    assert line.sent() == []
    assert line.clock.getDelayedCalls() == []


def test_the_longest_text_is_sent() -> None:
    line = Line()
    sent = line.client.send("bob", "x" * 65_535)
    line.push(frames.response(line.sent()[0].correlation_id))
    assert result(sent) is None


def test_a_late_answer_is_ignored_and_the_connection_goes_on() -> None:
    line = Line()
    first = line.client.send("bob", "1")
    line.clock.advance(10)
    with pytest.raises(RequestTimeout):
        result(first)
    second = line.client.send("bob", "2")
    ids = [frame.correlation_id for frame in line.sent()]
    line.push(frames.response(ids[0], frames.NOT_FOUND) + frames.response(ids[1]))
    assert result(second) is None


def test_an_answer_to_nothing_is_ignored() -> None:
    line = Line()
    line.push(frames.response(4711))
    assert line.client.connected


@pytest.mark.parametrize("correlation_id", [0, 99])
def test_a_delivery_is_received_whatever_its_correlation_id(correlation_id: int) -> None:
    """The Python server passes on that of the sender's request."""
    line = Line()
    line.push(frames.delivery("hi", "bob", "alice", 17, correlation_id))
    message = result(line.client.receive())
    assert (message.sender, message.text, message.time, message.recipient) == (
        "bob",
        "hi",
        17,
        "alice",
    )


def test_a_delivery_is_no_answer_even_with_the_id_of_a_request() -> None:
    line = Line()
    sent = line.client.send("bob", "1")
    (frame,) = line.sent()
    line.push(frames.delivery("hi", correlation_id=frame.correlation_id))
    assert not sent.called
    line.push(frames.response(frame.correlation_id))
    assert result(sent) is None


def test_bytes_in_any_portions() -> None:
    line = Line()
    data = b"".join(frames.delivery(str(number)) for number in range(5))
    for position in range(len(data)):
        line.push(data[position : position + 1])
    assert [result(line.client.receive()).text for _ in range(5)] == list("01234")


@pytest.mark.parametrize(
    "data",
    [
        frames.frame(0x7777, 0, b"whatever"),
        frames.frame(0x0001, 5, frames.string("a login, from a server")),
        frames.frame(0x8001, 5),
    ],
)
def test_what_the_client_does_not_know_is_ignored(data: bytes) -> None:
    line = Line()
    line.push(data + frames.delivery("next"))
    assert result(line.client.receive()).text == "next"


def test_bytes_behind_the_known_fields_are_ignored() -> None:
    line = Line()
    sent = line.client.send("bob", "1")
    (frame,) = line.sent()
    line.push(frames.frame(frames.RESPONSE, frame.correlation_id, b"\0\1and more"))
    assert result(sent) is None


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", FrameLengthError),
        (struct.pack(">I", 6), FrameLengthError),
        (struct.pack(">I", 256 * 1024 + 1), FrameLengthError),
        (frames.frame(frames.MESSAGE, 0, b"\xff\xff"), Malformed),
        (frames.frame(frames.RESPONSE, 1, b"\1"), Malformed),
        (frames.frame(frames.MESSAGE, 0, b"\0\1\xff\0\0\0\0" + bytes(8)), Malformed),
        (frames.frame(frames.RESPONSE, 1, b"\0\1", version=0), Malformed),
    ],
)
def test_nonsense_from_the_server_ends_the_connection(data: bytes, cause: type[Exception]) -> None:
    line = Line()
    sent = line.client.send("bob", "1")
    ended = line.client.when_disconnected()
    line.push(data + frames.delivery("behind the nonsense"))
    assert line.transport.disconnected, "not cut"
    assert not line.client.connected
    line.lose()
    error = result(ended)
    assert error is not None
    assert isinstance(error.__cause__, cause)
    assert "the server sent" in str(error)
    with pytest.raises(NotConnected, match="the server sent"):
        result(sent)
    with pytest.raises(NotConnected, match="the server sent"):
        result(line.client.receive())


def test_losing_the_connection_fails_all_that_waits() -> None:
    line = Line()
    waiting = [line.client.send("bob", "1"), line.client.correlation_id_test()]
    receiving, ended = line.client.receive(), line.client.when_disconnected()
    line.lose(ConnectionLost())
    for each in (*waiting, line.client.send("bob", "2"), line.client.login("alice")):
        with pytest.raises(NotConnected, match="the connection was lost"):
            result(each)
    with pytest.raises(NotConnected, match="the connection was lost"):
        result(receiving)
    error = result(ended)
    assert error is not None
    assert isinstance(error.__cause__, ConnectionLost)
    assert line.clock.getDelayedCalls() == []


def test_a_server_that_closes_is_told_from_one_that_is_lost() -> None:
    line = Line()
    line.lose()
    assert str(result(line.client.when_disconnected())) == "the server closed the connection"


def test_disconnect_waits_for_the_end_and_fails_requests() -> None:
    line = Line()
    sent, ended = line.client.send("bob", "1"), line.client.when_disconnected()
    gone = line.client.disconnect()
    assert line.transport.disconnecting
    assert not gone.called
    with pytest.raises(NotConnected, match="this client has disconnected"):
        result(line.client.send("bob", "2"))
    line.lose()
    assert result(gone) is None
    assert result(ended) is None
    with pytest.raises(NotConnected, match="this client has disconnected"):
        result(sent)
    assert line.clock.getDelayedCalls() == []


def test_disconnect_twice_does_no_harm() -> None:
    line = Line()
    first, second = line.client.disconnect(), line.client.disconnect()
    line.lose()
    assert result(first) is None
    assert result(second) is None
    assert result(line.client.disconnect()) is None


def test_a_server_that_does_not_close_is_cut() -> None:
    line = Line()
    gone = line.client.disconnect()
    line.clock.advance(CLOSE_TIMEOUT)
    assert line.transport.disconnected
    line.lose(ConnectionLost())
    assert result(gone) is None


def test_reading_stops_at_the_limit_and_goes_on_below_half_of_it() -> None:
    line = Line(max_unread=10 * 1000)
    text = "x" * 1000
    count = 0
    while line.reading:
        line.push(frames.delivery(text))
        count += 1
        assert count < 10, "no limit"
    assert count == 8
    taken = 0
    while not line.reading:
        result(line.client.receive())
        taken += 1
    assert taken == 5


def test_a_burst_is_held_back_at_the_limit_and_loses_nothing() -> None:
    """What one read brought beyond the limit stays as it is, in order."""
    line = Line(max_unread=1000)
    line.push(b"".join(frames.delivery(str(number)) for number in range(100)))
    assert not line.reading
    assert line.connection._inbox.size < 1500
    received = [result(line.client.receive()).text for _ in range(100)]
    assert received == [str(number) for number in range(100)]
    assert line.reading


def test_a_request_goes_on_reading_behind_the_limit() -> None:
    """The answer comes behind messages; who waits for it does not take those."""
    line = Line(max_unread=1000)
    line.push(frames.delivery("x" * 1000))
    assert not line.reading
    sent = line.client.send("bob", "1")
    assert line.reading
    line.push(frames.delivery("x" * 1000) + frames.response(line.sent()[0].correlation_id))
    assert result(sent) is None
    assert not line.reading


def test_a_request_reads_on_to_a_limit_too() -> None:
    line = Line(max_unread=1000)
    sent = line.client.send("bob", "1")
    for _ in range(UNREAD_LIMIT_FACTOR):
        assert line.reading
        line.push(frames.delivery("x" * 750))
    assert not line.reading
    line.clock.advance(10)
    with pytest.raises(RequestTimeout):
        result(sent)


def test_what_waits_when_the_connection_ends_can_be_received() -> None:
    line = Line(max_unread=1000)
    line.push(b"".join(frames.delivery(str(number)) for number in range(100)))
    line.lose()
    received = [result(line.client.receive()).text for _ in range(100)]
    assert received == [str(number) for number in range(100)]
    with pytest.raises(NotConnected):
        result(line.client.receive())


def test_cancelling_a_request_takes_nothing_back() -> None:
    line = Line()
    sent = line.client.send("bob", "1")
    sent.addErrback(lambda _: None)
    sent.cancel()
    (frame,) = line.sent()
    line.push(frames.response(frame.correlation_id))
    assert line.client.connected


def test_a_cancelled_watcher_is_forgotten() -> None:
    line = Line()
    watcher = line.client.when_disconnected()
    watcher.addErrback(lambda _: None)
    watcher.cancel()
    line.lose()
    assert line.connection._watchers == []
