"""What a line means that was typed in a conversation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "HELP",
    "Help",
    "Mistake",
    "Nothing",
    "Quit",
    "Say",
    "ShowHistory",
    "ShowUsers",
    "Wish",
    "parse_line",
]

HELP = """\
  bob: text          send text to bob, and what follows too
  bob, carol: text   to several at once
  /msg bob text      the same as bob: text; /msg bob,carol text
  "bob b": text      quotes around a name with spaces, commas, colons or quotes
                     in it; \\" and \\\\ stand for a quote and a backslash
  text               send to whom you wrote last
   text              with a space in front: the same, whatever it looks like
  /all text          send to every user, this once
  /users             who there is, and who is here
  /history           what was said, with whom you write to, or with all;
                     /history bob, /history 50, /history bob 50
  /help              this
  /quit              leave, as does Ctrl-D"""

DEFAULT_HISTORY = 20
"""Messages that /history shows."""


@dataclass(frozen=True, slots=True)
class Say:
    """Send ``text``; to whom one wrote last if ``to`` is None, to everyone if it is empty."""

    to: tuple[str, ...] | None
    text: str


@dataclass(frozen=True, slots=True)
class ShowUsers:
    """Show who there is."""


@dataclass(frozen=True, slots=True)
class ShowHistory:
    """Show the newest messages; with whom one wrote last, or with all, if ``with_`` is None."""

    with_: str | None
    limit: int


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


Wish = Say | ShowUsers | ShowHistory | Quit | Help | Nothing | Mistake

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_COMMA = re.compile(r",\s*")
_BEFORE_COLON = re.compile(r'[^\s":,]+')
_BEFORE_SPACE = re.compile(r'[^\s",]+')
_NUMBER = re.compile(r"[0-9]{1,9}")


def parse_line(line: str, known: Iterable[str] = ()) -> Wish:
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
        return _command(line, known)
    names, end = _names(line, 0, _BEFORE_COLON, sorted(known, key=len, reverse=True))
    rest = line[end:]
    if names and rest.startswith(":") and (len(rest) == 1 or rest[1].isspace()):
        return _say(names, rest[1:])
    return Say(None, line.rstrip())


def _command(line: str, known: Iterable[str]) -> Wish:
    word, *after = line.split(maxsplit=1)
    rest = "".join(after)
    if word == "/msg":
        return _msg(rest)
    if word == "/all":
        return Say((), rest.strip()) if rest.strip() else Mistake("write /all text")
    if word == "/history":
        return _history(rest.strip(), known)
    simple: dict[str, Wish] = {"/quit": Quit(), "/help": Help(), "/users": ShowUsers()}
    return simple.get(word, Mistake(f"there is no {word}; /help shows what there is"))


def _msg(rest: str) -> Wish:
    names, end = _names(rest, 0, _BEFORE_SPACE, ())
    if not names or not (end == len(rest) or rest[end].isspace()):
        return Mistake('write /msg NAME text, /msg NAME,NAME text or /msg "NAME WITH SPACES" text')
    return _say(names, rest[end:])


def _history(rest: str, known: Iterable[str]) -> Wish:
    """A number, a name, or a name and a number; a name of digits needs quotes."""
    head, _, last = rest.rpartition(" ")
    limit = DEFAULT_HISTORY
    if _NUMBER.fullmatch(last) and rest not in known:
        limit, rest = int(last), head.strip()
    if limit < 1:
        return Mistake("/history shows 1 message or more")
    if not rest:
        return ShowHistory(None, limit)
    if rest in known:
        return ShowHistory(rest, limit)
    names, end = _names(rest, 0, re.compile(r'[^\s"]+'), ())
    if len(names) != 1 or end != len(rest) or not names[0]:
        return Mistake('write /history, /history NAME or /history "NAME WITH SPACES" 50')
    return ShowHistory(names[0], limit)


def _names(
    line: str, start: int, plain: re.Pattern[str], known: Iterable[str]
) -> tuple[tuple[str, ...], int]:
    """Names with commas between them, and where they end; none if something else is there."""
    names: list[str] = []
    while True:
        name, start = _name(line, start, plain, known)
        if name is None:
            return (), start
        names.append(name)
        comma = _COMMA.match(line, start)
        if comma is None:
            return tuple(names), start
        start = comma.end()


def _name(
    line: str, start: int, plain: re.Pattern[str], known: Iterable[str]
) -> tuple[str | None, int]:
    for name in known:
        end = start + len(name)
        behind = line[end : end + 2]
        if line.startswith(name, start) and (behind.strip() == ":" or behind[:1] == ","):
            return name, end
    quoted = _QUOTED.match(line, start)
    if quoted is not None:
        return _ESCAPE.sub(r"\1", quoted[1]), quoted.end()
    match = plain.match(line, start)
    return (None, start) if match is None else (match[0], match.end())


def _say(names: tuple[str, ...], text: str) -> Say | Mistake:
    text = text.strip()
    if "" in names:
        return Mistake("a name cannot be empty")
    if not text:
        return Mistake("there is no text to send behind the name")
    return Say(names, text)
