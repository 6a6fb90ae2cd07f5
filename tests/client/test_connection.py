"""The client's frames: what it writes, and how it handles what it reads."""

from __future__ import annotations

import struct
from importlib.metadata import version

import pytest
from twisted.internet.error import ConnectionLost

from chat_protocol.client import Offline, State
from chat_protocol.errors import (
    FrameLengthError,
    InternalFault,
    MailboxFull,
    Malformed,
    NotConnected,
    Unavailable,
    UserAlreadyLogged,
    UserNotFound,
)
from tests.client import frames
from tests.client.line import NOW, Line, message_time, result, silence


def test_login_is_a_version_1_login_followed_by_properties() -> None:
    line = Line(None, heartbeat=30, window=250)
    line.connect()
    (frame,) = line.sent()
    assert frame == frames.Frame(
        2,
        frames.LOGIN,
        1,
        bytes.fromhex("0005 616c696365 00000004")
        + frames.string("product")
        + frames.string("chat-protocol")
        + frames.string("version")
        + frames.string(version("chat-protocol"))
        + frames.string("heartbeat")
        + frames.string("30")
        + frames.string("window")
        + frames.string("250"),
    )


def test_login_sends_the_properties_of_the_options() -> None:
    line = Line(None, password="secret", presence=True, heartbeat=0, window=7)
    line.connect()
    asked = line.log_in()
    assert {"password": "secret", "presence": "1", "heartbeat": "0", "window": "7"}.items() <= (
        asked.items()
    )
    assert "session" not in asked


def test_a_publish_has_recipient_and_time() -> None:
    line = Line()
    sent = line.client.send("bob", "hällo")
    (frame,) = line.sent()
    assert (frame.version, frame.key) == (2, frames.PUBLISH)
    assert frames.publish(frame.body) == (1, "hällo", 0, ["bob"], NOW)
    line.answer(frame)
    assert result(sent) is None


def test_a_publish_to_several_and_to_everyone() -> None:
    line = Line()
    sent = [line.client.send(["bob", "carol"], "1"), line.client.send_to_all("2")]
    publishes = [frames.publish(frame.body) for frame in line.sent()]
    assert [(one.scope, one.to) for one in publishes] == [(0, ["bob", "carol"]), (1, [])]
    silence(*sent)


def test_a_version_1_message_has_sender_and_time() -> None:
    line = Line(1)
    sent = line.client.send("bob", "hällo")
    (frame,) = line.sent()
    assert (frame.version, frame.key) == (1, frames.MESSAGE)
    assert frames.strings(frame.body, 3) == ["hällo", "alice", "bob"]
    assert message_time(frame) == NOW
    line.answer(frame)
    assert result(sent) is None


@pytest.mark.parametrize("session", [1, 2])
def test_correlation_id_test_has_an_empty_body(session: int) -> None:
    line = Line(session)
    tested = line.client.correlation_id_test()
    (frame,) = line.sent()
    assert (frame.version, frame.key, frame.body) == (1, frames.TEST, b"")
    line.answer(frame)
    assert result(tested) is None


@pytest.mark.parametrize("session", [1, 2])
def test_answers_in_any_order_match_their_requests(session: int) -> None:
    line = Line(session)
    first, second = line.client.send("bob", "1"), line.client.send("nobody", "2")
    one, other = line.sent()
    line.answer(other, frames.NOT_FOUND)
    line.answer(one)
    assert result(first) is None
    with pytest.raises(UserNotFound):
        result(second)


@pytest.mark.parametrize(
    ("session", "code", "error"),
    [
        (1, frames.ERROR, InternalFault),
        (1, frames.NOT_FOUND, UserNotFound),
        (1, frames.ALREADY_LOGGED, UserAlreadyLogged),
        (1, 777, InternalFault),
        (2, frames.NOT_FOUND, UserNotFound),
        (2, frames.MAILBOX_FULL, MailboxFull),
        (2, frames.UNAVAILABLE, Unavailable),
        (2, 0xFFFF, InternalFault),
    ],
)
def test_a_refusal_raises_the_error_for_its_code(
    session: int, code: int, error: type[Exception]
) -> None:
    line = Line(session)
    sent = line.client.send("bob", "1")
    line.answer_all(code)
    with pytest.raises(error):
        result(sent)
    assert line.client.state is State.ONLINE


