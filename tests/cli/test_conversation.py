"""A conversation without a terminal: lines in, lines shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from twisted.internet.defer import Deferred

from chat_protocol.cli.conversation import _MAX_KNOWN, _MAX_PRESENCE, SLOW
from chat_protocol.client import PresenceChanged
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Ack,
    History,
    HistoryAnswer,
    Publish,
    Scope,
    StoredMessage,
    Users,
    UsersAnswer,
    UserStatus,
)
from tests.cli.talk import NOON, Talk, result


@contextmanager
def arrivals(talk: Talk) -> Iterator[Deferred[None]]:
    showing = Deferred.fromCoroutine(talk.conversation.show_arrivals())
    yield showing
    showing.addErrback(lambda _: None)
    showing.cancel()


# Sending.


def test_a_message_is_sent_and_said_to_be_stored() -> None:
    talk = Talk()
    assert talk.say("bob: hi there") == (("bob",), "hi there")
    assert talk.shown == ["* stored for bob"]


def test_a_message_to_several() -> None:
    talk = Talk()
    assert talk.say('bob, "carol c": hi') == (("bob", "carol c"), "hi")
    assert talk.shown == ['* stored for bob, "carol c"']
    assert talk.conversation.label == 'alice to bob, "carol c"> '
    assert talk.say("more") == (("bob", "carol c"), "more")


def test_a_message_to_everyone_changes_nothing_for_the_next() -> None:
    """What is typed behind it is not meant for all the world."""
    talk = Talk()
    talk.say("bob: hi")
    handled = talk.type("/all fire!")
    ((correlation_id, publish),) = talk.network.sent()
    assert isinstance(publish, Publish)
    assert (publish.scope, publish.to) == (Scope.EVERYONE, ())
    talk.network.answer(correlation_id)
    result(handled)
    assert talk.shown[-1] == "* stored for all users"
    assert talk.say("secret") == (("bob",), "secret")


@pytest.mark.parametrize("version", [1, 2])
def test_nothing_is_said_before_the_answer(version: int) -> None:
    talk = Talk(version)
    handled = talk.type("bob: hi")
    assert talk.shown == []
    assert not handled.called
    talk.network.answer(talk.network.sent()[0][0])
    result(handled)
    assert talk.shown == ["* stored for bob"]


def test_an_answer_that_takes_long_is_announced() -> None:
    talk = Talk()
    handled = talk.type("bob: " + "long " * 20)
    ((correlation_id, _),) = talk.network.sent()
    talk.clock.advance(SLOW)
    reminder = 'bob: "long long long long long long long long…"'
    assert talk.shown == [f"* sending to {reminder}"]
    talk.network.answer(correlation_id)
    result(handled)
    assert talk.shown[1:] == [f"* stored for {reminder}"]
    talk.clock.advance(SLOW)
    assert len(talk.shown) == 2


def test_plain_text_goes_to_the_last_partner() -> None:
    talk = Talk()
    talk.say("bob: hi")
    talk.say("carol: hi")
    assert talk.say("and you?") == (("carol",), "and you?")


def test_a_message_that_arrives_does_not_change_the_partner() -> None:
    """Else what one types would go to whoever wrote in that moment."""
    talk = Talk()
    talk.say("bob: hi")
    with arrivals(talk):
        talk.network.deliver("hello", sender="mallory")
        talk.network.sent()
        assert talk.say("secret") == (("bob",), "secret")


def test_plain_text_without_a_partner_is_not_sent() -> None:
    talk = Talk()
    result(talk.type("hello?"))
    assert talk.network.sent() == []
    assert talk.shown[0].startswith("* to whom?")


@pytest.mark.parametrize(
    ("version", "code", "says"),
    [
        (1, Code.USER_NOT_FOUND, "* not sent: no user named carol; "),
        (2, Code.USER_NOT_FOUND, "* not sent: no user named carol; "),
        (1, Code.ERROR, "* not sent: the server did not store the message for carol"),
        (2, Code.UNAVAILABLE, "* not sent: example:5555: the server cannot store messages now"),
        (2, Code.RATE_LIMITED, "* not sent: example:5555: the server refused: Too many"),
    ],
)
def test_a_refusal_is_told_in_words(version: int, code: Code, says: str) -> None:
    talk = Talk(version)
    talk.say("carol: hi", code)
    assert talk.shown[0].startswith(says)


@pytest.mark.parametrize("code", [Code.USER_NOT_FOUND, Code.MAILBOX_FULL])
def test_who_of_several_is_the_reason_is_told(code: Code) -> None:
    """The server's words are not for the terminal to obey."""
    talk = Talk()
    talk.say("bob, carol: hi", code, "not for ca\x1brol")
    assert talk.shown == ["* not sent: nobody gets it: not for ca\\x1brol"]


