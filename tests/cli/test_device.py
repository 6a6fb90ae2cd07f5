"""The device of this machine: names, locks and tokens in the state directory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.python.usage import UsageError

from chat_protocol.cli.device import Device, open_device, open_sender, state_directory

HOLD = """
import os, sys, time
from chat_protocol.cli.device import open_device
device = open_device("host:5555", "alice", os.environ)
device.keep("token of " + device.name)
print(device.name, flush=True)
time.sleep(60)
"""


class Machine:
    """Opens devices, and closes them in the end."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ
        self._opened: list[Device] = []

    def device(
        self, server: str = "host:5555", user: str = "alice", name: str | None = None
    ) -> Device:
        self._opened.append(open_device(server, user, self.environ, name))
        return self._opened[-1]

    def process(self) -> tuple[subprocess.Popen[str], str]:
        """Another process with a device; return its name as well."""
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD], env=self.environ, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    def close(self) -> None:
        for device in self._opened:
            device.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine({**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")})
    yield machine
    machine.close()


def test_the_name_is_chosen_once_for_each_user_and_server(machine: Machine) -> None:
    first = machine.device()
    first.close()
    again = machine.device()
    assert again.name == first.name
    assert re.fullmatch(r"cli-[0-9a-f]{12}", first.name)
    names = {first.name, machine.device(user="bob").name, machine.device(server="host:6666").name}
    assert len(names) == 3
    again.close()
    assert machine.device(user="alice").name == first.name


def test_processes_at_the_same_time_have_numbers_that_are_used_again(machine: Machine) -> None:
    first = machine.device()
    process, second = machine.process()
    third = machine.device()
    assert [second, third.name] == [f"{first.name}-2", f"{first.name}-3"]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert machine.device().name == second


def test_a_name_of_ones_own_is_held_by_one_process(machine: Machine) -> None:
    first = machine.device(name="desk")
    assert first.name == "desk"
    with pytest.raises(UsageError, match="--device desk: another chatclient is this device now"):
        machine.device(name="desk")
    first.close()
    assert machine.device(name="desk").name == "desk"


def test_a_numbered_name_can_be_given_and_is_held_by_one_process(machine: Machine) -> None:
    machine.device()
    second = machine.device()
    with pytest.raises(UsageError, match="another chatclient is this device now"):
        machine.device(name=second.name)
    second.close()
    given = machine.device(name=second.name)
    assert given.name == second.name
    assert machine.device().name.endswith("-3")


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"device": 1}', '{"device": "a b"}'])
def test_a_damaged_file_is_said_and_kept(machine: Machine, text: str) -> None:
    machine.device().close()
    (path,) = state_directory(machine.environ).glob("*/device.json")
    path.write_text(text)
    device = machine.device()
    assert device.name == ""
    assert f"{path}: it is damaged; remove it to get a new device" in device.problem
    assert "it is the unnamed device now" in device.problem
    assert path.read_text() == text
    path.unlink()
    assert machine.device().name.startswith("cli-")


def test_tokens_are_the_own_one_and_then_the_newest_of_the_others(machine: Machine) -> None:
    one, two, three = machine.device(), machine.device(), machine.device()
    assert one.tokens() == []
    for age, device in enumerate((two, three, one)):
        device.keep(f"token of {device.name}")
        (path,) = [
            path
            for path in state_directory(machine.environ).glob("*/*.token")
            if path.read_text().endswith(f" {device.name}")
        ]
        os.utime(path, (1000 + age, 1000 + age))
    expected = [f"token of {device.name}" for device in (one, three, two)]
    assert one.tokens() == expected
    assert open_sender("host:5555", "alice", machine.environ).tokens() == expected
    assert open_sender("host:5555", "bob", machine.environ).tokens() == []
    two.keep("newer")
    assert two.tokens()[0] == "newer"


def test_only_the_user_can_read_it(machine: Machine) -> None:
    machine.device().keep("secret")
    folder = state_directory(machine.environ)
    modes = {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert (folder.stat().st_mode & 0o777, next(folder.iterdir()).stat().st_mode & 0o777) == (
        *(0o700, 0o700),
    )


def test_processes_that_only_send_have_names_of_their_own(machine: Machine) -> None:
    names = {open_sender("host:5555", "alice", machine.environ).name for _ in range(10)}
    assert len(names) == 10
    assert machine.device().name not in names


def test_without_a_state_directory_it_is_the_unnamed_device(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environ = {"XDG_STATE_HOME": str(tmp_path / "file")}
    device = open_device("host:5555", "alice", environ)
    assert device.name == ""
    assert "Set XDG_STATE_HOME to a directory that you can write to" in device.problem
    device.keep("token")
    assert device.tokens() == []
    sender = open_sender("host:5555", "alice", environ)
    assert sender.name
    assert "the server may refuse it beside another chatclient" in sender.problem


@pytest.mark.parametrize("home", ["", "relative", None])
def test_without_a_home_directory_it_is_the_unnamed_device(
    monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    def getpwuid(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", getpwuid)
    environ = {} if home is None else {"HOME": home}
    device = open_device("host:5555", "alice", environ, "desk")
    assert device.name == "desk"
    assert "there is no home directory" in device.problem


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_STATE_HOME": "/x", "HOME": "/home/a"}, "/x/chat-protocol"),
        ({"XDG_STATE_HOME": "x", "HOME": "/home/a"}, "/home/a/.local/state/chat-protocol"),
        ({"HOME": "/home/a"}, "/home/a/.local/state/chat-protocol"),
    ],
)
def test_the_directory_is_that_of_the_specification(environ: dict[str, str], expected: str) -> None:
    assert str(state_directory(environ)) == expected
