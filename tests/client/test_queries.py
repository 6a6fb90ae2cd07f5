"""Users and history: sent once online, and again after a reconnect."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from chat_protocol.client import ChatClient, UserInfo
from chat_protocol.errors import (
    InternalFault,
    NotConnected,
    NotLoggedIn,
    RequestTimeout,
    UnknownCommand,
    UserNotFound,
)
from tests.client import frames
from tests.client.line import Line, result, silence

QUESTIONS: list[Callable[[ChatClient], Deferred[Any]]] = [
    lambda client: client.users(),
    lambda client: client.history(),
]


def test_users() -> None:
    line = Line()
    asking = line.client.users("bob", 7)
    (frame,) = line.sent()
    assert (frame.version, frame.key) == (2, frames.USERS)
    assert frame.body == frames.string("bob") + b"\0\7"
    line.push(frames.users_answer(frame.correlation_id, ("carol", 1, 17), ("dave", 0, 5)))
    assert result(asking) == [UserInfo("carol", True, 17), UserInfo("dave", False, 5)]


def test_history() -> None:
    line = Line()
    asking = line.client.history("bob", 99, 7)
    (frame,) = line.sent()
    assert (frame.version, frame.key) == (2, frames.HISTORY)
    assert frame.body == frames.string("bob") + struct.pack(">QH", 99, 7)
    line.push(frames.history_answer(frame.correlation_id, (5, "a"), (7, "b")))
    messages = result(asking)
    assert [(one.offset, one.text, one.sender) for one in messages] == [
        (5, "a", "bob"),
        (7, "b", "bob"),
    ]


def test_pages_follow_each_other() -> None:
    line = Line()
    seen: list[Any] = []

    async def ask() -> None:
        async for users in line.client.user_pages("a", 2):
            seen.append([user.name for user in users])
        async for messages in line.client.history_pages("bob", limit=2):
            seen.append([message.text for message in messages])

    asking = Deferred.fromCoroutine(ask())
    for after, names in (("a", ["b", "c"]), ("c", ["d"]), ("d", [])):
        (frame,) = line.sent()
        assert frame.body == frames.string(after) + b"\0\2"
        line.push(frames.users_answer(frame.correlation_id, *((name, 0, 1) for name in names)))
    for before, found in ((0, [(5, "y"), (7, "z")]), (5, [(3, "x")]), (3, [])):
        (frame,) = line.sent()
        assert frame.body == frames.string("bob") + struct.pack(">QH", before, 2)
        line.push(frames.history_answer(frame.correlation_id, *found))
    assert result(asking) is None
    assert seen == [["b", "c"], ["d"], ["y", "z"], ["x"]]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda client: client.users(7), "after must be str, not int"),
        (lambda client: client.users("", "7"), "limit must be int, not str"),
        (lambda client: client.history(None), "with_ must be str, not NoneType"),
        (lambda client: client.history("bob", True), "before must be int, not bool"),
        (lambda client: client.history("bob", 0, 1.5), "limit must be int, not float"),
        (lambda client: client.send(7, "x"), "to must be str or Sequence, not int"),
        (lambda client: client.send(["bob", b"x"], "x"), "to must be str, not bytes"),
        (lambda client: client.send("bob", b"x"), "text must be str, not bytes"),
        (lambda client: client.send("bob", "x", publishing_id="1"), "publishing_id must be int"),
        (lambda client: client.send_to_all(None), "text must be str, not NoneType"),
    ],
)
def test_a_wrong_type_is_an_error_of_the_call(call: Callable[[Any], object], sentence: str) -> None:
    line = Line()
    with pytest.raises(TypeError, match=sentence):
        call(line.client)
    assert line.sent() == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"password": b"x"}, "password must be str or None, not bytes"),
        ({"device": None}, "device must be str"),
        ({"resume": 5}, "resume must be ResumeState, not int"),
        ({"heartbeat": "30"}, "heartbeat must be int"),
        ({"window": 2.5}, "window must be int"),
        ({"in_flight": None}, "in_flight must be int, not NoneType"),
    ],
)
def test_a_wrong_type_of_an_option_is_an_error(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        Line(None, **options)


def test_history_does_not_count_as_received() -> None:
    line = Line()
    asking = line.client.history()
    line.push(frames.history_answer(line.sent()[0].correlation_id, (5, "a")))
    result(asking)
    line.push(frames.deliver(5, "a"))
    assert result(line.client.receive()).offset == 5


def test_refused_queries() -> None:
    line = Line()
    history, users, test = (
        line.client.history("nobody"),
        line.client.users(),
        line.client.correlation_id_test(),
    )
    first, second, third = line.sent()
    line.push(frames.history_answer(first.correlation_id, code=frames.NOT_FOUND))
    line.push(frames.response_2(second.correlation_id, 0x0103))
    line.answer(third, frames.ERROR)
    with pytest.raises(UserNotFound):
        result(history)
    with pytest.raises(NotLoggedIn):
        result(users)
    with pytest.raises(InternalFault):
        result(test)


@pytest.mark.parametrize("ask", QUESTIONS)
def test_a_query_refused_with_an_unknown_code_shows_the_code_and_the_detail(
    ask: Callable[[ChatClient], Deferred[Any]],
) -> None:
    line = Line()
    asking = ask(line.client)
    line.answer(line.sent()[0], frames.UNASSIGNED, "not on Sundays")
    with pytest.raises(InternalFault, match="code 0x7001: not on Sundays"):
        result(asking)


@pytest.mark.parametrize("ask", QUESTIONS)
def test_an_answer_of_the_wrong_type_is_an_error(
    ask: Callable[[ChatClient], Deferred[Any]],
) -> None:
    line = Line()
    asking = ask(line.client)
    line.answer_all()
    with pytest.raises(InternalFault, match="Response2"):
        result(asking)


@pytest.mark.parametrize("ask", QUESTIONS)
def test_version_1_does_not_support_queries(ask: Callable[[ChatClient], Deferred[Any]]) -> None:
    line = Line(1)
    with pytest.raises(UnknownCommand, match=r"version 1, which does not support (Users|History)"):
        result(ask(line.client))
    assert line.sent() == []


def test_a_query_waits_until_the_client_is_online() -> None:
    line = Line(None)
    asking = line.client.users()
    line.connect()
    line.log_in()
    (frame,) = line.sent()
    line.push(frames.users_answer(frame.correlation_id))
    assert result(asking) == []


def test_a_query_is_repeated_after_a_reconnect() -> None:
    line = Line()
    asking = line.client.users("bob")
    before = line.sent()
    for _ in range(2):
        line.reconnect()
        (frame,) = line.sent()
        assert frame.body == before[0].body
    line.push(frames.users_answer(frame.correlation_id))
    assert result(asking) == []


def test_a_query_is_not_sent_while_the_server_closes_the_connection() -> None:
    line = Line()
    asked_before = line.client.users()
    (frame,) = line.sent()
    line.push(frames.close(frames.GOING_AWAY))
    asking = line.client.users()
    line.push(frames.users_answer(frame.correlation_id))
    assert result(asked_before) == [], "answers still count"
    assert line.sent() == []
    assert not asking.called
    line.lose()
    line.connect()
    line.log_in()
    line.push(frames.users_answer(line.sent()[0].correlation_id))
    assert result(asking) == []


def test_an_unanswered_query_times_out() -> None:
    line = Line(timeout=3)
    asking = line.client.users()
    line.sent()
    line.clock.advance(3)
    with pytest.raises(RequestTimeout, match="within 3 seconds"):
        result(asking)
    other = line.client.users()
    line.push(frames.users_answer(line.sent()[0].correlation_id))
    assert result(other) == []


@pytest.mark.parametrize("version", [None, 2])
def test_a_query_fails_when_the_client_is_stopped(version: int | None) -> None:
    line = Line(version)
    asking = line.client.users()
    line.stop()
    with pytest.raises(NotConnected):
        result(asking)
    with pytest.raises(NotConnected):
        result(line.client.users())


@pytest.mark.parametrize("version", [None, 2])
def test_a_query_can_be_canceled(version: int | None) -> None:
    line = Line(version)
    asking = line.client.users()
    asking.cancel()
    with pytest.raises(CancelledError):
        result(asking)
    if version is None:
        line.connect()
        line.log_in()
    else:
        line.reconnect()
    assert line.sent() == []


def test_a_query_fails_when_an_earlier_callback_stops_the_client() -> None:
    line = Line(None)
    first = line.client.when_online().addCallback(lambda _: line.client.stopService())
    asking = line.client.users()
    line.connect()
    line.log_in()
    assert not first.called or line.protocol is not None
    line.lose()
    with pytest.raises(NotConnected):
        result(asking)


def test_many_queries_match_their_answers() -> None:
    line = Line()
    asking = [line.client.users(str(number)) for number in range(50)]
    for frame in reversed(line.sent()):
        (after,) = frames.strings(frame.body, 1)
        line.push(frames.users_answer(frame.correlation_id, (after, 1, 0)))
    assert [result(one)[0].name for one in asking] == [str(number) for number in range(50)]
    silence(*asking)
