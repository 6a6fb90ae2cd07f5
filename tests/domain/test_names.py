"""What a username may be."""

from __future__ import annotations

import pytest

from chat_protocol.domain.names import normalize_username
from chat_protocol.errors import InvalidUsername


@pytest.mark.parametrize(
    "name", ["a", "user1", "Ann Smith", "jürgen", "日本", "x" * 255, "é" * 127]
)
def test_good_names_stay(name: str) -> None:
    assert normalize_username(name) == name


def test_names_are_composed() -> None:
    assert normalize_username("e\u0301") == "\u00e9"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "at least one"),
        ("x" * 256, "255 bytes"),
        ("é" * 128, "255 bytes"),
        ("\u0958" * 60 + "x" * 75, "255 bytes"),
        (" a", "white space"),
        ("a\u3000", "white space"),
        ("a\n", "white space"),
        ("a\x00b", "control"),
        ("a\x7fb", "control"),
        ("a\u202eb", "format"),
        ("a\ue000", "private-use"),
        ("a\u0378", "unassigned"),
        ("ab\udcff", "must be valid UTF-8; the character at index 2 is not"),
    ],
)
def test_bad_names_are_refused_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(InvalidUsername, match=why):
        normalize_username(name)
