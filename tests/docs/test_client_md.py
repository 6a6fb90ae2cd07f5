"""docs/client.md against the library; tests/client/test_restart.py runs its example."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import chat_protocol.client
from chat_protocol import sync
from chat_protocol.client import State
from tests.blackbox.server import Server
from tests.docs.markdown import ROOT, read, sections, table

TEXT = read("client.md")
SECTIONS = sections(TEXT)

BESIDE_TWISTED = "asyncio, and code that blocks"

UNITS = {"messages": 1, "s": 1, "MiB": 1024 * 1024, "times": 1}


def constants() -> dict[str, float]:
    """The public constants of the library's modules."""
    found = {}
    for module in pkgutil.iter_modules(chat_protocol.client.__path__):
        names = vars(importlib.import_module(f"chat_protocol.client.{module.name}"))
        found.update({name: value for name, value in names.items() if name.isupper()})
    return found


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 240


def test_the_states_are_those_of_the_client() -> None:
    rows = table(SECTIONS["The life of a client"])
    assert [row["state"].strip("`") for row in rows] == [state.name for state in State]


def test_the_limits_have_their_values() -> None:
    known = constants()
    found = {}
    for row in table(SECTIONS["Limits"]):
        names = re.findall(r"`(\w+)`", row["limit"])
        values = row["value"].split(", ")
        for name, value in zip(names, values, strict=True):
            number, unit = value.split()
            found[name] = float(number.replace(",", "")) * UNITS[unit]
    assert len(found) > 10
    assert found == {name: known[name] for name in found}


def test_the_parameters_that_set_limits_exist() -> None:
    parameters = set(re.findall(r"; `(\w+)` \|$", SECTIONS["Limits"], re.MULTILINE))
    assert len(parameters) == 6
    code = chat_protocol.client.ChatClient.__init__.__code__
    assert parameters <= set(code.co_varnames)


def test_the_documents_that_are_linked_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []


def test_the_clauses_that_are_named_exist() -> None:
    protocol = read("protocol.md")
    named = set(re.findall(r"\bS\d+\b", TEXT))
    assert named
    assert [clause for clause in named if f"**{clause}.**" not in protocol] == []


def test_the_examples_for_asyncio_and_for_scripts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop, block = re.findall(r"```python\n(.*?)```", SECTIONS[BESIDE_TWISTED], re.DOTALL)
    with Server(tmp_path, ["--store", "memory:"]) as server:
        url = f"tcp:127.0.0.1:{server.address[1]}"
        with sync.connect(url, "bob") as bob:
            bob.send_to_all("x")
            exec(block.replace("tcp:localhost:5555", url), {})
            assert (message := bob.receive(timeout=10)).text == "hello"
            assert message.sender == "alice"
            bob.send("alice", "hi")
            exec(block.replace("tcp:localhost:5555", url), {})
            assert capsys.readouterr().out == "bob hi\n"
            program = subprocess.Popen(
                [sys.executable, "-u", "-c", loop.replace("tcp:localhost:5555", url)],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert program.stdout is not None
            bob.send("alice", "to the loop")
            assert program.stdout.readline() == "bob to the loop\n"
            program.kill()
            program.communicate()
