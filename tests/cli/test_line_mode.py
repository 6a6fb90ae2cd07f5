"""The line mode without a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from twisted.internet.defer import Deferred

from chat_protocol.cli.line_mode import _MAX_KNOWN, _MAX_QUEUED_PRESENCE, SLOW_ANSWER
from chat_protocol.client import PresenceChanged
from chat_protocol.errors import RateLimited
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Ack,
    History,
    HistoryAnswer,
    Publish,
    Response2,
    Scope,
    StoredMessage,
    Users,
    UsersAnswer,
    UserStatus,
)
from tests.cli.sessions import NOON, LineModeHarness, result


@contextmanager
def arrivals(harness: LineModeHarness) -> Iterator[Deferred[None]]:
    showing = Deferred.fromCoroutine(harness.line_mode.show_messages())
    yield showing
    showing.addErrback(lambda _: None)
    showing.cancel()


# Sending.


def test_a_message_is_sent_and_reported_as_stored() -> None:
    harness = LineModeHarness()
    assert harness.send_line("bob: hi there") == (("bob",), "hi there")
    assert harness.shown == ["* stored for bob"]


def test_a_message_to_several() -> None:
    harness = LineModeHarness()
    assert harness.send_line('bob, "carol c": hi') == (("bob", "carol c"), "hi")
    assert harness.shown == ['* stored for bob, "carol c"']
    assert harness.line_mode.prompt == 'alice to bob, "carol c"> '
    assert harness.send_line("more") == (("bob", "carol c"), "more")


def test_a_message_to_everyone_keeps_the_recipients() -> None:
    """The next line must not go to all users by mistake."""
    harness = LineModeHarness()
    harness.send_line("bob: hi")
    handled = harness.type_line("/all fire!")
    ((correlation_id, publish),) = harness.network.sent()
    assert isinstance(publish, Publish)
    assert (publish.scope, publish.to) == (Scope.EVERYONE, ())
    harness.network.answer(correlation_id)
    result(handled)
    assert harness.shown[-1] == "* stored for all users"
    assert harness.send_line("secret") == (("bob",), "secret")


@pytest.mark.parametrize("version", [1, 2])
def test_nothing_is_shown_before_the_answer(version: int) -> None:
    harness = LineModeHarness(version)
    handled = harness.type_line("bob: hi")
    assert harness.shown == []
    assert not handled.called
    harness.network.answer(harness.network.sent()[0][0])
    result(handled)
    assert harness.shown == ["* stored for bob"]


def test_a_slow_answer_is_announced() -> None:
    harness = LineModeHarness()
    handled = harness.type_line("bob: " + "long " * 20)
    ((correlation_id, _),) = harness.network.sent()
    harness.clock.advance(SLOW_ANSWER)
    reminder = 'bob: "long long long long long long long long…"'
    assert harness.shown == [f"* still sending to {reminder}"]
    harness.network.answer(correlation_id)
    result(handled)
    assert harness.shown[1:] == [f"* stored for {reminder}"]
    harness.clock.advance(SLOW_ANSWER)
    assert len(harness.shown) == 2


def test_plain_text_goes_to_the_current_recipient() -> None:
    harness = LineModeHarness()
    harness.send_line("bob: hi")
    harness.send_line("carol: hi")
    assert harness.send_line("and you?") == (("carol",), "and you?")


def test_an_incoming_message_does_not_change_the_recipient() -> None:
    """Otherwise a typed line could go to a sender who wrote at that moment."""
    harness = LineModeHarness()
    harness.send_line("bob: hi")
    with arrivals(harness):
        harness.network.deliver("hello", sender="mallory")
        harness.network.sent()
        assert harness.send_line("secret") == (("bob",), "secret")


def test_plain_text_without_a_recipient_is_not_sent() -> None:
    harness = LineModeHarness()
    result(harness.type_line("hello?"))
    assert harness.network.sent() == []
    assert harness.shown[0].startswith("* no recipient")


@pytest.mark.parametrize(
    ("version", "code", "expected"),
    [
        (1, Code.USER_NOT_FOUND, "* not sent: no user named carol; "),
        (2, Code.USER_NOT_FOUND, "* not sent: no user named carol; "),
        (1, Code.ERROR, "* not sent: the server did not store the message for carol"),
        (2, Code.UNAVAILABLE, "* not sent: example:5555: the server cannot store messages now"),
        (
            2,
            Code.RATE_LIMITED,
            f"* not sent: example:5555: the server refused the request: {RateLimited()}",
        ),
    ],
)
def test_a_refusal_is_shown_as_a_sentence(version: int, code: Code, expected: str) -> None:
    harness = LineModeHarness(version)
    harness.send_line("carol: hi", code)
    assert harness.shown[0].startswith(expected)


def test_an_unknown_code_is_shown_with_its_escaped_detail() -> None:
    harness = LineModeHarness()
    handled = harness.type_line("carol: hi")
    ((correlation_id, _),) = harness.network.sent()
    harness.network.push(Response2(0x7001, "not to\x1b carol"), correlation_id)
    result(handled)
    assert harness.shown == [
        "* not sent: example:5555: the server refused the request: "
        "the server answered with code 0x7001: not to\\x1b carol"
    ]


def test_a_malformed_message_is_shown_with_its_detail() -> None:
    harness = LineModeHarness()
    harness.send_line("carol: hi", Code.MALFORMED, "the Deliver would be 12 bytes too long")
    assert harness.shown == [
        "* not sent: example:5555: the server refused the request: "
        "the Deliver would be 12 bytes too long"
    ]


def test_a_message_refused_as_out_of_order_is_shown_as_not_sent() -> None:
    harness = LineModeHarness()
    harness.send_line("carol: hi", Code.OUT_OF_ORDER)
    assert harness.shown == [
        "* not sent: example:5555: the server refused the message as out of order: "
        "A message with a higher publishing id is stored already; this one was not stored; "
        "check the history and send it again if needed"
    ]


@pytest.mark.parametrize("code", [Code.USER_NOT_FOUND, Code.MAILBOX_FULL])
def test_the_refused_recipient_is_named_and_escaped(code: Code) -> None:
    """The server's text must not control the terminal."""
    harness = LineModeHarness()
    harness.send_line("bob, carol: hi", code, "not for ca\x1brol")
    assert harness.shown == ["* not sent: refused for all recipients: not for ca\\x1brol"]


