"""Ctrl-C while a call waits, and the interactive interpreter."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from chat_protocol.errors import NotConnected
from chat_protocol.sync import connect
from chat_protocol.sync.loop_thread import LoopThread


def interrupted(call: Callable[[], object], after: float = 0.1) -> None:
    """Send SIGINT to this process while a call waits."""
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        call()
    timer.join()


def test_a_receive_that_is_interrupted_takes_no_message(url: str) -> None:
    with connect(url, "alice") as alice:
        interrupted(alice.receive)
        alice.send("alice", "kept")
        assert alice.receive(timeout=10).text == "kept"


def test_a_result_that_nobody_gets_is_given_back() -> None:
    thread = LoopThread()
    returned: list[str] = []
    given = threading.Event()

    def give_back(text: str) -> None:
        returned.append(text)
        given.set()

    async def arrive() -> str:
        # The interruption reaches the main thread first, and the loop only afterwards.
        release.wait(10)
        return "message"

    release = threading.Event()
    interrupted(lambda: thread.run(arrive, give_back=give_back))
    release.set()
    assert given.wait(10)
    assert returned == ["message"]
    thread.close()
    with pytest.raises(NotConnected):
        thread.run(arrive)


def test_the_end_of_the_thread_ends_the_calls_of_others() -> None:
    thread = LoopThread()
    running = threading.Event()
    errors: list[Exception] = []

    async def wait() -> None:
        running.set()
        await asyncio.sleep(3600)

    def call() -> None:
        try:
            thread.run(wait)
        except Exception as error:
            errors.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    assert running.wait(10)
    thread.close()
    caller.join(10)
    assert [type(error) for error in errors] == [NotConnected]


def test_an_interrupted_call_finishes_before_the_thread_ends() -> None:
    thread = LoopThread()
    steps: list[str] = []
    logging_out = threading.Event()

    async def log_out_late() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            logging_out.set()
            await asyncio.sleep(0.2)
            steps.append("logged out")

    interrupted(lambda: thread.run(log_out_late))
    assert logging_out.wait(10)
    thread.close()
    assert steps == ["logged out"]


def test_a_block_that_is_interrupted_gets_its_message_again(url: str) -> None:
    def interrupt() -> None:
        with connect(url, "bob") as bob:
            bob.send("bob", "again")
            bob.receive()
            bob.receive(timeout=60)

    with connect(url, "bob") as bob:
        bob.send("bob", "first")

    def lose() -> None:
        with connect(url, "bob") as bob:
            assert bob.receive().text == "first"
            threading.Event().wait(60)

    interrupted(lose, 1)
    with connect(url, "bob") as bob:
        assert bob.receive(timeout=10).text == "first"
    interrupted(interrupt, 1)


def test_connecting_is_interrupted(url: str) -> None:
    interrupted(lambda: connect("tcp:127.0.0.1:1", "alice", attempts=None), 0.3)
    assert [one for one in threading.enumerate() if one.name == "chat_protocol.sync"] == []


SESSION = """
from chat_protocol.sync import connect
chat = connect({url!r}, "carol")
chat
chat.send("carol", "hello")
chat.receive(timeout=10).text
chat.send("nobody", "hello")
chat.receive(timeout=0.1)
import sys; print("twisted.internet.reactor" in sys.modules)
"""


@pytest.mark.parametrize("end", ["chat.close()", ""])
def test_a_session_of_the_interpreter(url: str, end: str) -> None:
    session = subprocess.run(
        [sys.executable, "-X", "dev", "-q", "-i"],
        input=SESSION.format(url=url) + end + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = session.stdout.splitlines()
    assert "Chat" in lines[0]
    assert lines[1:] == ["'hello'", "False"]
    errors = re.findall(r"^([\w.]+): ", session.stderr, re.MULTILINE)
    assert errors == ["chat_protocol.errors.UserNotFound", "TimeoutError"]
    assert "ResourceWarning" not in session.stderr
