"""docs/architecture.md against the program."""

from __future__ import annotations

import re
from dataclasses import fields

from chat_protocol.domain.delivery import _NEXT
from chat_protocol.domain.limits import Limits
from tests.docs.markdown import ROOT, read, sections, table

TEXT = read("architecture.md")
SECTIONS = sections(TEXT)


def test_it_is_one_page() -> None:
    assert len(TEXT.splitlines()) <= 140


def test_the_layers_are_those_of_the_package() -> None:
    import chat_protocol

    (line,) = [line for line in SECTIONS["Layers"].splitlines() if line.startswith("    wire")]
    assert line in (chat_protocol.__doc__ or "").splitlines()


def test_the_transitions_of_a_delivery() -> None:
    rows = table(SECTIONS["Delivery"])
    found = {(row["in state"], row["on event"]): row["goes to"] for row in rows}
    assert found == {(state.name, event.name): to.name for (state, event), to in _NEXT.items()}


def test_the_limits_that_are_named_exist() -> None:
    known = {field.name for field in fields(Limits)}
    assert {row["limit"].strip("`") for row in table(SECTIONS["Back-pressure"])} <= known


def test_the_files_that_are_named_exist() -> None:
    paths = set(re.findall(r"\b(?:[a-z]+/)*[a-z_]+\.py\b", TEXT))
    assert len(paths) > 10
    assert [path for path in sorted(paths) if not (ROOT / "chat_protocol" / path).is_file()] == []


def test_the_documents_that_are_linked_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []
