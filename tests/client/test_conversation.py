"""A conversation without a terminal: lines in, lines shown."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from chat_protocol.cli.interactive import _MAX_KNOWN, Conversation

from . import frames
from .line import Line, result


class Talk:
    """A conversation of alice's whose server is in the hands of the test."""

    def __init__(self) -> None:
        self.line = Line()
        self.shown: list[str] = []
        self.labels: list[str] = []
        self.conversation = Conversation(
            self.line.client,
            "example:5555",
            self.shown.append,
            lambda: self.labels.append(self.conversation.label),
        )

    def type(self, text: str) -> Deferred[None]:
        return Deferred.fromCoroutine(self.conversation.handle(text))

    def say(self, text: str, code: int = frames.OK) -> tuple[str, str]:
        """Type a line that is sent, answer it; returns recipient and text."""
        handled = self.type(text)
        (frame,) = self.line.sent()
        self.line.push(frames.response(frame.correlation_id, code))
        result(handled)
        message, _, recipient = frames.strings(frame.body, 3)
        return recipient, message


def test_a_message_is_sent_and_said_to_be_stored() -> None:
    talk = Talk()
    assert talk.say("bob: hi there") == ("bob", "hi there")
    assert talk.shown == ["* stored for bob"]


def test_nothing_is_said_before_the_answer() -> None:
    talk = Talk()
    handled = talk.type("bob: hi")
    assert talk.shown == []
    assert not handled.called
    talk.line.push(frames.response(talk.line.sent()[0].correlation_id))
    result(handled)


def test_plain_text_goes_to_the_last_partner() -> None:
    talk = Talk()
    talk.say("bob: hi")
    talk.say("carol: hi")
    assert talk.say("and you?") == ("carol", "and you?")


def test_a_message_that_arrives_does_not_change_the_partner() -> None:
    """Else what one types would go to whoever wrote in that moment."""
    talk = Talk()
    talk.say("bob: hi")
    arrivals = Deferred.fromCoroutine(talk.conversation.show_arrivals())
    talk.line.push(frames.delivery("hello", sender="mallory"))
    assert talk.say("secret") == ("bob", "secret")
    arrivals.addErrback(lambda _: None)
    arrivals.cancel()


def test_plain_text_without_a_partner_is_not_sent() -> None:
    talk = Talk()
    result(talk.type("hello?"))
    assert talk.line.sent() == []
    assert talk.shown[0].startswith("* to whom?")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (frames.NOT_FOUND, "* not sent: no user named carol; "),
        (frames.ERROR, "* not sent: the server did not store the message for carol"),
    ],
)
def test_a_refusal_is_told_in_words(code: int, says: str) -> None:
    talk = Talk()
    talk.say("carol: hi", code)
    assert talk.shown[0].startswith(says)


def test_an_unknown_user_does_not_leave_the_one_before_as_partner() -> None:
    """What is typed next was meant for carol, not for bob."""
    talk = Talk()
    talk.say("bob: hi")
    talk.say("carol: hi", frames.NOT_FOUND)
    result(talk.type("the key is under the mat"))
    assert talk.line.sent() == []


def test_the_partner_changes_before_the_answer() -> None:
    talk = Talk()
    talk.say("bob: hi")
    handled = talk.type("carol: hi")
    assert talk.conversation.label == "alice to carol> "
    talk.line.push(frames.response(talk.line.sent()[0].correlation_id))
    result(handled)


def test_a_time_out_is_told_in_words() -> None:
    talk = Talk()
    handled = talk.type("bob: hi")
    talk.line.clock.advance(10)
    result(handled)
    assert "did not answer within 10 seconds" in talk.shown[0]
    assert "not known" in talk.shown[0]


def test_a_text_that_is_too_long_is_told_in_words() -> None:
    talk = Talk()
    result(talk.type("bob: " + "x" * 65_536))
    assert talk.shown == [
        "* not sent: the text has 65536 bytes of UTF-8; at most 65535 can be sent"
    ]
    assert talk.line.sent() == []


def test_help_and_mistakes_are_shown() -> None:
    talk = Talk()
    result(talk.type("/help"))
    result(talk.type("/frob"))
    result(talk.type(""))
    assert "/quit" in talk.shown[0]
    assert talk.shown[1:] == ["* there is no /frob; /help shows what there is"]


def test_arrivals_are_shown_escaped_with_their_sender() -> None:
    talk = Talk()
    arrivals = Deferred.fromCoroutine(talk.conversation.show_arrivals())
    talk.line.push(frames.delivery("\x1b[2J\nboo", sender="mallory: x", time=1_700_000_000))
    assert talk.shown[0].endswith('] "mallory: x": \\x1b[2J\\nboo')
    talk.line.lose()
    arrivals.addErrback(lambda _: None)


def test_who_wrote_can_be_answered_without_quotes() -> None:
    talk = Talk()
    arrivals = Deferred.fromCoroutine(talk.conversation.show_arrivals())
    talk.line.push(frames.delivery("hi", sender="bob b"))
    assert talk.say("bob b: hi") == ("bob b", "hi")
    arrivals.addErrback(lambda _: None)
    arrivals.cancel()


def test_names_are_remembered_up_to_a_limit() -> None:
    talk = Talk()
    arrivals = Deferred.fromCoroutine(talk.conversation.show_arrivals())
    for number in range(_MAX_KNOWN + 1):
        talk.line.push(frames.delivery("hi", sender=f"user {number}"))
    assert len(talk.conversation._known) == _MAX_KNOWN
    assert "user 0" not in talk.conversation._known
    arrivals.addErrback(lambda _: None)
    arrivals.cancel()


def test_the_label_says_who_writes_to_whom() -> None:
    talk = Talk()
    assert talk.conversation.label == "alice> "
    talk.say('"bob \x1bb": hi')
    assert talk.labels == ['alice to "bob \\x1bb"> ']
