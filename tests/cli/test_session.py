"""Notices about lost connections, and the end of a run."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from chat_protocol.cli.exit_codes import CommandFailed, ExitCode
from chat_protocol.cli.in_flight import InFlight
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Close
from tests.cli.sessions import OpenedSession, result


class Run(OpenedSession):
    """A session whose work waits for the Deferred ``work``."""

    def __init__(self, reconnect_timeout: float | None = None, password: str | None = None) -> None:
        super().__init__(reconnect_timeout=reconnect_timeout, password=password)
        self.open()
        self.work: Deferred[str] = Deferred()
        self.running = Deferred.fromCoroutine(self.session.run(self._wait()))

    async def _wait(self) -> str:
        return await self.work

    def finish(self) -> None:
        """Finish the work."""
        self.work.callback("done")
        if self.network.protocol is not None:
            self.network.lose()
        assert result(self.running) == "done"
        assert self.clock.getDelayedCalls() == []

    def fails(self) -> CommandFailed:
        """Close the connection from the server; return the error that ended the run."""
        self.turn()
        if self.network.protocol is not None:
            self.network.lose()
        self.turn()
        with pytest.raises(CommandFailed) as caught:
            result(self.running)
        assert self.clock.getDelayedCalls() == []
        return caught.value


def test_run_returns_after_the_logout() -> None:
    run = Run()
    run.work.callback("done")
    assert not run.running.called
    assert [type(command) for _, command in run.network.sent()] == [Close]
    run.network.lose()
    assert result(run.running) == "done"


def test_a_lost_and_a_restored_connection_are_reported_once() -> None:
    run = Run()
    run.network.down = True
    run.network.lose()
    run.turn()
    assert len(run.notices) == 1
    assert run.notices[0].startswith(
        "connection lost: the server closed the connection; retrying in"
    )
    for _ in range(5):
        run.clock.advance(30)
        run.turn()
    assert run.notices[1:] == [
        "not connected: the connection was refused; still retrying, at least every 30 s"
    ]
    run.reconnect()
    assert run.notices[2:] == ["reconnected"]
    run.network.down = True
    run.network.lose()
    run.turn()
    assert run.notices[3].startswith("connection lost: ")
    run.finish()


def test_the_reconnect_timeout_ends_the_run() -> None:
    run = Run(reconnect_timeout=60)
    run.network.down = True
    run.network.lose()
    run.turn()
    run.clock.pump([1] * 59)
    assert not run.running.called
    run.clock.advance(1)
    error = run.fails()
    assert error.code is ExitCode.CONNECTION
    assert str(error) == (
        "example:5555: the connection was refused; could not reconnect within 60 seconds"
    )


def test_the_reconnect_timeout_restarts_with_each_loss() -> None:
    run = Run(reconnect_timeout=60)
    for _ in range(3):
        run.network.down = True
        run.network.lose()
        run.turn()
        run.clock.advance(20)
        run.reconnect()
    run.finish()


def test_a_reconnect_timeout_set_while_offline() -> None:
    run = Run()
    run.network.down = True
    run.network.lose()
    run.clock.pump([10] * 20)
    run.session.set_reconnect_timeout(5)
    run.clock.advance(5)
    assert run.fails().code is ExitCode.CONNECTION


def test_without_reconnecting_the_first_loss_ends_the_run() -> None:
    run = Run(reconnect_timeout=0)
    run.network.lose()
    error = run.fails()
    assert error.code is ExitCode.CONNECTION
    assert str(error) == "example:5555: the server closed the connection"
    assert run.notices == []


def test_a_take_over_ends_the_run_with_a_sentence() -> None:
    run = Run()
    run.network.push(Close(Code.REPLACED, "logged in else\x1bwhere"))
    error = run.fails()
    assert error.code is ExitCode.CONNECTION
    assert str(error) == "example:5555: logged in else\\x1bwhere"


def test_a_password_refused_after_a_loss_ends_the_run() -> None:
    run = Run(password="old")
    run.network.lose()
    run.network.refusal = Code.AUTHENTICATION_FAILED
    run.turn()
    run.reconnect()
    error = run.fails()
    assert error.code is ExitCode.REFUSED
    assert str(error) == "the server rejected the password for alice"


@pytest.mark.parametrize(
    ("code", "password", "expected"),
    [
        (
            Code.AUTHENTICATION_FAILED,
            None,
            "set CHAT_PASSWORD in the environment, use --ask-password or --password",
        ),
        (Code.AUTHENTICATION_FAILED, "x", "rejected the password for alice"),
        (Code.INVALID_USERNAME, None, "rejected the name alice"),
        (Code.USER_NOT_FOUND, None, "rejected the name alice"),
        (Code.USER_ALREADY_LOGGED, None, "alice is already logged in elsewhere"),
        (Code.UNAVAILABLE, None, "the server refused the request: "),
    ],
)
def test_a_refused_login(code: Code, password: str | None, expected: str) -> None:
    opened = OpenedSession(password=password)
    opened.network.refusal = code
    opening = Deferred.fromCoroutine(opened.session.open())
    opened.network.answer_login()
    opened.network.lose()
    opened.turn()
    with pytest.raises(CommandFailed, match=expected) as caught:
        result(opening)
    assert caught.value.code is ExitCode.REFUSED
    assert opened.clock.getDelayedCalls() == []


def test_the_password_is_sent_to_the_server() -> None:
    run = OpenedSession(password="secret")
    run.open()
    assert run.network.login.properties["password"] == "secret"


def test_the_first_reason_ends_the_run() -> None:
    run = Run()
    run.session.end(CommandFailed(ExitCode.TIMEOUT, "first"))
    run.session.end(CommandFailed(ExitCode.REFUSED, "second"))
    assert str(run.fails()) == "first"


def test_a_reason_counts_even_if_the_work_ends_before_it_is_canceled() -> None:
    run = Run()
    run.session.end(CommandFailed(ExitCode.TIMEOUT, "too late"))
    run.work.callback("done")
    assert str(run.fails()) == "too late"


def test_a_reason_given_before_the_work_ends_the_run() -> None:
    opened = OpenedSession(reconnect_timeout=0)
    opened.open()
    opened.network.lose()
    opened.turn()
    opened.turn()
    running = Deferred.fromCoroutine(opened.session.run(_wait_for(Deferred())))
    with pytest.raises(CommandFailed):
        result(running)
    assert opened.clock.getDelayedCalls() == []


async def _wait_for(deferred: Deferred[None]) -> None:
    await deferred


def test_canceled_work_logs_out() -> None:
    run = Run()
    ended: list[Any] = []
    run.running.addBoth(ended.append)
    run.running.cancel()
    assert [type(command) for _, command in run.network.sent()] == [Close]
    run.network.lose()
    assert len(ended) == 1


# Messages in flight.


class Waiting(OpenedSession):
    def __init__(self) -> None:
        super().__init__()
        self.open()
        self.in_flight = InFlight(self.clock, self.session, timeout=10)
        self.answers: list[Deferred[None]] = []

    def add(self) -> None:
        answer: Deferred[None] = Deferred()
        self.answers.append(answer)
        self.in_flight.add(answer)

    def run(self, count: int) -> Deferred[None]:
        return Deferred.fromCoroutine(self.session.run(self.in_flight.wait_until_at_most(count)))


def test_waiting_until_few_enough_are_in_flight() -> None:
    waiting = Waiting()
    waiting.in_flight.add(succeed(None))
    for _ in range(3):
        waiting.add()
    running = waiting.run(1)
    waiting.answers[1].callback(None)
    assert waiting.network.sent() == []
    waiting.answers[0].callback(None)
    waiting.network.lose()
    result(running)
    assert waiting.clock.getDelayedCalls() == []


def test_a_failure_counts_as_an_answer_and_is_passed_on() -> None:
    waiting = Waiting()
    waiting.add()
    running = waiting.run(0)
    waiting.answers[0].errback(CommandFailed(ExitCode.REFUSED, "no"))
    waiting.network.lose()
    result(running)
    with pytest.raises(CommandFailed):
        result(waiting.answers[0])


def test_a_server_that_does_not_answer_ends_the_run() -> None:
    waiting = Waiting()
    waiting.add()
    waiting.add()
    running = waiting.run(0)
    waiting.clock.advance(9)
    waiting.answers[0].callback(None)
    waiting.clock.advance(9)
    assert waiting.network.sent() == []
    waiting.clock.advance(1)
    waiting.turn()
    waiting.network.lose()
    with pytest.raises(CommandFailed, match="did not answer within 10 seconds") as caught:
        result(running)
    assert caught.value.code is ExitCode.TIMEOUT
    assert waiting.clock.getDelayedCalls() == []


def test_time_offline_does_not_count_for_the_timeout() -> None:
    waiting = Waiting()
    waiting.add()
    running = waiting.run(0)
    waiting.network.down = True
    waiting.network.lose()
    waiting.clock.pump([5] * 20)
    waiting.reconnect()
    waiting.clock.advance(9)
    assert not running.called
    waiting.clock.advance(1)
    waiting.turn()
    waiting.network.lose()
    with pytest.raises(CommandFailed):
        result(running)
