"""Usernames (docs/protocol.md, clause S5)."""

from __future__ import annotations

import unicodedata

from chat_protocol.errors import InvalidUsername

__all__ = ["MAX_USERNAME", "normalize_username"]

MAX_USERNAME = 255
"""Size of the longest username, in bytes of UTF-8."""

_FORBIDDEN = {
    "Cc": "a control character",
    "Cf": "a format character",
    "Cs": "a surrogate",
    "Co": "a private-use character",
    "Cn": "an unassigned character",
}


def normalize_username(name: str) -> str:
    """Return the name in Unicode Normalization Form C, the form in which it is stored.

    Raises:
        InvalidUsername: the name is empty, is longer than MAX_USERNAME bytes before or after
            normalization, has white space at either end, or contains a forbidden character.
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
    if name != name.strip():
        raise InvalidUsername("a username cannot begin or end with white space")
    for character in name:
        kind = _FORBIDDEN.get(unicodedata.category(character))
        if kind is not None:
            raise InvalidUsername(
                f"a username cannot contain U+{ord(character):04X}, which is {kind}"
            )
    return name
