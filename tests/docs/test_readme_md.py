"""README.md: its examples are run, and what it names is there."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import endpoints, reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint

from chat_protocol.client import ChatClient
from chat_protocol.service.tap import Options
from chat_protocol.testing import MemoryServer
from tests.blackbox.server import free_port
from tests.docs.markdown import ROOT, sections

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SECTIONS = sections(TEXT)

EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def run(example: str, **names: Any) -> tuple[Deferred[None], dict[str, Any]]:
    """Run an example, which may await, as a coroutine; its names are in the dict afterwards."""
    code = f"async def main():\n{textwrap.indent(example, '    ')}\n    found.update(locals())\n"
    found: dict[str, Any] = {}
    space = {"found": found, **names}
    exec(compile(code, "README.md", "exec"), space)
    return Deferred.fromCoroutine(space["main"]()), found


def test_there_are_these_examples() -> None:
    client, service, factory = EXAMPLES
    assert ("ChatClient(" in client, "ChatService(" in service) == (True, True)
    assert "ChatFactory(" in factory
    for example in EXAMPLES:
        compile(example, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_client(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    server = MemoryServer()
    monkeypatch.setattr(endpoints, "clientFromString", lambda reactor, text: server.endpoint())
    bob = ChatClient(server.endpoint(), "bob", server.clock)
    bob.startService()
    server.run(bob.users())
    done, _ = run(EXAMPLES[0], reactor=server.clock)
    server.advance(1)
    assert [(one.from_, one.message) for one in server.received] == [("alice", "hello")]
    server.run(bob.send("alice", "hi"))
    server.advance(1)
    assert capsys.readouterr().out == "bob hi\n"
    done.cancel()
    done.addErrback(lambda failure: None)
    server.run(bob.stopService())


@pytest_twisted.ensureDeferred
async def test_the_server_as_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    port = free_port()
    done, found = run(EXAMPLES[1].replace("5555", str(port)), reactor=reactor)
    await done
    await _talk(port)
    await found["service"].stopService()
    assert (tmp_path / "chat.db").exists()


@pytest_twisted.ensureDeferred
async def test_the_server_as_a_factory() -> None:
    port = free_port()
    example = EXAMPLES[2].replace("reactor.listenTCP", "listening = reactor.listenTCP")
    done, found = run(example.replace("5555", str(port)), reactor=reactor)
    await done
    await _talk(port)
    await found["listening"].stopListening()
    await found["factory"].shut_down()


async def _talk(port: int) -> None:
    clock: Any = reactor
    alice = ChatClient(TCP4ClientEndpoint(clock, "127.0.0.1", port), "alice", clock)
    alice.startService()
    await alice.send("alice", "hello")
    await alice.stopService()


def test_the_files_that_are_named_exist() -> None:
    named = set(re.findall(r"`((?:chat_protocol|docs|tests)/[^`…]+)`", TEXT))
    named |= set(re.findall(r"\]\(([^)#:]+)\)", TEXT))
    named.discard("chat_protocol/stores/yours/")
    assert len(named) > 15
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_the_modules_that_are_named_exist() -> None:
    named = set(re.findall(r"`(chat_protocol(?:\.\w+)+)`", TEXT))
    assert len(named) > 2
    for name in named:
        path = ROOT / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


def test_the_parts_that_are_named_are_where_it_says() -> None:
    text = SECTIONS["Extend it"]
    for words, path in {
        "class FrameReceiver(Int32StringReceiver)": "chat_protocol/transport/framing.py",
        "class ChatProtocol(FrameReceiver)": "chat_protocol/server/connection.py",
        "class Dispatcher": "chat_protocol/server/dispatcher.py",
        "class ChatFactory(ServerFactory)": "chat_protocol/server/factory.py",
        "class IStore(": "chat_protocol/domain/ports.py",
        "class Ledger(": "chat_protocol/domain/admission.py",
        "def make_store(": "tests/stores/conftest.py",
        "\nSTORES = ": "chat_protocol/stores/registry.py",
    }.items():
        assert f"`{path}`" in text
        assert words in (ROOT / path).read_text()
    routes = (ROOT / "chat_protocol/server/factory.py").read_text()
    assert re.search(r"\bRoute\(commands\.\w+, self\.handle_\w+\)", routes)


def test_the_options_that_are_named_exist() -> None:
    named = set(re.findall(r"--([a-z][a-z0-9-]+)", SECTIONS["Run it in production"]))
    client = (ROOT / "chat_protocol/cli/options.py").read_text()
    of_client = {name for name in named if re.search(rf'\[\s*"{name}",', client)}
    assert {"tls", "ca"} <= of_client
    assert named - of_client <= set(Options().docs)
