"""The documents, taken apart."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

Row = dict[str, str]


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """What stands below each heading of the second level."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def tables(text: str) -> list[list[Row]]:
    """The rows of each table, by the names of its columns."""
    found = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        lines = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in block.split("\n")
        ]
        columns, _, *rows = [line for line in lines if line != [""]]
        found.append([dict(zip(columns, row, strict=True)) for row in rows])
    return found


def table(text: str) -> list[Row]:
    """The rows of the only table, or of several with the same columns."""
    found = tables(text)
    assert found, "there is no table"
    assert len({tuple(rows[0]) for rows in found}) == 1
    return [row for rows in found for row in rows]


def clauses(text: str) -> list[str]:
    """The ids of all clauses, in the order of the text."""
    found = re.finditer(r"^(?:\*\*([A-Z]\d+)\.\*\* |\| ([A-Z]\d+) \|)", text, re.MULTILINE)
    return [match[1] or match[2] for match in found]


def examples(text: str) -> dict[str, bytes]:
    """The bytes of each example, by its id."""
    found = {}
    for part in re.split(r"^(?=\*\*E\d+\.\*\* )", text, flags=re.MULTILINE)[1:]:
        name = part[2:].partition(".")[0]
        (block,) = re.findall(r"^```hex\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
        found[name] = bytes.fromhex("".join(line.partition("|")[0] for line in block.splitlines()))
    return found
