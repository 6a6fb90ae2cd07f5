"""What a username may be (docs/protocol.md, clause S5)."""

from __future__ import annotations

import unicodedata

from chat_protocol.errors import InvalidUsername

__all__ = ["MAX_USERNAME", "normalise_username"]

MAX_USERNAME = 255
"""Bytes of the longest username, in UTF-8."""

_FORBIDDEN = {
    "Cc": "a control character",
    "Cf": "a format character",
    "Cs": "a surrogate",
    "Co": "a private-use character",
    "Cn": "an unassigned character",
}


def normalise_username(name: str) -> str:
    """The name in Unicode's normal form C, in which it is stored and compared.

    Raises:
        InvalidUsername: it is empty, longer than MAX_USERNAME bytes before or after
            normalisation, has white space at an end, or a character that no name may have.
    """
    if not name:
        raise InvalidUsername("a username has at least one character")
    try:
        size = len(name.encode()) if len(name) <= MAX_USERNAME else len(name)
    except UnicodeEncodeError as error:
        raise InvalidUsername(f"a username is text in UTF-8; at {error.start} it is none") from None
    if size > MAX_USERNAME:
        raise InvalidUsername(f"a username has at most {MAX_USERNAME} bytes")
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
        if len(name.encode()) > MAX_USERNAME:
            raise InvalidUsername(f"a username has at most {MAX_USERNAME} bytes")
    if name != name.strip():
        raise InvalidUsername("a username has no white space at either end")
    for character in name:
        kind = _FORBIDDEN.get(unicodedata.category(character))
        if kind is not None:
            raise InvalidUsername(f"U+{ord(character):04X} is {kind}, which no username may have")
    return name