def test_the_detail_of_a_refusal_is_the_error_text() -> None:
    line = Line()
    sent = line.client.send("bob", "1")
    line.answer(line.sent()[0], frames.MAILBOX_FULL, "bob has 10000 messages")
    with pytest.raises(MailboxFull, match="bob has 10000 messages"):
        result(sent)


def test_an_unknown_code_is_shown_with_its_detail() -> None:
    line = Line()
    with_detail, without = line.client.send("bob", "1"), line.client.send("bob", "2")
    first, second = line.sent()
    line.answer(first, frames.UNASSIGNED, "bob is on vacation")
    line.answer(second, frames.UNASSIGNED)
    with pytest.raises(InternalFault, match="answered with code 0x7001: bob is on vacation"):
        result(with_detail)
    with pytest.raises(InternalFault, match=r"answered with code 0x7001$"):
        result(without)
    assert line.client.state is State.ONLINE


def test_the_detail_of_malformed_is_the_error_text() -> None:
    line = Line()
    sent = line.client.send("bob", "1")
    line.answer(line.sent()[0], frames.MALFORMED, "the Deliver would be 12 bytes too long")
    with pytest.raises(Malformed, match="12 bytes too long"):
        result(sent)


@pytest.mark.parametrize("session", [None, 1, 2])
@pytest.mark.parametrize("text", ["x" * 65_536, "ä" * 32_768, "\ud800"])
def test_a_text_too_long_for_a_string_is_a_value_error(text: str, session: int | None) -> None:
    line = Line(session)
    calls = line.clock.getDelayedCalls()
    for refused in (line.client.send("bob", text), line.client.send(["bob", text], "text")):
        with pytest.raises(ValueError, match="string"):
            result(refused)
    assert line.sent() == []
    assert line.clock.getDelayedCalls() == calls


@pytest.mark.parametrize("session", [1, 2])
def test_the_longest_text_is_sent(session: int) -> None:
    line = Line(session)
    sent = line.client.send("bob", "x" * 65_535)
    line.answer_all()
    assert result(sent) is None


def test_a_message_too_long_for_a_frame_is_a_value_error() -> None:
    """A server would close the connection, and each resend would close it again."""
    line = Line()
    names = ["n" * 255 + str(number) for number in range(1000)]
    with pytest.raises(ValueError, match="the maximum is 262144"):
        result(line.client.send(names, "x" * 60_000))
    assert line.sent() == []


def test_a_message_above_the_servers_frame_limit_is_a_value_error() -> None:
    line = Line(granted={"max_frame_length": "100"})
    too_long, fits = line.client.send("bob", "x" * 100), line.client.send("bob", "x")
    with pytest.raises(ValueError, match="the maximum is 100"):
        result(too_long)
    assert line.published() == [(2, "x")]
    silence(fits)


def test_a_query_value_out_of_range_is_a_value_error() -> None:
    line = Line()
    with pytest.raises(ValueError, match="limit"):
        result(line.client.users(limit=65_536))


def test_an_empty_list_of_recipients_is_a_value_error() -> None:
    line = Line()
    with pytest.raises(ValueError, match="at least one user"):
        result(line.client.send([], "text"))


def test_an_unknown_correlation_id_is_ignored() -> None:
    line = Line()
    line.push(frames.response(4711), frames.response_2(0))
    assert line.client.state is State.ONLINE
    assert not line.transport.disconnected


@pytest.mark.parametrize("correlation_id", [0, 99])
def test_a_delivery_is_received_whatever_its_correlation_id(correlation_id: int) -> None:
    """The published Python server keeps the correlation id of the sender's request."""
    line = Line(1)
    line.push(frames.delivery("hi", "bob", "alice", 17, correlation_id))
    message = result(line.client.receive())
    assert (message.sender, message.text, message.time) == ("bob", "hi", 17)
    assert (message.recipients, message.everyone, message.offset) == (("alice",), False, 0)


def test_a_delivery_with_the_id_of_a_request_does_not_answer_it() -> None:
    line = Line(1)
    sent = line.client.send("bob", "1")
    (frame,) = line.sent()
    line.push(frames.delivery("hi", correlation_id=frame.correlation_id))
    assert not sent.called
    line.answer(frame)
    assert result(sent) is None


