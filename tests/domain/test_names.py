"""What a username may be."""

from __future__ import annotations

import pytest

from chat_protocol.domain.names import canonical_username, normalize_username
from chat_protocol.errors import InvalidUsername

HIDDEN = [
    *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180F, 0x2800, 0x3164),
    *(0xFE00, 0xFE0F, 0xFFA0, 0xE0100, 0xE01EF),
]


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
        *((f"a{chr(code)}b", "shows as nothing") for code in HIDDEN),
        ("ab\udcff", "must be valid UTF-8; the character at index 2 is not"),
    ],
)
def test_bad_names_are_refused_with_the_reason(name: str, why: str) -> None:
    # Older versions of Python have older versions of Unicode.
    with pytest.raises(InvalidUsername, match=f"{why}|unassigned"):
        normalize_username(name)


@pytest.mark.parametrize("name", [" a", "a\u3164", "a\u202eb", "a\nb", "a\u0378"])
def test_an_older_user_may_have_a_name_that_no_new_one_gets(name: str) -> None:
    assert canonical_username(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [("", "at least one"), ("x" * 256, "255"), ("\udcff", "UTF-8"), ("a\0", "control")],
)
def test_no_user_ever_has_such_a_name(name: str, why: str) -> None:
    # Older versions of Python have older versions of Unicode.
    with pytest.raises(InvalidUsername, match=f"{why}|unassigned"):
        canonical_username(name)
