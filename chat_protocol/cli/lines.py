"""What a line means that was typed in a conversation."""

from __future__ import annotations

from collections.abc import Collection

from chat_protocol.cli.commands import parse_command, say
from chat_protocol.cli.intents import Nothing, Say, Wish
from chat_protocol.cli.naming import BEFORE_COLON, typed_names

__all__ = ["parse_line"]


def parse_line(line: str, known: Collection[str] = (), screen: bool = False) -> Wish:
    """Find out what a line means.

    ``NAME: text`` needs white space behind the colon, so that ``http://`` is plain text, and a
    name without any; names of ``known``, with whom one has talked, are recognised whatever they
    are made of: who answers ``bob b`` does not mean somebody else.

    Args:
        line: what was typed.
        known: see above.
        screen: whether the commands of the full screen are there.
    """
    if not line.strip():
        return Nothing()
    if line[0].isspace():
        return Say(None, line.strip())
    if line.startswith("/"):
        return parse_command(line, known, screen)
    names, end = typed_names(line, BEFORE_COLON, sorted(known, key=len, reverse=True))
    rest = line[end:]
    if names and rest.startswith(":") and (len(rest) == 1 or rest[1].isspace()):
        return say(names, rest[1:])
    return Say(None, line.rstrip())
