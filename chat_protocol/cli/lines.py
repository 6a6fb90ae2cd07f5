"""What a line means that was typed in a conversation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["HELP", "Help", "Mistake", "Nothing", "Quit", "Say", "parse_line"]

HELP = """\
  bob: text          send text to bob, and what follows too
  /msg bob text      the same
  "bob b": text      quotes around a name with spaces, colons or quotes in it;
  /msg "bob b" text  \\" and \\\\ stand for a quote and a backslash
  text               send to whom you wrote last
   text              with a space in front: the same, whatever it looks like
  /help              this
  /quit              leave, as does Ctrl-D"""


@dataclass(frozen=True, slots=True)
class Say:
    """Send ``text``; to whom one wrote last if ``recipient`` is None."""

    recipient: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave."""


@dataclass(frozen=True, slots=True)
class Help:
    """Show the help."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """An empty line."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """Nothing to do but to say a sentence."""

    sentence: str


_QUOTED = r'"(?P<quoted>(?:[^"\\]|\\.)*)"'
_NAME = rf"(?:{_QUOTED}|(?P<plain>[^\s\":]+))"
_ADDRESSED = re.compile(rf"{_NAME}:(?:\s+(?P<text>.*))?", re.DOTALL)
_MSG_ARGUMENTS = re.compile(rf"\s+(?:{_QUOTED}|(?P<plain>[^\s\"]+))(?:\s+(?P<text>.*))?", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def parse_line(line: str, known: Iterable[str] = ()) -> Say | Quit | Help | Nothing | Mistake:
    """Find out what a line means.

    ``NAME: text`` needs white space behind the colon, so that ``http://`` is plain text, and a
    name without any; names of ``known``, with whom one has talked, are recognised whatever they
    are made of: who answers ``bob b`` does not mean somebody else.
    """
    if not line.strip():
        return Nothing()
    if line[0].isspace():
        return Say(None, line.strip())
    if line.startswith("/"):
        return _command(line)
    for name in sorted(known, key=len, reverse=True):
        if line.startswith(f"{name}: "):
            return _say(name, line[len(name) + 1 :])
    match = _ADDRESSED.fullmatch(line)
    if match is not None:
        return _say(_name(match), match["text"])
    return Say(None, line.rstrip())


def _command(line: str) -> Say | Quit | Help | Mistake:
    word = line.split(maxsplit=1)[0]
    if word == "/quit":
        return Quit()
    if word == "/help":
        return Help()
    if word != "/msg":
        return Mistake(f"there is no {word}; /help shows what there is")
    match = _MSG_ARGUMENTS.fullmatch(line[len(word) :])
    if match is None:
        return Mistake('write /msg NAME text, or /msg "NAME WITH SPACES" text')
    return _say(_name(match), match["text"])


def _name(match: re.Match[str]) -> str:
    plain: str | None = match["plain"]
    return _ESCAPE.sub(r"\1", match["quoted"]) if plain is None else plain


def _say(name: str, text: str | None) -> Say | Mistake:
    text = (text or "").strip()
    if not name:
        return Mistake("a name cannot be empty")
    if not text:
        return Mistake("there is no text to send behind the name")
    return Say(name, text)
