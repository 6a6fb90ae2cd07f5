"""docs/performance.md against the suite."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from benchmarks import soak, strangers
from benchmarks.cases import CASES
from benchmarks.program import main, parser
from benchmarks.report import BEGIN, END
from chat_protocol.domain.limits import Limits
from chat_protocol.service.tap import Options
from tests.docs.markdown import DOCS, ROOT

TEXT = (DOCS / "performance.md").read_text(encoding="utf-8")
WORDS, _, FIGURES = TEXT.partition(BEGIN)


def test_the_options_that_are_named_exist() -> None:
    programs = (parser(), soak.parser(), strangers.parser())
    known = "".join(one.format_help() for one in programs) + Options().getUsage()
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", WORDS)) - {"--quiet"}
    assert len(named) > 5
    assert [option for option in sorted(named) if option not in known] == []


def test_the_cases_that_are_named_exist() -> None:
    named = set(re.findall(r"`([a-z]+(?:-[0-9a-z]+)*)`", WORDS))
    known = {*CASES, "soak"} | {field.name for field in fields(Limits)}
    assert {"latency", "pairs-64", "users"} <= named
    assert named - known == set()


def test_the_files_that_are_named_exist() -> None:
    paths = re.findall(r"`([a-z_]+(?:/[a-z_]+)+\.py)`", WORDS)
    assert "benchmarks/floor.py" in paths
    assert all((ROOT / path).is_file() for path in paths)


def test_the_figures_have_their_place() -> None:
    assert TEXT.count(BEGIN) == TEXT.count(END) == 1
    assert FIGURES.strip().endswith(END)
    known = set(re.findall(r"^\*\*([a-z0-9-]+)\*\*: ", FIGURES, re.MULTILINE))
    assert known <= set(CASES)


def test_a_case_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--cases", "nothing"])
    assert "unknown case nothing" in capsys.readouterr().err