def test_a_client_command_from_the_server_answers_nothing() -> None:
    line = Line()
    sent = line.client.send("bob", "1")
    (frame,) = line.sent()
    line.push(frames.frame(frames.LOGIN, frame.correlation_id, frames.string("x")))
    assert not sent.called
    line.answer(frame)
    assert result(sent) is None


def test_a_version_2_deliver_sets_all_fields() -> None:
    line = Line()
    line.push(frames.deliver(7, "hi", "bob", 0, ["alice", "carol"]))
    line.push(frames.deliver(9, "all", "bob", 1, []))
    message = result(line.client.receive())
    assert (message.sender, message.text, message.time) == ("bob", "hi", 17)
    assert (message.recipients, message.everyone) == (("alice", "carol"), False)
    assert message.offset == 7
    message = result(line.client.receive())
    assert (message.recipients, message.everyone, message.offset) == ((), True, 9)


def test_frames_split_into_single_bytes() -> None:
    line = Line()
    data = b"".join(frames.deliver(number + 1, str(number)) for number in range(5))
    for position in range(len(data)):
        line.push(data[position : position + 1])
    assert [result(line.client.receive()).text for _ in range(5)] == list("01234")


@pytest.mark.parametrize(
    "data",
    [
        frames.frame(0x7777, 0, b"whatever"),
        frames.frame(0x0777, 0, b"whatever", 2),
        frames.frame(0x0001, 5, frames.string("a login, from a server")),
        frames.frame(0x8001, 5),
    ],
)
@pytest.mark.parametrize("session", [1, 2])
def test_unknown_commands_are_ignored(data: bytes, session: int) -> None:
    line = Line(session)
    line.push(data + frames.delivery("next"))
    assert result(line.client.receive()).text == "next"


def test_bytes_after_the_known_fields_are_ignored() -> None:
    line = Line()
    sent = line.client.send("bob", "1")
    (frame,) = line.sent()
    line.push(frames.frame(frames.RESPONSE, frame.correlation_id, b"\0\1\0\0and more", 2))
    assert result(sent) is None


def test_a_higher_version_is_read_as_the_highest_known() -> None:
    line = Line()
    sent = line.client.send("bob", "1")
    (frame,) = line.sent()
    line.push(frames.frame(frames.RESPONSE, frame.correlation_id, b"\0\1\0\0", 9))
    assert result(sent) is None


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", FrameLengthError),
        (struct.pack(">I", 6), FrameLengthError),
        (struct.pack(">I", 256 * 1024 + 1), FrameLengthError),
        (frames.frame(frames.MESSAGE, 0, b"\xff\xff"), Malformed),
        (frames.frame(frames.RESPONSE, 1, b"\1"), Malformed),
        (frames.frame(frames.RESPONSE, 1, b"\0\1", version=2), Malformed),
        (frames.frame(frames.MESSAGE, 0, b"\0\1\xff\0\0\0\0" + bytes(8)), Malformed),
        (frames.frame(frames.RESPONSE, 1, b"\0\1", version=0), Malformed),
        (frames.frame(frames.DELIVER, 0, bytes(8), version=2), Malformed),
    ],
)
@pytest.mark.parametrize("session", [1, 2])
def test_an_invalid_frame_aborts_the_connection(
    data: bytes, cause: type[Exception], session: int
) -> None:
    line = Line(session)
    line.push(data + frames.delivery("behind the nonsense"))
    assert line.transport.disconnected, "not aborted"
    line.lose(ConnectionLost())
    offline = line.events[-1]
    assert isinstance(offline, Offline)
    assert isinstance(offline.reason.__cause__, cause)
    assert "the server sent" in str(offline.reason)
    line.stop()
    with pytest.raises(NotConnected):
        result(line.client.receive())


def test_a_close_and_a_loss_have_different_reasons() -> None:
    line = Line()
    line.lose()
    line.connect()
    line.lose(ConnectionLost())
    reasons = [event.reason for event in line.events if isinstance(event, Offline)]
    assert str(reasons[0]) == "the server closed the connection"
    assert str(reasons[1]).startswith("the connection was lost")
    assert isinstance(reasons[1].__cause__, ConnectionLost)
