"""Usernames (docs/protocol.md, clause S5)."""

from __future__ import annotations

import unicodedata

from chat_protocol.errors import InvalidUsername

__all__ = [
    "MAX_USERNAME",
    "canonical_username",
    "check_new_username",
    "is_hidden",
    "normalize_username",
]

MAX_USERNAME = 255
"""Size of the longest username, in bytes of UTF-8."""

_FORBIDDEN = {
    "Cc": "a control character",
    "Cf": "a format character",
    "Cs": "a surrogate",
    "Co": "a private-use character",
    "Cn": "an unassigned character",
}


_HIDDEN = frozenset(
    chr(code)
    for codes in (
        (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
        range(0x180B, 0x1810),
        range(0xFE00, 0xFE10),
        range(0xE0100, 0xE01F0),
    )
    for code in codes
)
"""Characters that show as nothing, beside those of the forbidden categories: the others with the
Unicode property Default_Ignorable_Code_Point, and U+2800, an empty Braille pattern."""


def canonical_username(name: str) -> str:
    """Return the name in Unicode Normalization Form C, the form in which it is stored.

    A registered user may have any such name, whatever rules were added since: see
    :func:`check_new_username`.

    Raises:
        InvalidUsername: no user has such a name: it is empty, is longer than MAX_USERNAME bytes
            before or after normalization, or contains U+0000.
    """
    if not name:
        raise InvalidUsername("a username has at least one character")
    try:
        size = len(name.encode()) if len(name) <= MAX_USERNAME else len(name)
    except UnicodeEncodeError as error:
        raise InvalidUsername(
            f"a username must be valid UTF-8; the character at index {error.start} is not"
        ) from None
    if size > MAX_USERNAME:
        raise InvalidUsername(f"a username has at most {MAX_USERNAME} bytes")
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
        if len(name.encode()) > MAX_USERNAME:
            raise InvalidUsername(f"a username has at most {MAX_USERNAME} bytes")
    if "\0" in name:
        raise _forbidden("\0")
    return name


def check_new_username(name: str) -> None:
    """Check whether a new user may have this name.

    Args:
        name: as :func:`canonical_username` returns it.

    Raises:
        InvalidUsername: it has white space at either end, or contains a character that is forbidden
            or shows as nothing.
    """
    if name != name.strip():
        raise InvalidUsername("a username cannot begin or end with white space")
    for character in name:
        if is_hidden(character):
            raise _forbidden(character)


def normalize_username(name: str) -> str:
    """Return the name of a new user in the form in which it is stored.

    Raises:
        InvalidUsername: see :func:`canonical_username` and :func:`check_new_username`.
    """
    name = canonical_username(name)
    check_new_username(name)
    return name


def is_hidden(character: str) -> bool:
    """Return whether no new username may contain the character, because readers do not see it."""
    return character in _HIDDEN or unicodedata.category(character) in _FORBIDDEN


def _forbidden(character: str) -> InvalidUsername:
    kind = _FORBIDDEN.get(unicodedata.category(character), "a character that shows as nothing")
    return InvalidUsername(f"a username cannot contain U+{ord(character):04X}, which is {kind}")