def test_an_unknown_user_clears_the_recipient() -> None:
    """The next line is meant for carol, not for bob."""
    harness = LineModeHarness()
    harness.send_line("bob: hi")
    harness.send_line("carol: hi", Code.USER_NOT_FOUND)
    result(harness.type_line("the key is under the mat"))
    assert harness.network.sent() == []


def test_a_late_refusal_does_not_change_the_recipient() -> None:
    harness = LineModeHarness()
    first = harness.type_line("carol: hi")
    ((correlation_id, _),) = harness.network.sent()
    harness.send_line("bob: hi")
    harness.network.answer(correlation_id, Code.USER_NOT_FOUND)
    result(first)
    assert harness.send_line("and you?") == (("bob",), "and you?")


def test_the_recipient_changes_before_the_answer() -> None:
    harness = LineModeHarness()
    harness.send_line("bob: hi")
    handled = harness.type_line("carol: hi")
    assert harness.line_mode.prompt == "alice to carol> "
    harness.network.answer(harness.network.sent()[0][0])
    result(handled)


def test_a_version_1_timeout_is_shown_as_a_sentence() -> None:
    harness = LineModeHarness(version=1)
    handled = harness.type_line("bob: hi")
    harness.clock.advance(10)
    result(handled)
    assert "did not answer within 10 seconds" in harness.shown[1]
    assert "may or may not have been stored" in harness.shown[1]


def test_a_text_that_is_too_long_is_reported() -> None:
    harness = LineModeHarness()
    result(harness.type_line("bob: " + "x" * 65_536))
    assert harness.shown == ["* not sent: the text has 65536 bytes of UTF-8; the maximum is 65535"]
    assert harness.network.sent() == []


def test_help_and_invalid_input_are_shown() -> None:
    harness = LineModeHarness()
    result(harness.type_line("/help"))
    result(harness.type_line("/fr\x1bob"))
    result(harness.type_line(""))
    assert "/quit" in harness.shown[0]
    assert harness.shown[1:] == ["* unknown command /fr\\x1bob; /help lists the commands"]


