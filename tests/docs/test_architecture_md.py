"""docs/architecture.md against the program."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields

import chat_protocol
from chat_protocol.domain.delivery import NEXT
from chat_protocol.domain.exchange import POSITION_SECONDS, Exchange
from chat_protocol.domain.limits import Limits
from tests.docs.markdown import ROOT, read, sections, table
from tests.test_layers import RANKS

TEXT = read("architecture.md")
SECTIONS = sections(TEXT)


def test_it_is_one_page() -> None:
    assert len(TEXT.splitlines()) <= 147


def test_the_layers_are_those_of_the_package() -> None:
    layers = [
        ", ".join(package for package, its in RANKS.items() if its == rank)
        for rank in sorted(set(RANKS.values()))
    ]
    line = " <- ".join(layers)
    for text in (SECTIONS["Layers"], chat_protocol.__doc__ or ""):
        assert f" {line} " in f" {' '.join(text.split())} "


def test_each_package_has_a_row_and_a_module_to_begin_with() -> None:
    rows = {row["package"].strip("`"): row for row in table(SECTIONS["Layers"])}
    assert list(rows) == list(RANKS)
    for package, row in rows.items():
        assert row["what is in it"]
        paths = re.findall(r"`([^`]+)`", row["begin reading at"])
        assert paths
        assert all(path.startswith(f"{package}/") for path in paths), row


def test_the_transitions_of_a_delivery() -> None:
    rows = table(SECTIONS["Delivery"])
    found = {(row["in state"], row["on event"]): row["goes to"] for row in rows}
    assert len(found) == len(rows)
    assert found == {(state.name, event.name): to.name for (state, event), to in NEXT.items()}
    assert all(row["because"] for row in rows)


def test_the_steps_of_the_end_of_a_turn_are_in_their_order() -> None:
    (line,) = re.findall(r"-> end_of_turn: (.+)", TEXT)
    steps = line.split(" -> ")
    assert steps == ["lease", "positions", "admission", "commit", "deliver", "answer", "flush"]
    source = inspect.getsource(Exchange.end_of_turn)
    calls = ["._check_lease()", "._begin()", ".deliver(", ".answer(", ".flush()"]
    places = [source.index(call) for call in calls]
    assert places == sorted(places)
    explained = ", ".join(re.findall(r"^   - \*([^*]+)\*: ", TEXT, re.MULTILINE))
    assert explained.lower().split(", ") == steps


def test_how_late_a_position_is_stored() -> None:
    assert f"within {POSITION_SECONDS:g} s" in SECTIONS["Delivery"]


def test_the_limits_that_are_named_exist() -> None:
    known = {field.name for field in fields(Limits)}
    assert {row["limit"].strip("`") for row in table(SECTIONS["Backpressure"])} <= known


def test_the_files_that_are_named_exist() -> None:
    paths = set(re.findall(r"\b(?:[a-z]+/)*[a-z_]+\.py\b", TEXT))
    assert len(paths) > 20
    above = {path: ROOT if path.startswith("tests/") else ROOT / "chat_protocol" for path in paths}
    assert [path for path in sorted(paths) if not (above[path] / path).is_file()] == []


def test_the_scripts_that_are_named_exist() -> None:
    names = set(re.findall(r"`([a-z-]+\.js)`", TEXT))
    assert names
    static = ROOT / "chat_protocol" / "web" / "static"
    assert [name for name in names if not list(static.rglob(name))] == []


def test_the_classes_that_are_named_exist() -> None:
    named = set(re.findall(r"`([A-Z]\w*[a-z]\w*)(?:\.\w+)?`", TEXT))
    assert len(named) > 10
    sources = "".join(path.read_text() for path in (ROOT / "chat_protocol").rglob("*.py"))
    found = set(re.findall(r"^class (\w+)", sources, re.MULTILINE))
    assert named - found == set()


def test_the_familiar_parts_are_where_it_says() -> None:
    parts = re.findall(
        r"^- \*\*([^*]+)\*\*: ((?:.+\n)+?)(?=- |\n)", SECTIONS["Layers"], re.MULTILINE
    )
    found = {name: re.findall(r"`(\w+/\w+\.py)`", text)[0] for name, text in parts}
    for name, words in {
        "Int32StringReceiver": "class FrameReceiver(Int32StringReceiver)",
        "The dispatcher's table": "class Dispatcher",
        "The ServerFactory": "class ChatFactory(ServerFactory)",
    }.items():
        assert words in (ROOT / "chat_protocol" / found[name]).read_text()


def test_the_documents_that_are_linked_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []
