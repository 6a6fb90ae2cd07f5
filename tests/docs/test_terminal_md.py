"""docs/terminal.md against the full screen."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

pytest.importorskip("prompt_toolkit")

import chat_protocol.cli.screen
from chat_protocol.cli.commands import COMMANDS
from chat_protocol.cli.screen.frame import SIDEBAR_MIN_WIDTH
from tests.docs.markdown import ROOT, read, sections, table

TEXT = read("terminal.md")
SECTIONS = sections(TEXT)


def constants() -> dict[str, object]:
    """The public constants of the screen's modules."""
    found: dict[str, object] = {}
    for module in pkgutil.iter_modules(chat_protocol.cli.screen.__path__):
        names = vars(importlib.import_module(f"{chat_protocol.cli.screen.__name__}.{module.name}"))
        found.update({name: value for name, value in names.items() if name.isupper()})
    return found


def test_the_limits_have_their_values() -> None:
    known = constants()
    rows = table(SECTIONS["Limits"])
    assert len(rows) > 8
    for row in rows:
        number, _ = row["value"].split()
        assert known[row["limit"].strip("`")] == float(number.replace(",", "")), row


def test_each_command_is_described() -> None:
    rows = table(SECTIONS["Commands"])
    described = [row["command"].strip("`").split()[0] for row in rows]
    assert described == list(COMMANDS)
    for row, command in zip(rows, COMMANDS.values(), strict=True):
        assert ("full screen only" in row["what it does"]) is command.screen_only


def test_the_width_that_is_named() -> None:
    assert f"fewer than {SIDEBAR_MIN_WIDTH} columns" in TEXT


def test_the_pictures_exist_and_are_small() -> None:
    links = set(re.findall(r"\]\((screenshots/[^)]+)\)", TEXT))
    assert len(links) == 3
    for link in links:
        assert (ROOT / "docs" / link).stat().st_size < 200_000
