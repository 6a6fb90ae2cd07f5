"""Output to slow and closed readers."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted  # type: ignore[import-untyped]
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater

from chat_protocol.cli.exit_codes import CommandFailed, ExitCode, OutputClosed
from chat_protocol.cli.output import FINISH_SECONDS, Output, finish
from tests.cli.thread_server import PATIENCE

MORE_THAN_A_PIPE_HOLDS = 200_000


class Pipe:
    """A pipe as stdout. Not a fixture, because pytest replaces stdout in each phase."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        self._stdout = sys.stdout
        self.data = b""

    def __enter__(self) -> Pipe:
        sys.stdout = open(self._writer, "w", encoding="ascii")
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.close()
        sys.stdout = self._stdout
        with suppress(OSError):
            os.close(self.reader)

    async def read(self, size: int) -> None:
        """Read until ``size`` bytes have arrived."""
        end = time.monotonic() + PATIENCE
        while len(self.data) < size:
            assert time.monotonic() < end, f"{len(self.data)} bytes arrived"
            try:
                self.data += os.read(self.reader, 65536)
            except BlockingIOError:
                await a_moment()


def a_moment() -> Deferred[None]:
    return deferLater(reactor, 0.01)  # type: ignore[arg-type]


def fired(deferred: Deferred[Any]) -> list[Any]:
    found: list[Any] = []
    deferred.addBoth(found.append)
    return found


@pytest_twisted.ensureDeferred
async def test_lines_are_written_in_order_before_the_deferred_fires() -> None:
    with Pipe() as pipe:
        output = Output(reactor)
        output.write("one", "two")
        await output.write("ü")
        await pipe.read(13)
        assert pipe.data == b"one\ntwo\n\\xfc\n"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("blocking", [True, False])
async def test_a_slow_reader_does_not_block_the_reactor(blocking: bool) -> None:
    """Another process that shares the descriptor may have made it non-blocking."""
    with Pipe() as pipe:
        os.set_blocking(sys.stdout.fileno(), blocking)
        output = Output(reactor)
        first = fired(output.write("x" * MORE_THAN_A_PIPE_HOLDS))
        second = fired(output.write("y"))
        await a_moment()
        assert (first, second) == ([], [])
        await pipe.read(MORE_THAN_A_PIPE_HOLDS + 3)
        while not second:
            await a_moment()
        assert first == [None]
        assert pipe.data.endswith(b"x\ny\n")


@pytest_twisted.ensureDeferred
async def test_a_reader_that_closes_the_pipe_during_a_write() -> None:
    with Pipe() as pipe:
        output = Output(reactor)
        writing = output.write("x" * MORE_THAN_A_PIPE_HOLDS)
        await a_moment()
        os.close(pipe.reader)
        with pytest.raises(OutputClosed):
            await writing
        with pytest.raises(OutputClosed):
            await output.write("more")


@pytest_twisted.ensureDeferred
async def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full, monkeypatch.context() as patch:  # noqa: ASYNC230
        patch.setattr(sys, "stdout", full)
        with pytest.raises(CommandFailed, match="No space left") as caught:
            await Output(reactor).write("x")
    assert caught.value.code is ExitCode.OUTPUT


@pytest_twisted.ensureDeferred
async def test_no_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OutputClosed):
        await Output(reactor).write("x")


@pytest_twisted.ensureDeferred
async def test_a_write_can_be_canceled() -> None:
    with Pipe() as pipe:
        output = Output(reactor)
        writing = output.write("x" * MORE_THAN_A_PIPE_HOLDS)
        cancelled = fired(writing)
        writing.cancel()
        assert len(cancelled) == 1
        await pipe.read(MORE_THAN_A_PIPE_HOLDS + 1)
        await output.write("y")


def finishing(clock: Clock) -> tuple[Deferred[None], Deferred[None], list[Any]]:
    writing: Deferred[None] = Deferred()
    waiting = Deferred.fromCoroutine(finish(writing, clock))
    return writing, waiting, fired(waiting)


def test_finish_passes_on_the_outcome_of_the_write() -> None:
    writing, _, ended = finishing(Clock())
    assert ended == []
    writing.callback(None)
    assert ended == [None]
    writing, _, ended = finishing(Clock())
    writing.errback(OutputClosed())
    assert ended[0].check(OutputClosed)


def test_a_cancellation_waits_for_the_write() -> None:
    writing, waiting, ended = finishing(Clock())
    waiting.cancel()
    assert ended == []
    assert not writing.called
    writing.callback(None)
    assert ended[0].check(CancelledError)


def test_a_cancellation_does_not_wait_for_ever_for_a_blocked_write() -> None:
    clock = Clock()
    _, waiting, ended = finishing(clock)
    waiting.cancel()
    clock.advance(FINISH_SECONDS)
    assert ended[0].check(CancelledError)
    assert clock.getDelayedCalls() == []
