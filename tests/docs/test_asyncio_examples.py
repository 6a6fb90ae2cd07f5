"""docs/examples: the bot for asyncio and the script, as a user starts them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from chat_protocol.sync import connect
from tests.blackbox.server import Server
from tests.docs.markdown import ROOT

EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def url(server: Server) -> str:
    return f"tcp:127.0.0.1:{server.address[1]}"


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "default", str(EXAMPLES / "script.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_bot_answers_across_a_restart_of_the_server(server: Server, url: str) -> None:
    bot = subprocess.Popen(
        [sys.executable, "-W", "default", str(EXAMPLES / "asyncio_bot.py"), url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert bot.stdout is not None
    try:
        assert bot.stdout.readline() == "online\n"
        with connect(url, "alice", max_delay=0.5) as alice:
            alice.send("counter", "hello")
            alice.send("counter", "count")
            assert alice.receive(timeout=20).text == "2"
            server.restart()
            alice.send("counter", "count")
            assert alice.receive(timeout=40).text == "3"
        bot.send_signal(signal.SIGINT)
        output, errors = bot.communicate(timeout=20)
        assert output.startswith("offline: ")
        assert errors == ""
        assert bot.returncode == 0
    finally:
        bot.kill()
        bot.wait()


def test_the_script(url: str) -> None:
    with connect(url, "bob") as bob:
        bob.send("bob", "x")
        done = script(url, "alice", "bob", "are you there?")
        assert (done.returncode, done.stderr) == (0, "")
        assert [bob.receive(timeout=10).text for _ in range(2)] == ["x", "are you there?"]
        bob.send("alice", "yes")
    done = script(url, "alice", "bob", "good")
    assert done.stdout == "bob: yes\n"
    done = script(url, "alice", "nobody", "hello")
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert "Traceback" not in done.stderr