def test_an_unknown_user_does_not_leave_the_one_before_as_partner() -> None:
    """What is typed next was meant for carol, not for bob."""
    talk = Talk()
    talk.say("bob: hi")
    talk.say("carol: hi", Code.USER_NOT_FOUND)
    result(talk.type("the key is under the mat"))
    assert talk.network.sent() == []


def test_a_late_refusal_does_not_change_who_is_written_to_by_now() -> None:
    talk = Talk()
    first = talk.type("carol: hi")
    ((correlation_id, _),) = talk.network.sent()
    talk.say("bob: hi")
    talk.network.answer(correlation_id, Code.USER_NOT_FOUND)
    result(first)
    assert talk.say("and you?") == (("bob",), "and you?")


def test_the_partner_changes_before_the_answer() -> None:
    talk = Talk()
    talk.say("bob: hi")
    handled = talk.type("carol: hi")
    assert talk.conversation.label == "alice to carol> "
    talk.network.answer(talk.network.sent()[0][0])
    result(handled)


def test_a_version_1_time_out_is_told_in_words() -> None:
    talk = Talk(version=1)
    handled = talk.type("bob: hi")
    talk.clock.advance(10)
    result(handled)
    assert "did not answer within 10 seconds" in talk.shown[1]
    assert "not known" in talk.shown[1]


def test_a_text_that_is_too_long_is_told_in_words() -> None:
    talk = Talk()
    result(talk.type("bob: " + "x" * 65_536))
    assert talk.shown == [
        "* not sent: the text has 65536 bytes of UTF-8; at most 65535 can be sent"
    ]
    assert talk.network.sent() == []


def test_help_and_mistakes_are_shown() -> None:
    talk = Talk()
    result(talk.type("/help"))
    result(talk.type("/fr\x1bob"))
    result(talk.type(""))
    assert "/quit" in talk.shown[0]
    assert talk.shown[1:] == ["* there is no /fr\\x1bob; /help shows what there is"]


# Without a connection.


def test_what_is_typed_without_a_connection_is_sent_with_the_next() -> None:
    talk = Talk()
    talk.network.down = True
    talk.network.lose()
    talk.turn()
    handled = talk.type("bob: hi")
    assert talk.shown == ['* not connected; when it is again this will be sent to bob: "hi"']
    assert talk.conversation.label == "alice to bob (not connected)> "
    talk.come_back()
    assert talk.conversation.label == "alice to bob> "
    ((correlation_id, publish),) = talk.network.sent()
    assert publish.message == "hi"
    talk.network.answer(correlation_id)
    result(handled)
    assert talk.shown[1:] == ['* stored for bob: "hi"']


def test_what_could_not_be_sent_is_told_at_the_end() -> None:
    talk = Talk()
    talk.network.down = True
    talk.network.lose()
    handled = talk.type("bob: hi")
    result(talk.session.client.stopService())
    result(handled)
    assert talk.shown[1] == '* not sent to bob: "hi": example:5555: this client has stopped'


def test_a_question_without_a_connection_is_answered_with_the_next() -> None:
    talk = Talk()
    talk.network.down = True
    talk.network.lose()
    handled = talk.type("/users")
    assert talk.shown == ["* not connected; the answer comes when it is again"]
    talk.come_back()
    ((correlation_id, _),) = talk.network.sent()
    talk.network.push(UsersAnswer(Code.OK), correlation_id)
    result(handled)


# Questions.


def test_users() -> None:
    talk = Talk()
    handled = talk.type("/users")
    ((correlation_id, asked),) = talk.network.sent()
    assert asked == Users("", 1000)
    some = (UserStatus("alice", 1, 1), UserStatus("b\x1bob", 1, 1), UserStatus("c d", 0, 1))
    talk.network.push(UsersAnswer(Code.OK, "", some), correlation_id)
    ((correlation_id, asked),) = talk.network.sent()
    assert asked == Users("c d", 1000)
    talk.network.push(UsersAnswer(Code.OK), correlation_id)
    result(handled)
    assert talk.shown == ["* here: alice, b\\x1bob", '* not here: "c d"']


