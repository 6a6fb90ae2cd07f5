"""From the first line to the last, without a terminal."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred, succeed

from chat_protocol.cli.exit_codes import Exit, Failed, OutputClosed
from chat_protocol.cli.interactive import _Talk
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Close, Presence
from tests.cli.talk import NOON, Opened, result


class Typing(Opened):
    """A conversation whose lines the test types.

    Args:
        wait: see _Talk.run.
        version: of the server.
        patience: see Settings.
    """

    def __init__(self, wait: bool = False, version: int = 2, patience: float | None = None) -> None:
        super().__init__(version, patience)
        self.shown: list[str] = []
        self.shows: Callable[[], Deferred[None]] = lambda: succeed(None)
        self._line: Deferred[str | None] = Deferred()
        talk = _Talk(self.clock, self.settings, "alice", self)
        self.session = talk.session
        self.open()
        self.running = Deferred.fromCoroutine(talk.run(wait))

    async def read(self, _: object) -> str | None:
        self._line = Deferred()
        return await self._line

    def refresh(self) -> None: ...

    def show(self, line: str) -> Deferred[None]:
        self.shown.append(line)
        return self.shows()

    def type(self, line: str | None) -> None:
        self._line.callback(line)

    @property
    def reads(self) -> bool:
        return not self._line.called

    def end(self) -> None:
        """The server closes; the conversation is over."""
        assert [type(command) for _, command in self.network.sent()][-1:] == [Close]
        self.network.lose()
        self.check()

    def check(self) -> None:
        try:
            result(self.running)
        finally:
            assert self.clock.getDelayedCalls() == []


@pytest.mark.parametrize("last", ["/quit", " /quit ", None])
def test_the_end(last: str | None) -> None:
    typing = Typing()
    if last == " /quit ":
        # It is a text for whom one wrote last, and that is nobody.
        typing.type(last)
        assert typing.shown[-1].startswith("* to whom?")
        last = "/quit"
    typing.type(last)
    typing.end()
    assert typing.shown[0] == "Connected to example:5555 as alice; /help says what to type."


def test_typing_goes_on_while_an_answer_is_awaited() -> None:
    typing = Typing(wait=False)
    typing.type("bob: one")
    assert typing.reads
    typing.type("two")
    (one, first), (two, second) = typing.network.sent()
    assert (first.message, second.message) == ("one", "two")
    typing.network.answer(one)
    typing.network.answer(two)
    typing.type("/quit")
    typing.end()
    assert typing.shown[1:] == ["* stored for bob", "* stored for bob"]


def test_a_line_from_a_pipe_waits_for_the_one_before() -> None:
    typing = Typing(wait=True)
    typing.type("bob: one")
    assert not typing.reads
    ((correlation_id, _),) = typing.network.sent()
    typing.network.answer(correlation_id)
    assert typing.reads
    typing.type(None)
    typing.end()


def test_the_end_waits_for_answers() -> None:
    typing = Typing()
    typing.type("bob: one")
    ((correlation_id, _),) = typing.network.sent()
    typing.type("/quit")
    assert typing.shown[-1] == "* waiting for an answer of the server; Ctrl-C leaves at once"
    assert typing.network.sent() == []
    typing.network.answer(correlation_id)
    typing.end()
    assert typing.shown[-1] == "* stored for bob"


def test_the_end_does_not_wait_for_a_connection_for_ever() -> None:
    typing = Typing()
    typing.network.down = True
    typing.network.lose()
    typing.turn()
    typing.clock.pump([30] * 10)
    typing.type("bob: one")
    typing.type("bob: two")
    typing.type("/quit")
    assert typing.shown[-1].startswith("* waiting for 2 answers")
    typing.clock.pump([1] * 59)
    assert not typing.running.called
    typing.clock.pump([1, 0])
    with pytest.raises(Failed, match="not back within 60 seconds") as caught:
        typing.check()
    assert caught.value.code is Exit.CONNECTION
    assert [line for line in typing.shown if "* not sent" in line] == [
        '* not sent to bob: "one": example:5555: this client has stopped',
        '* not sent to bob: "two": example:5555: this client has stopped',
    ]


def test_presence_is_asked_for_and_shown() -> None:
    typing = Typing()
    assert typing.network.login.properties["presence"] == "1"
    typing.network.push(Presence("bob", 1, NOON))
    assert typing.shown[1:] == ["* bob is here"]
    typing.type(None)
    typing.end()


def test_a_version_1_server_is_told_of() -> None:
    typing = Typing(version=1)
    assert typing.shown[1].startswith("* the server speaks version 1: ")
    typing.type(None)
    typing.network.lose()
    typing.check()


def test_a_connection_that_comes_and_goes_is_shown() -> None:
    typing = Typing()
    typing.network.lose()
    typing.turn()
    assert typing.shown[1].startswith("* connection lost: the server closed the connection; try")
    typing.come_back()
    assert typing.shown[2] == "* connected again"
    typing.type(None)
    typing.end()


def test_a_take_over_ends_it() -> None:
    typing = Typing()
    typing.network.push(Close(Code.REPLACED, "another connection took the session over"))
    typing.network.lose()
    typing.turn()
    with pytest.raises(Failed, match="another connection took the session over"):
        typing.check()


@pytest.mark.parametrize("what", ["arrival", "notice", "answer"])
def test_it_ends_when_nothing_can_be_shown(what: str) -> None:
    typing = Typing()

    async def closed() -> None:
        raise OutputClosed

    typing.shows = lambda: Deferred.fromCoroutine(closed())
    if what == "arrival":
        typing.network.deliver("hi")
    elif what == "notice":
        typing.network.push(Presence("bob", 1, NOON))
    else:
        typing.type("/help")
    typing.turn()
    with pytest.raises(OutputClosed):
        typing.end()


def test_an_arrival_that_cannot_be_shown_is_not_acknowledged() -> None:
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