# Offline.


def test_a_message_typed_while_offline_is_sent_after_reconnecting() -> None:
    harness = LineModeHarness()
    harness.network.down = True
    harness.network.lose()
    harness.turn()
    handled = harness.type_line("bob: hi")
    assert harness.shown == ['* not connected; will send after reconnecting to bob: "hi"']
    assert harness.line_mode.prompt == "alice to bob (not connected)> "
    harness.reconnect()
    assert harness.line_mode.prompt == "alice to bob> "
    ((correlation_id, publish),) = harness.network.sent()
    assert publish.message == "hi"
    harness.network.answer(correlation_id)
    result(handled)
    assert harness.shown[1:] == ['* stored for bob: "hi"']


def test_an_unsent_message_is_reported_at_the_end() -> None:
    harness = LineModeHarness()
    harness.network.down = True
    harness.network.lose()
    handled = harness.type_line("bob: hi")
    result(harness.session.client.stopService())
    result(handled)
    assert harness.shown[1] == '* not sent to bob: "hi": example:5555: the client has stopped'


def test_a_query_while_offline_is_answered_after_reconnecting() -> None:
    harness = LineModeHarness()
    harness.network.down = True
    harness.network.lose()
    handled = harness.type_line("/users")
    assert harness.shown == ["* not connected; the answer will follow after reconnecting"]
    harness.reconnect()
    ((correlation_id, _),) = harness.network.sent()
    harness.network.push(UsersAnswer(Code.OK), correlation_id)
    result(handled)


# Queries.


def test_users() -> None:
    harness = LineModeHarness()
    handled = harness.type_line("/users")
    ((correlation_id, asked),) = harness.network.sent()
    assert asked == Users("", 1000)
    some = (UserStatus("alice", 1, 1), UserStatus("b\x1bob", 1, 1), UserStatus("c d", 0, 1))
    harness.network.push(UsersAnswer(Code.OK, "", some), correlation_id)
    ((correlation_id, asked),) = harness.network.sent()
    assert asked == Users("c d", 1000)
    harness.network.push(UsersAnswer(Code.OK), correlation_id)
    result(handled)
    assert harness.shown == ["* online: alice, b\\x1bob", '* offline: "c d"']


def test_a_long_list_of_users_is_cut() -> None:
    harness = LineModeHarness()
    handled = harness.type_line("/users")
    ((correlation_id, _),) = harness.network.sent()
    many = tuple(UserStatus(f"{number:04}", 1, 1) for number in range(1000))
    harness.network.push(UsersAnswer(Code.OK, "", many), correlation_id)
    result(handled)
    assert harness.shown[-1].startswith("* there may be more")


@pytest.mark.parametrize(
    ("before", "line", "with_", "limit"),
    [
        ("", "/history", "", 20),
        ("bob: hi", "/history", "bob", 20),
        ("bob, carol: hi", "/history", "", 20),
        ("bob: hi", "/history carol 3", "carol", 3),
    ],
)
def test_history(before: str, line: str, with_: str, limit: int) -> None:
    harness = LineModeHarness()
    if before:
        harness.send_line(before)
    handled = harness.type_line(line)
    ((correlation_id, asked),) = harness.network.sent()
    assert asked == History(with_, 0, limit)
    some = (
        StoredMessage(3, "h\x1bi", "alice", Scope.USERS, ("bob", "dave"), NOON),
        StoredMessage(5, "ho", "bob", Scope.EVERYONE, (), NOON),
    )
    harness.network.push(HistoryAnswer(Code.OK, "", some), correlation_id)
    ((correlation_id, asked),) = harness.network.sent()
    assert asked == History(with_, 3, limit - 2)
    harness.network.push(HistoryAnswer(Code.OK), correlation_id)
    result(handled)
    page, count = harness.shown[-2:]
    assert [entry.partition("] ")[2] for entry in page.split("\n")] == [
        "alice to bob, dave: h\\x1bi",
        "bob to all users: ho",
    ]
    assert count == (f"* 2 messages with {with_}" if with_ else "* 2 messages")