def test_there_are_more_users_than_are_shown() -> None:
    talk = Talk()
    handled = talk.type("/users")
    ((correlation_id, _),) = talk.network.sent()
    many = tuple(UserStatus(f"{number:04}", 1, 1) for number in range(1000))
    talk.network.push(UsersAnswer(Code.OK, "", many), correlation_id)
    result(handled)
    assert talk.shown[-1].startswith("* there may be more")


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
    talk = Talk()
    if before:
        talk.say(before)
    handled = talk.type(line)
    ((correlation_id, asked),) = talk.network.sent()
    assert asked == History(with_, 0, limit)
    some = (
        StoredMessage(3, "h\x1bi", "alice", Scope.USERS, ("bob", "dave"), NOON),
        StoredMessage(5, "ho", "bob", Scope.EVERYONE, (), NOON),
    )
    talk.network.push(HistoryAnswer(Code.OK, "", some), correlation_id)
    ((correlation_id, asked),) = talk.network.sent()
    assert asked == History(with_, 3, limit - 2)
    talk.network.push(HistoryAnswer(Code.OK), correlation_id)
    result(handled)
    page, count = talk.shown[-2:]
    assert [entry.partition("] ")[2] for entry in page.split("\n")] == [
        "alice to bob, dave: h\\x1bi",
        "bob to all users: ho",
    ]
    assert count == (f"* 2 messages with {with_}" if with_ else "* 2 messages")


def test_no_history() -> None:
    talk = Talk()
    handled = talk.type("/history bob")
    talk.network.push(HistoryAnswer(Code.OK), talk.network.sent()[0][0])
    result(handled)
    assert talk.shown == ["* no messages with bob"]


def test_history_with_nobody() -> None:
    talk = Talk()
    handled = talk.type("/history zoe")
    talk.network.push(HistoryAnswer(Code.USER_NOT_FOUND), talk.network.sent()[0][0])
    result(handled)
    assert talk.shown == ["* no user named zoe"]


@pytest.mark.parametrize("line", ["/users", "/history", "/all hi"])
def test_what_version_1_has_not_is_told(line: str) -> None:
    talk = Talk(version=1)
    result(talk.type(line))
    assert talk.network.sent() == []
    assert "the server speaks version 1, which " in talk.shown[0]


def test_what_version_1_has_not_is_told_once_beforehand() -> None:
    talk = Talk(version=1)
    for version in (1, 1, 2, 1):
        talk.conversation.logged_in(version)
    assert len(talk.shown) == 2
    assert re.match(r"\* the server speaks version 1: there is no /all", talk.shown[0])


# Arrivals and presence.


def test_arrivals_are_shown_escaped_with_their_sender() -> None:
    talk = Talk()
    with arrivals(talk):
        talk.network.deliver("\x1b[2J\nboo", sender="mallory: x")
        assert talk.shown[0].endswith('] "mallory: x": \\x1b[2J\\nboo')


def test_an_arrival_says_who_else_got_it() -> None:
    talk = Talk()
    with arrivals(talk):
        talk.network.deliver("a", to=("alice", "carol"))
        talk.network.deliver("b", to=(), everyone=True, offset=2)
    assert [line.partition("] ")[2] for line in talk.shown] == [
        "bob to alice, carol: a",
        "bob to all users: b",
    ]


def test_an_arrival_is_acknowledged_when_it_is_shown() -> None:
    talk = Talk()
    talk.blocked = []
    with arrivals(talk):
        talk.network.deliver("hi", offset=7)
        assert talk.network.sent() == []
        talk.blocked.pop().callback(None)
        assert [command for _, command in talk.network.sent()] == [Ack(7)]


def test_who_wrote_can_be_answered_without_quotes() -> None:
    talk = Talk()
    with arrivals(talk):
        talk.network.deliver("hi", sender="bob b")
        talk.network.sent()
        assert talk.say("bob b: hi") == (("bob b",), "hi")


def test_names_are_remembered_up_to_a_limit() -> None:
    talk = Talk()
    with arrivals(talk):
        for number in range(_MAX_KNOWN + 1):
            talk.network.deliver("hi", sender=f"user {number}", offset=number + 1)
        assert len(talk.conversation._known) == _MAX_KNOWN
        assert "user 0" not in talk.conversation._known


def test_who_comes_and_goes_is_shown() -> None:
    talk = Talk()
    talk.conversation.happened(PresenceChanged("bob", True, NOON))
    talk.conversation.happened(PresenceChanged("\x1b[2J b", False, NOON))
    assert talk.shown == ["* bob is here", '* "\\x1b[2J b" has left']


def test_who_comes_and_goes_does_not_pile_up_while_nobody_reads() -> None:
    talk = Talk()
    talk.blocked = []
    for _ in range(_MAX_PRESENCE + 10):
        talk.conversation.happened(PresenceChanged("bob", True, NOON))
    assert len(talk.shown) == _MAX_PRESENCE
    talk.blocked[0].callback(None)
    talk.conversation.happened(PresenceChanged("bob", False, NOON))
    assert talk.shown[_MAX_PRESENCE:] == ["* bob has left"]


def test_the_label_says_who_writes_to_whom() -> None:
    talk = Talk()
    assert talk.conversation.label == "alice> "
    talk.say('"bob \x1bb": hi')
    assert talk.labels == ['alice to "bob \\x1bb"> ']
