"""Each command of docs/operations.md, run against a server in the order of the text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.blackbox.client import Client
from tests.blackbox.mailbox import register
from tests.blackbox.server import Server, free_port
from tests.blackbox.wire import OK
from tests.docs.markdown import ROOT, read, sections

TEXT = read("operations.md")
SECTIONS = sections(TEXT)


def commands(section: str) -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```$", SECTIONS[section], re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n    ", "").splitlines()]
    return [line[2:] for line in lines if line.startswith("$ ")]


class Machine:
    """With the directories that the text names, below one of the test's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("var/lib/chat", "var/backups/chat", "etc/chat", "run/credentials", "tmp"):
            (root / folder).mkdir(parents=True)
        (root / "run/credentials/alice").write_text("secret\n")
        self._status = f"tcp:{free_port()}:interface=127.0.0.1"
        self.server = Server(
            root / "var/lib/chat",
            ["--store", f"sqlite:{root}/var/lib/chat/chat.db", "--status", self._status],
        )
        self.output: dict[str, str] = {}

    def run(self, command: str) -> None:
        if command == "systemctl stop chat":
            assert self.server.terminate() == 0
        elif command == "systemctl start chat":
            self.server.start()
        elif command == "systemctl restart chat":
            assert self.server.terminate() == 0
            self.server.start()
        elif command.startswith("twistd "):
            self._serve(command.partition("chatserver ")[2].split())
        elif command.startswith("curl "):
            self.output[command] = self._fetch(command.split()[-1])
        elif "/pip install " not in command:
            assert command.split()[0] in ("chatadmin", "openssl") or "chatclient " in command
            self.output[command] = self._sh(command)

    def _fetch(self, url: str) -> str:
        assert url.startswith("http://127.0.0.1:9105/")
        with urlopen(url.replace("9105", self._status.split(":")[1]), timeout=20) as page:
            text: str = page.read().decode()
        return text

    def _placed(self, text: str) -> str:
        text = text.replace("localhost:5555", f"127.0.0.1:{self.server.address[1]}")
        text = text.replace("tcp:9105:interface=127.0.0.1", self._status)
        return re.sub(r"(?<=[ :])/(?=(?:var|etc|run|tmp)/)", f"{self.root}/", text)

    def _sh(self, command: str) -> str:
        done = subprocess.run(
            ["sh", "-c", self._placed(command)],
            cwd=self.root,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
        )
        # What openssl says there is its progress.
        said = "" if command.startswith("openssl ") else done.stderr
        assert (done.returncode, said) == (0, ""), command
        return done.stdout

    def _serve(self, options: list[str]) -> None:
        """In the place of the server that runs."""
        assert self.server.terminate() == 0
        self.server = Server(
            self.root / "var/lib/chat", [self._placed(f" {option}")[1:] for option in options]
        )
        self.server.start()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def after_backup(machine: Machine) -> None:
    with Client(machine.server.address, "alice") as alice:
        assert alice.send("only until the restore", "bob") == OK


def restored(machine: Machine) -> None:
    with Client(machine.server.address, "bob") as bob:
        assert bob.receive().text == "kept"
        assert bob.send("fence", "bob") == OK
        assert bob.receive().text == "fence"
    assert (machine.root / "tmp/elsewhere.db").stat().st_size > 0


def deleted(machine: Machine) -> None:
    names = [output.split() for command, output in machine.output.items() if "list" in command]
    assert any("alice" in words for words in names)
    with Client(machine.server.address, "bob") as bob:
        assert bob.send("x", "alice") == 3


def watched(machine: Machine) -> None:
    alive, ready, metrics = machine.output.values()
    assert (alive, ready) == ("alive\n", "ready\n")
    names = set(re.findall(r"^# TYPE (chat_\w+) ", metrics, re.MULTILINE))
    assert names == {
        row.split("`")[1] for row in SECTIONS["Watch"].splitlines() if row.startswith("| `chat_")
    }


def met(machine: Machine) -> None:
    (metrics,) = (text for command, text in machine.output.items() if "curl" in command)
    assert 'chat_limits_met_total{limit="FREE_GUESSES"} 0.0' in metrics


def listed(machine: Machine) -> None:
    *_, output = machine.output.values()
    assert [line.split("\t")[0] for line in output.splitlines()] == ["alice", "bob"]


STEPS: dict[str, dict[int, Callable[[Machine], None]]] = {
    "Backup and restore": {2: after_backup, 6: restored},
    "Retention": {},
    "Users": {6: deleted},
    "Watch": {3: watched},
    "TLS": {3: listed, 4: listed},
    "Let strangers in": {3: listed, 4: met},
    "Upgrade": {},
}
"""What is looked at behind so many commands."""


@pytest.mark.parametrize("section", STEPS)
def test_every_command_works(section: str, machine: Machine) -> None:
    listed = commands(section)
    assert len(listed) > 2
    assert max(STEPS[section], default=0) <= len(listed)
    with machine.server:
        register(machine.server.address, "alice", "bob")
        with Client(machine.server.address, "alice") as alice:
            assert alice.send("kept", "bob") == OK
        for number, command in enumerate(listed, 1):
            machine.run(command)
            STEPS[section].get(number, _nothing)(machine)
        machine.server.check_log()
    machine.server.kill9()


def _nothing(machine: Machine) -> None:
    """Nothing to look at."""


def test_the_files_for_deployment_use_metrics_that_exist() -> None:
    known = {
        row.split("`")[1] for row in SECTIONS["Watch"].splitlines() if row.startswith("| `chat_")
    }
    for name in ("alerts.yml", "grafana-dashboard.json"):
        used = set(re.findall(r"\bchat_\w+", read(f"deploy/{name}")))
        assert used
        assert {re.sub("_bucket$", "", metric) for metric in used} <= known
    states = re.findall(r"\((\w+(?: \w+)?)\)", SECTIONS["Watch"].partition("`chat_sessions`")[2])
    assert {"paused", "catching up"} <= set(states[:2])


def test_no_section_with_commands_is_left_out() -> None:
    run = re.compile(r"^\$ (chatadmin|chatclient|curl) ", re.MULTILINE)
    assert {name for name, text in SECTIONS.items() if run.search(text)} == set(STEPS)


def test_the_documents_that_are_linked_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []
