"""docs/security.md: each line names a test that there is."""

from __future__ import annotations

import re

import pytest

from tests.docs.markdown import ROOT, read, tables

TEXT = read("security.md")
ROWS = [row for found in tables(TEXT) for row in found]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["what they try"])
def test_what_shows_it_is_there(row: dict[str, str]) -> None:
    assert row["what stops it"]
    if not row["shown by"]:
        return
    named = re.fullmatch(r"`([\w/]+\.py)::(test_\w+)`", row["shown by"])
    assert named is not None
    source = (ROOT / "tests" / named[1]).read_text()
    assert re.search(rf"^ *(async )?def {named[2]}\(", source, re.MULTILINE)


def test_few_lines_have_no_test() -> None:
    assert sum(not row["shown by"] for row in ROWS) == 2
