"""What is said of a connection that comes and goes, and when a run gives it up."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from chat_protocol.cli.exit_codes import Exit, Failed
from chat_protocol.cli.in_flight import Unanswered
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Close
from tests.cli.talk import Opened, result


class Run(Opened):
    """A session whose work is to wait for ``work``."""

    def __init__(self, patience: float | None = None, password: str | None = None) -> None:
        super().__init__(patience=patience, password=password)
        self.open()
        self.work: Deferred[str] = Deferred()
        self.running = Deferred.fromCoroutine(self.session.run(self._wait()))

    async def _wait(self) -> str:
        return await self.work

    def finish(self) -> None:
        """The work is done."""
        self.work.callback("done")
        if self.network.protocol is not None:
            self.network.lose()
        assert result(self.running) == "done"
        assert self.clock.getDelayedCalls() == []

    def fails(self) -> Failed:
        """How it has ended; the server closes in order."""
        self.turn()
        if self.network.protocol is not None:
            self.network.lose()
        self.turn()
        with pytest.raises(Failed) as caught:
            result(self.running)
        assert self.clock.getDelayedCalls() == []
        return caught.value


def test_the_result_comes_when_the_client_has_logged_out() -> None:
    run = Run()
    run.work.callback("done")
    assert not run.running.called
    assert [type(command) for _, command in run.network.sent()] == [Close]
    run.network.lose()
    assert result(run.running) == "done"


def test_a_lost_connection_is_told_once_and_so_is_its_return() -> None:
    run = Run()
    run.network.down = True
    run.network.lose()
    run.turn()
    assert len(run.said) == 1
    assert run.said[0].startswith("connection lost: the server closed the connection; trying ag")
    for _ in range(5):
        run.clock.advance(30)
        run.turn()
    assert run.said[1:] == [
        "not connected: nobody answers there; still trying, every 30 s at least"
    ]
    run.come_back()
    assert run.said[2:] == ["connected again"]
    run.network.down = True
    run.network.lose()
    run.turn()
    assert run.said[3].startswith("connection lost: ")
    run.finish()


def test_a_connection_that_is_not_back_in_time_ends_the_run() -> None:
    run = Run(patience=60)
    run.network.down = True
    run.network.lose()
    run.turn()
    run.clock.pump([1] * 59)
    assert not run.running.called
    run.clock.advance(1)
    problem = run.fails()
    assert problem.code is Exit.CONNECTION
    assert str(problem) == (
        "example:5555: nobody answers there; the connection was not back within 60 seconds"
    )


def test_the_patience_begins_anew_with_each_loss() -> None:
    run = Run(patience=60)
    for _ in range(3):
        run.network.down = True
        run.network.lose()
        run.turn()
        run.clock.advance(20)
        run.come_back()
    run.finish()


def test_patience_that_ends_while_the_connection_is_away() -> None:
    run = Run()
    run.network.down = True
    run.network.lose()
    run.clock.pump([10] * 20)
    run.session.be_patient_for(5)
    run.clock.advance(5)
    assert run.fails().code is Exit.CONNECTION


def test_without_reconnecting_the_first_loss_is_the_end() -> None:
    run = Run(patience=0)
    run.network.lose()
    problem = run.fails()
    assert problem.code is Exit.CONNECTION
    assert str(problem) == "example:5555: the server closed the connection"
    assert run.said == []


def test_a_take_over_ends_it_with_a_sentence() -> None:
    run = Run()
    run.network.push(Close(Code.REPLACED, "logged in else\x1bwhere"))
    problem = run.fails()
    assert problem.code is Exit.CONNECTION
    assert str(problem) == "example:5555: logged in else\\x1bwhere"


def test_a_password_that_is_refused_after_a_loss_ends_it() -> None:
    run = Run(password="old")
    run.network.lose()
    run.network.refusal = Code.AUTHENTICATION_FAILED
    run.turn()
    run.come_back()
    problem = run.fails()
    assert problem.code is Exit.REFUSED
    assert str(problem) == "the server does not accept the password of alice"


@pytest.mark.parametrize(
    ("code", "password", "says"),
    [
        (Code.AUTHENTICATION_FAILED, None, "CHAT_PASSWORD, or with --ask-password or --password"),
        (Code.AUTHENTICATION_FAILED, "x", "does not accept the password of alice"),
        (Code.INVALID_USERNAME, None, "does not accept the name alice"),
        (Code.USER_NOT_FOUND, None, "does not accept the name alice"),
        (Code.USER_ALREADY_LOGGED, None, "alice is logged in already"),
        (Code.UNAVAILABLE, None, "the server refused: "),
    ],
)
def test_a_login_that_is_refused(code: Code, password: str | None, says: str) -> None:
    opened = Opened(password=password)
    opened.network.refusal = code
    opening = Deferred.fromCoroutine(opened.session.open())
    opened.network.answer_login()
    opened.network.lose()
    opened.turn()
    with pytest.raises(Failed, match=says) as caught:
        result(opening)
    assert caught.value.code is Exit.REFUSED
    assert opened.clock.getDelayedCalls() == []


def test_the_password_goes_to_the_server() -> None:
    run = Opened(password="secret")
    run.open()
    assert run.network.login.properties["password"] == "secret"


def test_a_problem_ends_the_work_and_the_first_one_is_told() -> None:
    run = Run()
    run.session.end(Failed(Exit.TIMEOUT, "first"))
    run.session.end(Failed(Exit.REFUSED, "second"))
    assert str(run.fails()) == "first"


def test_a_problem_counts_even_if_the_work_ends_before_it_is_cancelled() -> None:
    run = Run()
    run.session.end(Failed(Exit.TIMEOUT, "too late"))
    run.work.callback("done")
    assert str(run.fails()) == "too late"


def test_a_problem_that_comes_before_the_work_ends_it() -> None:
    opened = Opened(patience=0)
    opened.open()
    opened.network.lose()
    opened.turn()
    opened.turn()
    running = Deferred.fromCoroutine(opened.session.run(_wait_for(Deferred())))
    with pytest.raises(Failed):
        result(running)
    assert opened.clock.getDelayedCalls() == []


async def _wait_for(deferred: Deferred[None]) -> None:
    await deferred


def test_work_that_is_cancelled_from_outside_logs_out() -> None:
    run = Run()
    ended: list[Any] = []
    run.running.addBoth(ended.append)
    run.running.cancel()
    assert [type(command) for _, command in run.network.sent()] == [Close]
    run.network.lose()
    assert len(ended) == 1


# Answers that do not come.


class Waiting(Opened):
    def __init__(self) -> None:
        super().__init__()
        self.open()
        self.unanswered = Unanswered(self.clock, self.session, timeout=10)
        self.answers: list[Deferred[None]] = []

    def add(self) -> None:
        answer: Deferred[None] = Deferred()
        self.answers.append(answer)
        self.unanswered.add(answer)

    def run(self, at_most: int) -> Deferred[None]:
        return Deferred.fromCoroutine(self.session.run(self.unanswered.at_most(at_most)))


def test_there_are_few_enough() -> None:
    waiting = Waiting()
    waiting.unanswered.add(succeed(None))
    for _ in range(3):
        waiting.add()
    running = waiting.run(1)
    waiting.answers[1].callback(None)
    assert waiting.network.sent() == []
    waiting.answers[0].callback(None)
    waiting.network.lose()
    result(running)
    assert waiting.clock.getDelayedCalls() == []


def test_a_failure_is_an_answer_and_stays_one() -> None:
    waiting = Waiting()
    waiting.add()
    running = waiting.run(0)
    waiting.answers[0].errback(Failed(Exit.REFUSED, "no"))
    waiting.network.lose()
    result(running)
    with pytest.raises(Failed):
        result(waiting.answers[0])


def test_a_silent_server_ends_it() -> None:
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
    with pytest.raises(Failed, match="did not answer within 10 seconds") as caught:
        result(running)
    assert caught.value.code is Exit.TIMEOUT
    assert waiting.clock.getDelayedCalls() == []


def test_without_a_connection_nobody_is_silent() -> None:
    waiting = Waiting()
    waiting.add()
    running = waiting.run(0)
    waiting.network.down = True
    waiting.network.lose()
    waiting.clock.pump([5] * 20)
    waiting.come_back()
    waiting.clock.advance(9)
    assert not running.called
    waiting.clock.advance(1)
    waiting.turn()
    waiting.network.lose()
    with pytest.raises(Failed):
        result(running)
