"""The slash commands: each is declared once, for the line mode and for the full screen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chat_protocol.cli.intents import (
    CloseTalk,
    Help,
    Mistake,
    OpenTalk,
    Quit,
    Ring,
    Say,
    ShowHistory,
    ShowUsers,
    Wish,
)
from chat_protocol.cli.naming import BEFORE_SPACE, typed_names

__all__ = ["COMMANDS", "DEFAULT_HISTORY", "SlashCommand", "help_text", "parse_command", "say"]

DEFAULT_HISTORY = 20
"""Messages that /history shows."""

_NUMBER = re.compile(r"[0-9]{1,9}")
_NAME_BEFORE_NUMBER = re.compile(r'[^\s"]+')

_NEEDS_NAME = 'write {0} NAME{1}, {0} NAME,NAME{1} or {0} "NAME WITH SPACES"{1}'


@dataclass(frozen=True)
class SlashCommand:
    """What begins with a slash.

    Args:
        name: with the slash.
        help: what to type, and what it does, in rows.
        parse: what is wanted, from what stands behind the name and the names of those one knows.
        takes_names: whether names stand behind it, for completion.
        screen_only: whether the line mode does without.
    """

    name: str
    help: tuple[tuple[str, str], ...]
    parse: Callable[[str, Iterable[str]], Wish]
    takes_names: bool = False
    screen_only: bool = False


def say(names: tuple[str, ...], text: str) -> Say | Mistake:
    """Send a text to users; a Mistake if one of both is missing."""
    text = text.strip()
    if "" in names:
        return Mistake("a name cannot be empty")
    if not text:
        return Mistake("there is no text to send behind the name")
    return Say(names, text)


def _msg(rest: str, _: Iterable[str]) -> Wish:
    names, end = typed_names(rest, BEFORE_SPACE)
    if not names or not (end == len(rest) or rest[end].isspace()):
        return Mistake(_NEEDS_NAME.format("/msg", " text"))
    return say(names, rest[end:])


def _all(rest: str, _: Iterable[str]) -> Wish:
    return Say((), rest.strip()) if rest.strip() else Mistake("write /all text")


def _query(rest: str, known: Iterable[str]) -> Wish:
    rest = rest.strip()
    if rest in known:
        return OpenTalk((rest,))
    names, end = typed_names(rest, BEFORE_SPACE)
    if not names or end != len(rest) or "" in names:
        return Mistake(_NEEDS_NAME.format("/query", ""))
    return OpenTalk(names)


def _history(rest: str, known: Iterable[str]) -> Wish:
    """A number, a name, or a name and a number; a name of digits needs quotes."""
    rest = rest.strip()
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
    names, end = typed_names(rest, _NAME_BEFORE_NUMBER)
    if len(names) != 1 or end != len(rest) or not names[0]:
        return Mistake('write /history, /history NAME or /history "NAME WITH SPACES" 50')
    return ShowHistory(names[0], limit)


def _bell(rest: str, _: Iterable[str]) -> Wish:
    choices: dict[str, bool | None] = {"on": True, "off": False, "": None}
    wanted = rest.strip()
    return Ring(choices[wanted]) if wanted in choices else Mistake("write /bell on or /bell off")


def _just(wish: Wish) -> Callable[[str, Iterable[str]], Wish]:
    """A command that takes no notice of what stands behind it."""
    return lambda rest, known: wish


COMMANDS = {
    command.name: command
    for command in (
        SlashCommand(
            "/msg",
            (("/msg bob text", "the same as bob: text; /msg bob,carol text"),),
            _msg,
            takes_names=True,
        ),
        SlashCommand("/all", (("/all text", "send to every user, this once"),), _all),
        SlashCommand(
            "/query",
            (("/query bob", "the conversation with bob; /query bob,carol"),),
            _query,
            takes_names=True,
            screen_only=True,
        ),
        SlashCommand(
            "/close",
            (("/close", "take this conversation from the list"),),
            _just(CloseTalk()),
            screen_only=True,
        ),
        SlashCommand("/users", (("/users", "who there is, and who is here"),), _just(ShowUsers())),
        SlashCommand(
            "/history",
            (
                ("/history", "what was said, with whom you write to, or with all;"),
                ("", "/history bob, /history 50, /history bob 50"),
            ),
            _history,
            takes_names=True,
        ),
        SlashCommand(
            "/bell",
            (("/bell off", "messages do not ring the bell; /bell on"),),
            _bell,
            screen_only=True,
        ),
        SlashCommand("/help", (("/help", "this"),), _just(Help())),
        SlashCommand("/quit", (("/quit", "leave, as does Ctrl-D"),), _just(Quit())),
    )
}
"""By name, in the order of the help."""

_TEXTS = (
    ("bob: text", "send text to bob, and what follows too"),
    ("bob, carol: text", "to several at once"),
    ('"bob b": text', "quotes around a name with spaces, commas, colons or quotes"),
    ("", 'in it; \\" and \\\\ stand for a quote and a backslash'),
    ("text", "send to whom you wrote last"),
    ("text", "with a space in front: the same, whatever it looks like"),
)

_SCREEN_TEXTS = (
    *_TEXTS[:4],
    ("text", "send to the conversation that is shown"),
    _TEXTS[5],
)


def help_text(screen: bool = False) -> str:
    """What one can type, for the line mode or for the full screen."""
    rows = list(_SCREEN_TEXTS if screen else _TEXTS)
    for command in COMMANDS.values():
        if screen or not command.screen_only:
            rows += command.help
    return "\n".join(f"  {what:<18} {does}" for what, does in rows)


def parse_command(line: str, known: Iterable[str], screen: bool) -> Wish:
    """What a line that begins with a slash wants.

    Args:
        line: what was typed.
        known: names of those one has talked with.
        screen: whether the commands of the full screen are there.
    """
    word, *after = line.split(maxsplit=1)
    command = COMMANDS.get(word)
    if command is None or (command.screen_only and not screen):
        return Mistake(f"there is no {word}; /help shows what there is")
    return command.parse("".join(after), known)
