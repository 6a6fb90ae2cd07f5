"""Runs of the line mode, without a terminal."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred, succeed

from chat_protocol.cli.exit_codes import CommandFailed, ExitCode, OutputClosed
from chat_protocol.cli.line_session import _LineSession
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Close, Presence
from tests.cli.sessions import NOON, OpenedSession, result


class Typing(OpenedSession):
    """A line mode whose lines the test types.

    Args:
        wait: see _LineSession.run.
        version: of the server.
        reconnect_timeout: see Settings.
    """

    def __init__(
        self, wait: bool = False, version: int = 2, reconnect_timeout: float | None = None
    ) -> None:
        super().__init__(version, reconnect_timeout)
        self.shown: list[str] = []
        self.shows: Callable[[], Deferred[None]] = lambda: succeed(None)
        self._line: Deferred[str | None] = Deferred()
        line_session = _LineSession(self.clock, self.settings, "alice", self)
        self.session = line_session.session
        self.open()
        self.running = Deferred.fromCoroutine(line_session.run(wait))

    async def read(self, _: object) -> str | None:
        self._line = Deferred()
        return await self._line

    def refresh(self) -> None: ...

    def show(self, line: str) -> Deferred[None]:
        self.shown.append(line)
        return self.shows()

    def type_line(self, line: str | None) -> None:
        self._line.callback(line)

    @property
    def reads(self) -> bool:
        return not self._line.called

    def end(self) -> None:
        """Close the connection from the server; the run must be over."""
        assert [type(command) for _, command in self.network.sent()][-1:] == [Close]
        self.network.lose()
        self.check()

    def check(self) -> None:
        try:
            result(self.running)
        finally:
            assert self.clock.getDelayedCalls() == []


@pytest.mark.parametrize("last", ["/quit", " /quit ", None])
def test_quitting(last: str | None) -> None:
    typing = Typing()
    if last == " /quit ":
        # With leading space it is text for the current recipient, and there is none.
        typing.type_line(last)
        assert typing.shown[-1].startswith("* no recipient")
        last = "/quit"
    typing.type_line(last)
    typing.end()
    assert typing.shown[0] == "Connected to example:5555 as alice; type /help for help."


def test_further_lines_are_read_while_an_answer_is_pending() -> None:
    typing = Typing(wait=False)
    typing.type_line("bob: one")
    assert typing.reads
    typing.type_line("two")
    (one, first), (two, second) = typing.network.sent()
    assert (first.message, second.message) == ("one", "two")
    typing.network.answer(one)
    typing.network.answer(two)
    typing.type_line("/quit")
    typing.end()
    assert typing.shown[1:] == ["* stored for bob", "* stored for bob"]


def test_a_line_from_a_pipe_waits_for_the_previous_one() -> None:
    typing = Typing(wait=True)
    typing.type_line("bob: one")
    assert not typing.reads
    ((correlation_id, _),) = typing.network.sent()
    typing.network.answer(correlation_id)
    assert typing.reads
    typing.type_line(None)
    typing.end()


def test_quitting_waits_for_answers() -> None:
    typing = Typing()
    typing.type_line("bob: one")
    ((correlation_id, _),) = typing.network.sent()
    typing.type_line("/quit")
    assert typing.shown[-1] == "* waiting for an answer from the server; Ctrl-C quits immediately"
    assert typing.network.sent() == []
    typing.network.answer(correlation_id)
    typing.end()
    assert typing.shown[-1] == "* stored for bob"


def test_quitting_does_not_wait_forever_for_a_connection() -> None:
    typing = Typing()
    typing.network.down = True
    typing.network.lose()
    typing.turn()
    typing.clock.pump([30] * 10)
    typing.type_line("bob: one")
    typing.type_line("bob: two")
    typing.type_line("/quit")
    assert typing.shown[-1].startswith("* waiting for 2 answers")
    typing.clock.pump([1] * 59)
    assert not typing.running.called
    typing.clock.pump([1, 0])
    with pytest.raises(CommandFailed, match="could not reconnect within 60 seconds") as caught:
        typing.check()
    assert caught.value.code is ExitCode.CONNECTION
    assert [line for line in typing.shown if "* not sent" in line] == [
        '* not sent to bob: "one": example:5555: the client has stopped',
        '* not sent to bob: "two": example:5555: the client has stopped',
    ]


def test_presence_is_requested_and_shown() -> None:
    typing = Typing()
    assert typing.network.login.properties["presence"] == "1"
    typing.network.push(Presence("bob", 1, NOON))
    assert typing.shown[1:] == ["* bob is online"]
    typing.type_line(None)
    typing.end()


def test_a_version_1_server_is_reported() -> None:
    typing = Typing(version=1)
    assert typing.shown[1].startswith("* the server speaks version 1: ")
    typing.type_line(None)
    typing.network.lose()
    typing.check()


def test_a_lost_and_restored_connection_is_shown() -> None:
    typing = Typing()
    typing.network.lose()
    typing.turn()
    assert typing.shown[1].startswith("* connection lost: the server closed the connection; retry")
    typing.reconnect()
    assert typing.shown[2] == "* reconnected"
    typing.type_line(None)
    typing.end()


def test_a_take_over_ends_the_session() -> None:
    typing = Typing()
    typing.network.push(Close(Code.REPLACED, "another connection took over the session"))
    typing.network.lose()
    typing.turn()
    with pytest.raises(CommandFailed, match="another connection took over the session"):
        typing.check()


@pytest.mark.parametrize("what", ["arrival", "notice", "answer"])
def test_closed_output_ends_the_session(what: str) -> None:
    typing = Typing()

    async def closed() -> None:
        raise OutputClosed

    typing.shows = lambda: Deferred.fromCoroutine(closed())
    if what == "arrival":
        typing.network.deliver("hi")
    elif what == "notice":
        typing.network.push(Presence("bob", 1, NOON))
    else:
        typing.type_line("/help")
    typing.turn()
    with pytest.raises(OutputClosed):
        typing.end()


def test_a_message_that_cannot_be_shown_is_not_acknowledged() -> None:
    typing = Typing()
    blocked: list[Deferred[None]] = []

    def block() -> Deferred[None]:
        blocked.append(Deferred())
        return blocked[-1]

    typing.shows = block
    typing.network.deliver("hi")
    assert typing.network.sent() == []
    typing.running.cancel()
    assert [type(command) for _, command in typing.network.sent()] == [Close]
    typing.network.lose()
    typing.running.addErrback(lambda _: None)
