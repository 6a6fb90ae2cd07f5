"""Logging in, staying online, and permanent refusals."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost

from chat_protocol.client import Ended, Offline, ResumeState, State
from chat_protocol.errors import (
    AuthenticationFailed,
    ChatError,
    InternalFault,
    InvalidUsername,
    Malformed,
    NotConnected,
    RateLimited,
    UnknownCommand,
    UserAlreadyLogged,
    UserNotFound,
)
from tests.client import frames
from tests.client.line import Line, result, silence

# Waiting for the login.


def test_when_online_fires_with_the_login() -> None:
    line = Line(None)
    waiting = line.client.when_online()
    line.connect()
    assert not waiting.called
    line.log_in()
    assert result(waiting) is None
    assert result(line.client.when_online()) is None


def test_when_online_fails_after_the_given_number_of_failures() -> None:
    line = Line(None)
    waiting = {failures: line.client.when_online(failures) for failures in (1, 2, 3)}
    patient = line.client.when_online()
    for number in (1, 2, 3):
        line.endpoint.refuse()
        line.turn()
        assert [failures for failures, one in waiting.items() if one.called] == [number]
        with pytest.raises(NotConnected, match="cannot connect"):
            result(waiting.pop(number))
        line.wait()
    assert not patient.called
    line.connect()
    line.log_in()
    assert result(patient) is None


def test_a_temporary_refusal_counts_as_a_failure() -> None:
    line = Line(None)
    waiting = line.client.when_online(1)
    line.connect()
    line.refuse_login(frames.UNAVAILABLE, "the disk is full")
    assert line.transport.disconnected
    line.lose(ConnectionLost())
    with pytest.raises(ChatError, match="the disk is full"):
        result(waiting)
    assert line.client.state is State.CONNECTING
    line.connect()
    line.log_in()


def test_a_login_refused_with_an_unknown_code_shows_the_code_and_the_detail() -> None:
    line = Line(None)
    waiting = line.client.when_online(1)
    line.connect()
    line.refuse_login(frames.UNASSIGNED, "maintenance until noon")
    line.lose(ConnectionLost())
    with pytest.raises(InternalFault, match="code 0x7001: maintenance until noon"):
        result(waiting)
    line.connect()
    line.log_in()


def test_a_canceled_wait_is_removed() -> None:
    line = Line(None)
    waiting, other = line.client.when_online(1), line.client.when_online(1)
    waiting.cancel()
    line.endpoint.refuse()
    line.turn()
    with pytest.raises(CancelledError):
        result(waiting)
    with pytest.raises(NotConnected):
        result(other)
    line.stop()


@pytest.mark.parametrize("how", ["online", "failure", "end"])
def test_a_callback_may_cancel_the_next_waiter(how: str) -> None:
    line = Line(None)
    first, second, third = (line.client.when_online(1) for _ in range(3))
    silence(second)
    first.addBoth(lambda _: second.cancel())
    if how == "online":
        line.connect()
        line.log_in()
        assert result(third) is None
    else:
        if how == "failure":
            line.endpoint.refuse()
            line.turn()
        line.stop()
        with pytest.raises(NotConnected):
            result(third)
    assert first.called
    assert second.called


# Refusals.


def state_of(line: Line) -> State:
    return line.client.state


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (frames.NOT_FOUND, UserNotFound),
        (0x0104, InvalidUsername),
        (frames.WRONG_PASSWORD, AuthenticationFailed),
        (0x0100, Malformed),
        (frames.UNKNOWN_COMMAND, UnknownCommand),
        (frames.ALREADY_LOGGED, UserAlreadyLogged),
    ],
)
def test_permanent_refusals_stop_the_client(code: int, error: type[ChatError]) -> None:
    line = Line(None)
    waiting: Deferred[Any] = line.client.when_online()
    sent: Deferred[Any] = line.client.send("bob", "1")
    receiving: Deferred[Any] = line.client.receive()
    line.connect()
    line.refuse_login(code, "for a reason")
    assert state_of(line) is State.CLOSING
    line.lose()
    assert state_of(line) is State.STOPPED
    later: list[Deferred[Any]] = [line.client.when_online(), line.client.receive()]
    for one in (waiting, sent, receiving, *later):
        with pytest.raises(error, match="for a reason"):
            result(one)
    (ended,) = line.events
    assert isinstance(ended, Ended)
    assert isinstance(ended.reason, error)
    assert not line.client.stopped_by_application
    assert line.idle


def test_a_version_1_refusal_stops_the_client() -> None:
    line = Line(None)
    waiting = line.client.when_online()
    line.connect()
    line.push(frames.response(line.sent()[0].correlation_id, frames.ALREADY_LOGGED))
    line.lose()
    with pytest.raises(UserAlreadyLogged):
        result(waiting)
    assert line.idle


@pytest.mark.parametrize(
    ("code", "error"),
    [(frames.ERROR, InternalFault), (0x0107, RateLimited), (0xFFFF, InternalFault)],
)
def test_temporary_refusals_are_retried(code: int, error: type[ChatError]) -> None:
    line = Line(None)
    line.connect()
    line.refuse_login(code)
    line.lose(ConnectionLost())
    (offline,) = line.events
    assert isinstance(offline, Offline)
    assert isinstance(offline.reason, error)
    line.connect()
    line.log_in()
    assert line.client.state is State.ONLINE


@pytest.mark.parametrize("username", ["\ud800", "x" * 65_536])
def test_a_name_that_cannot_be_encoded_stops_the_client(username: str) -> None:
    line = Line(None)
    line.client.username = username
    waiting = line.client.when_online()
    line.connect()
    assert line.sent() == []
    line.lose()
    with pytest.raises(InvalidUsername):
        result(waiting)


def test_a_password_that_is_too_long_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="string"):
        Line(None, password="x" * 65_536)


# A name in use by the client's own earlier session.


def test_a_name_in_use_after_a_lost_session_is_retried_with_the_token() -> None:
    line = Line(granted={"session": "first"})
    line.lose(ConnectionLost())
    for _ in range(2):
        line.connect()
        (frame,) = line.sent()
        assert frames.properties(frame.body)[1]["session"] == "first"
        line.push(frames.login_answer(frame.correlation_id, frames.ALREADY_LOGGED))
        line.lose(ConnectionLost())
    assert line.client.state is State.CONNECTING
    line.connect()
    assert line.log_in(session="second")["session"] == "first"
    assert line.reconnect()["session"] == "second"


@pytest.mark.parametrize("how", ["lost", "silent"])
def test_a_name_in_use_after_a_login_of_unknown_outcome_is_retried(how: str) -> None:
    """The server may have a session whose login answer was lost."""
    line = Line(None)
    line.connect()
    if how == "silent":
        line.clock.advance(10)
    line.lose(ConnectionLost())
    line.connect()
    line.refuse_login(frames.ALREADY_LOGGED)
    line.lose(ConnectionLost())
    assert line.client.state is State.CONNECTING
    line.connect()
    line.log_in()


def test_the_token_of_an_earlier_process_is_sent_at_once() -> None:
    line = Line(None, resume=ResumeState(session="before"))
    line.connect()
    (frame,) = line.sent()
    assert frames.properties(frame.body)[1]["session"] == "before"
    line.push(frames.login_answer(frame.correlation_id, frames.ALREADY_LOGGED))
    line.lose(ConnectionLost())
    line.connect()
    line.log_in(session="now")
    assert line.client.resume_state.session == "now"


def test_a_version_1_server_gives_no_token() -> None:
    line = Line(granted={"session": "first"})
    assert line.reconnect(1)["session"] == "first"
    assert "session" not in line.reconnect(1)


def test_the_token_is_not_in_the_repr() -> None:
    assert "secret" not in repr(ResumeState(1, 2, "secret"))


# The version and the errors.


def test_a_lost_version_1_connection_is_retried() -> None:
    line = Line(1)
    line.lose()
    line.connect()
    line.refuse_login(frames.ALREADY_LOGGED)
    line.lose(ConnectionLost())
    line.connect()
    line.log_in(1)
    assert line.client.version == 1


def test_a_server_that_refuses_version_2_is_asked_in_version_1() -> None:
    line = Line(None, password="secret")
    waiting = line.client.when_online(1)
    line.connect()
    line.push(frames.response(line.sent()[0].correlation_id, frames.ERROR))
    (frame,) = line.sent()
    assert (frame.version, frame.body) == (1, frames.string(line.client.username))
    line.push(frames.response(frame.correlation_id))
    assert result(waiting) is None
    assert line.client.version == 1


def test_version_is_known_while_online() -> None:
    line = Line(None)
    assert line.client.version is None
    line.connect()
    assert line.client.version is None
    line.log_in(2)
    assert line.client.version == 2
    line.lose()
    assert line.client.version is None
    line.connect()
    line.log_in(1)
    assert line.client.version == 1


def test_each_waiter_gets_its_own_error() -> None:
    line = Line(None)
    waiting: list[Deferred[None]] = [line.client.when_online() for _ in range(2)]
    line.connect()
    line.refuse_login(frames.WRONG_PASSWORD)
    line.lose()
    errors = []
    for one in waiting:
        with pytest.raises(AuthenticationFailed) as caught:
            result(one)
        errors.append(caught.value)
    assert errors[0] is not errors[1]
