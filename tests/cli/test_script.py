"""Sending lines from stdin, and the report of lines that were not stored."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from chat_protocol.cli.exit_codes import CommandFailed, ExitCode
from chat_protocol.cli.options import SendAction
from chat_protocol.cli.script import _Sender
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Publish
from tests.cli.sessions import OpenedSession, result


class Lines:
    """Stands in for StdinLines."""

    def __init__(self, *lines: str) -> None:
        self._lines = list(lines)

    async def read(self) -> str | None:
        return self._lines.pop(0) if self._lines else None

    def stop(self) -> None:
        self._lines.clear()


class Sending(OpenedSession):
    """``chatclient send bob -`` with these lines on stdin."""

    def __init__(self, *lines: str) -> None:
        super().__init__()
        self.open()
        stdin: Any = Lines(*lines)
        sender = _Sender(self.session, self.clock, 10.0, SendAction(("bob",), None, whole=False))
        self.running = Deferred.fromCoroutine(self.session.run(sender.send_lines(stdin)))

    def published(self) -> list[tuple[int, str]]:
        """Return correlation id and text of each Publish since the last call."""
        found = []
        for correlation_id, command in self.network.sent():
            assert isinstance(command, Publish)
            found.append((correlation_id, command.message))
        return found

    def fails(self) -> CommandFailed:
        """Close the connection from the server; return the error that ended the command."""
        self.turn()
        self.network.lose()
        with pytest.raises(CommandFailed) as caught:
            result(self.running)
        return caught.value


def test_a_line_refused_as_out_of_order_after_a_reconnect_is_reported_and_not_resent() -> None:
    sending = Sending("one", "two", "three")
    assert [text for _, text in sending.published()] == ["one", "two", "three"]
    sending.network.lose()
    sending.reconnect()
    (one, _), (two, _), (three, _) = sending.published()
    sending.network.answer(one)
    sending.network.answer(two, Code.OUT_OF_ORDER, "publishingId 2 was not stored, but 3 was")
    sending.network.answer(three)
    failure = sending.fails()
    assert failure.code is ExitCode.REFUSED
    assert str(failure) == (
        "line 2: example:5555: the server refused the message as out of order: "
        "publishingId 2 was not stored, but 3 was; check the history and send it again if needed; "
        "lines not stored among the first 3: 2"
    )
