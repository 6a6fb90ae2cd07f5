"""docs/examples: each program, as a user starts it."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from chat_protocol.client.version_1 import Version1Client
from chat_protocol.errors import Malformed
from chat_protocol.sync import connect
from tests.blackbox.server import TWISTD, Server, free_port
from tests.docs.markdown import ROOT

EXAMPLES = ROOT / "docs" / "examples"
PATIENCE = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def url(server: Server) -> str:
    return f"tcp:127.0.0.1:{server.address[1]}"


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, **options
    )


def example(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "default", str(EXAMPLES / name), *arguments]


@contextmanager
def running(
    command: Sequence[str], first: str = "", stop: int = signal.SIGINT, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """Run a program that prints ``first`` when it is ready, and must end without complaints."""
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes, **options) as process:
        try:
            assert process.stdout is not None
            assert not first or process.stdout.readline() == f"{first}\n"
            yield process
            process.send_signal(stop)
            _, errors = process.communicate(timeout=PATIENCE)
            assert "Traceback" not in errors
            assert "Warning" not in errors
        finally:
            process.kill()


def test_all_programs_are_run_here() -> None:
    folder = Path(__file__).parent
    source = Path(__file__).read_text() + (folder / "test_asyncio_examples.py").read_text()
    names = [path.stem for path in EXAMPLES.rglob("*") if path.suffix in (".py", ".tac", ".ipynb")]
    assert [name for name in names if name not in source and name != "echo_bot_plugin"] == []


def with_port(name: str, port: object, folder: Path) -> list[str]:
    """A program that has the port of the documents, with another one."""
    path = folder / name
    path.write_text((EXAMPLES / name).read_text().replace("5555", str(port)))
    return [sys.executable, "-W", "default", str(path)]


def test_the_first_client(server: Server, url: str, tmp_path: Path) -> None:
    command = with_port("first_client.py", server.address[1], tmp_path)
    # As on a terminal.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, env=environment)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "nobody has logged in as bob yet\n"
        with connect(url, "bob") as bob:
            bob.send("alice", "good morning")
            output, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert output == "bob good morning\n"
    with connect(url, "bob") as bob:
        bob.send("alice", "again")
        done = run(*command)
        assert (done.returncode, done.stdout, done.stderr) == (0, "bob again\n", "")
        assert bob.receive(timeout=10).text == "hello"


@pytest.mark.parametrize("name", ["embedded_server.py", "bare_factory.py"])
def test_an_embedded_server(name: str, tmp_path: Path) -> None:
    port = free_port()
    with (
        running(with_port(name, port, tmp_path), cwd=tmp_path),
        connect(f"tcp:127.0.0.1:{port}", "amy", attempts=None) as amy,
    ):
        amy.send("amy", "hello")
        assert amy.receive(timeout=10).text == "hello"
    assert (tmp_path / "chat.db").exists() == (name == "embedded_server.py")


def test_the_script_for_react(url: str) -> None:
    with connect(url, "rob") as rob:
        done = run(*example("react_script.py", url, "rea", "rob", "hello"))
        assert (done.returncode, done.stderr) == (0, "")
        assert {"rea", "rob"} <= set(done.stdout.split())
        assert rob.receive(timeout=10).text == "hello"
    done = run(*example("react_script.py", url, "rea", "nobody", "hello"))
    assert done.returncode == 1
    assert "there is no user nobody" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("by", ["echo_bot.tac", "plugin"])
def test_the_bot_under_twistd(by: str, url: str, tmp_path: Path) -> None:
    paths = [str(EXAMPLES), str(EXAMPLES / "plugin"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CHAT_SERVER": url}
    command = [str(TWISTD), "-n", "--pidfile=", "echobot", "--server", url]
    if by != "plugin":
        command = [str(TWISTD), "-ny", str(EXAMPLES / by), "--pidfile="]
    with (
        running(command, stop=signal.SIGTERM, env=environment, cwd=tmp_path),
        connect(url, f"eva {by}") as eva,
    ):
        while "echo" not in [user.name for page in eva.user_pages() for user in page]:
            pass
        eva.send("echo", "hello")
        assert eva.receive(timeout=PATIENCE).text == "hello"


@pytest.mark.skipif(find_spec("aiohttp") is None, reason="aiohttp is not installed")
def test_the_bot_beside_a_web_server(url: str) -> None:
    port = free_port()
    with running(example("web_bot.py", url, str(port)), "ready"), connect(url, "wes") as wes:

        def post(name: str) -> str:
            where = f"http://127.0.0.1:{port}/to/{name}"
            with urllib.request.urlopen(where, b"the build is broken", PATIENCE) as answer:
                return str(answer.read().decode())

        assert post("wes") == "stored\n"
        assert wes.receive(timeout=10).text == "the build is broken"
        with pytest.raises(urllib.error.HTTPError) as caught:
            post("nobody")
        assert (caught.value.code, caught.value.read()) == (404, b"there is no user nobody\n")


def test_the_bridge_may_be_killed(url: str, tmp_path: Path) -> None:
    with Server(tmp_path) as other, connect(url, "sue") as sue:
        target = f"tcp:127.0.0.1:{other.address[1]}"
        command = example("bridge.py", url, target, "tim", str(tmp_path / "bridge.json"))
        with connect(target, "tim") as tim:
            sent = 0
            for _ in range(5):
                bridge = subprocess.Popen(command, stderr=subprocess.DEVNULL)
                try:
                    while "bridge" not in [one.name for page in sue.user_pages() for one in page]:
                        pass
                    sue.send_many([("bridge", str(number)) for number in range(sent, sent + 20)])
                    sent += 20
                    # In the middle of it.
                    for _ in range(5):
                        tim.receive(timeout=PATIENCE)
                finally:
                    bridge.kill()
                    bridge.wait()
            with running(command):
                texts = [message.text for message in tim.messages(idle=3)]
            history = [one.text for page in tim.history_pages("bridge") for one in page[::-1]]
        assert history[::-1] == [f"sue: {number}" for number in range(sent)]
        assert texts[-1] == f"sue: {sent - 1}"


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.posted.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def test_a_server_with_hooks() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as web:
        web.posted = []  # type: ignore[attr-defined]
        threading.Thread(target=web.serve_forever, daemon=True).start()
        listen = f"tcp:{free_port()}:interface=127.0.0.1"
        hook = f"http://127.0.0.1:{web.server_port}/hook"
        url = listen.replace(":interface=127.0.0.1", "").replace("tcp:", "tcp:127.0.0.1:")
        with running(example("own_server.py", listen, hook), "serving"), connect(url, "hal") as hal:
            hal.send("hal", "open the doors")
            with pytest.raises(Malformed, match="not allowed here"):
                hal.send("hal", "the SwordFish")
            hal.send("hal", "please")
            assert [hal.receive(timeout=10).text for _ in range(2)] == ["open the doors", "please"]
        web.shutdown()
        # Each in a thread of its own.
        posted = sorted(web.posted, key=lambda one: one["offset"])  # type: ignore[attr-defined]
        assert [(one["from"], one["to"], one["text"]) for one in posted] == [
            ("hal", ["hal"], "open the doors"),
            ("hal", ["hal"], "please"),
        ]


def test_a_command_of_ones_own(url: str) -> None:
    port = free_port()
    listen = f"tcp:{port}:interface=127.0.0.1"
    with running(example("own_command.py", "serve", listen), "serving"):
        done = run(*example("own_command.py", "ask", f"tcp:127.0.0.1:{port}", "2", "40"))
        assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")
    done = run(*example("own_command.py", "ask", url, "2", "40"))
    assert done.returncode == 1
    assert "0x7001 is not a command" in done.stderr


def test_a_bot_in_the_server(tmp_path: Path) -> None:
    port = free_port()
    command = example("bot_in_server.py", f"tcp:{port}:interface=127.0.0.1")
    with (
        running(command, "serving", cwd=tmp_path),
        connect(f"tcp:127.0.0.1:{port}", "max") as guest,
    ):
        guest.send("counter", "hello")
        assert guest.receive(timeout=10).text == "There are 5 characters in it."


def test_a_client_of_version_1(url: str) -> None:
    assert Version1Client.__doc__
    with connect(url, "una") as una:
        command = example("version_1_client.py", url, "vic", "una")
        vic = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert vic.stdin is not None
            vic.stdin.write("hello\n")
            vic.stdin.flush()
            una.receive(timeout=PATIENCE).reply("welcome")
            assert vic.stdout is not None
            assert vic.stdout.readline() == "una: welcome\n"
            vic.communicate(timeout=PATIENCE)
        finally:
            vic.kill()
            vic.communicate()
        assert vic.returncode == 0
        done = run(*command, input="one\ntwo\n")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert [una.receive(timeout=PATIENCE).text for _ in range(2)] == ["one", "two"]
        with connect(url, "vic"):
            done = run(*command, input="")
            assert done.returncode == 1
            assert done.stderr.startswith(str(EXAMPLES / "version_1_client.py"))


def test_the_notebook(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_SERVER", url)
    shown = []
    names: dict[str, Any] = {}
    for cell in json.loads((EXAMPLES / "notebook.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            *lines, last = "".join(cell["source"]).splitlines()
            exec("\n".join(lines), names)
            shown.append(eval(last, names))
    assert shown[:4] == [2, "a note to myself", [None] * 3, ["line 0", "line 1", "line 2"]]
    assert "ada" in shown[4]


def test_the_tests_with_trial_and_pytest(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES)}
    trial = run(str(TWISTD.with_name("trial")), "test_with_trial", cwd=tmp_path, env=environment)
    assert "PASSED (successes=2)" in trial.stdout
    done = run(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("-p", "no:xdist", "-c", os.devnull, str(EXAMPLES / "test_with_pytest.py")),
        cwd=tmp_path,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert "2 passed" in done.stdout
