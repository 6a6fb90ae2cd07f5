"""README.md: what it names is there, and its examples are those of docs/examples."""

from __future__ import annotations

import re

from chat_protocol.service.tap import Options
from tests.docs.markdown import ROOT, sections

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SECTIONS = sections(TEXT)

EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_examples_are_programs_that_are_run() -> None:
    names = ["first_client.py", "embedded_server.py", "bare_factory.py"]
    texts = [(ROOT / "docs" / "examples" / name).read_text() for name in names]
    assert [text.partition('"""\n\n')[2] for text in texts] == EXAMPLES


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
