"""Parsing of a line typed in a conversation."""

from __future__ import annotations

from collections.abc import Collection

from chat_protocol.cli.commands import parse_command, send_text
from chat_protocol.cli.intents import Intent, NoIntent, SendText
from chat_protocol.cli.naming import BEFORE_COLON, typed_names

__all__ = ["parse_line"]


def parse_line(line: str, known: Collection[str] = (), screen: bool = False) -> Intent:
    """Return the intent of a line.

    ``NAME: text`` needs white space after the colon, so that ``http://`` is plain text. NAME must
    not contain white space, unless it is one of ``known``: an answer to ``bob b`` then needs no
    quotes.

    Args:
        line: the typed line.
        known: names of users the client has exchanged messages with.
        screen: whether to accept the commands of the full screen.
    """
    if not line.strip():
        return NoIntent()
    if line[0].isspace():
        return SendText(None, line.strip())
    if line.startswith("/"):
        return parse_command(line, known, screen)
    names, end = typed_names(line, BEFORE_COLON, sorted(known, key=len, reverse=True))
    rest = line[end:]
    if names and rest.startswith(":") and (len(rest) == 1 or rest[1].isspace()):
        return send_text(names, rest[1:])
    return SendText(None, line.rstrip())