def test_an_empty_history() -> None:
    harness = LineModeHarness()
    handled = harness.type_line("/history bob")
    harness.network.push(HistoryAnswer(Code.OK), harness.network.sent()[0][0])
    result(handled)
    assert harness.shown == ["* no messages with bob"]


def test_history_with_an_unknown_user() -> None:
    harness = LineModeHarness()
    handled = harness.type_line("/history zoe")
    harness.network.push(HistoryAnswer(Code.USER_NOT_FOUND), harness.network.sent()[0][0])
    result(handled)
    assert harness.shown == ["* no user named zoe"]


@pytest.mark.parametrize("line", ["/users", "/history", "/all hi"])
def test_commands_that_version_1_does_not_support(line: str) -> None:
    harness = LineModeHarness(version=1)
    result(harness.type_line(line))
    assert harness.network.sent() == []
    assert "the server speaks version 1, which " in harness.shown[0]


def test_the_limits_of_version_1_are_shown_once() -> None:
    harness = LineModeHarness(version=1)
    for version in (1, 1, 2, 1):
        harness.line_mode.logged_in(version)
    assert len(harness.shown) == 2
    assert re.match(r"\* the server speaks version 1: /all, /users", harness.shown[0])


# Incoming messages and presence.


def test_incoming_messages_are_shown_escaped_with_their_sender() -> None:
    harness = LineModeHarness()
    with arrivals(harness):
        harness.network.deliver("\x1b[2J\nboo", sender="mallory: x")
        assert harness.shown[0].endswith('] "mallory: x": \\x1b[2J\\nboo')


def test_an_incoming_message_shows_its_other_recipients() -> None:
    harness = LineModeHarness()
    with arrivals(harness):
        harness.network.deliver("a", to=("alice", "carol"))
        harness.network.deliver("b", to=(), everyone=True, offset=2)
    assert [line.partition("] ")[2] for line in harness.shown] == [
        "bob to alice, carol: a",
        "bob to all users: b",
    ]


def test_a_message_is_acknowledged_after_it_is_shown() -> None:
    harness = LineModeHarness()
    harness.blocked = []
    with arrivals(harness):
        harness.network.deliver("hi", offset=7)
        assert harness.network.sent() == []
        harness.blocked.pop().callback(None)
        assert [command for _, command in harness.network.sent()] == [Ack(7)]


def test_a_known_sender_can_be_answered_without_quotes() -> None:
    harness = LineModeHarness()
    with arrivals(harness):
        harness.network.deliver("hi", sender="bob b")
        harness.network.sent()
        assert harness.send_line("bob b: hi") == (("bob b",), "hi")


def test_names_are_remembered_up_to_a_limit() -> None:
    harness = LineModeHarness()
    with arrivals(harness):
        for number in range(_MAX_KNOWN + 1):
            harness.network.deliver("hi", sender=f"user {number}", offset=number + 1)
        assert len(harness.line_mode._known) == _MAX_KNOWN
        assert "user 0" not in harness.line_mode._known


def test_presence_is_shown() -> None:
    harness = LineModeHarness()
    harness.line_mode.observe(PresenceChanged("bob", True, NOON))
    harness.line_mode.observe(PresenceChanged("\x1b[2J b", False, NOON))
    assert harness.shown == ["* bob is online", '* "\\x1b[2J b" went offline']


def test_queued_presence_is_limited_while_the_output_is_blocked() -> None:
    harness = LineModeHarness()
    harness.blocked = []
    for _ in range(_MAX_QUEUED_PRESENCE + 10):
        harness.line_mode.observe(PresenceChanged("bob", True, NOON))
    assert len(harness.shown) == _MAX_QUEUED_PRESENCE
    harness.blocked[0].callback(None)
    harness.line_mode.observe(PresenceChanged("bob", False, NOON))
    assert harness.shown[_MAX_QUEUED_PRESENCE:] == ["* bob went offline"]


def test_the_prompt_shows_user_and_recipient() -> None:
    harness = LineModeHarness()
    assert harness.line_mode.prompt == "alice> "
    harness.send_line('"bob \x1bb": hi')
    assert harness.prompts == ['alice to "bob \\x1bb"> ']
