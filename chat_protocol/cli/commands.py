"""The slash commands of the line mode and the full screen, each declared once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chat_protocol.cli.intents import (
    CloseConversation,
    Intent,
    InvalidInput,
    OpenConversation,
    Quit,
    SendText,
    SetBell,
    ShowHelp,
    ShowHistory,
    ShowUsers,
)
from chat_protocol.cli.naming import BEFORE_SPACE, typed_names

__all__ = ["COMMANDS", "DEFAULT_HISTORY", "SlashCommand", "help_text", "parse_command", "send_text"]

DEFAULT_HISTORY = 20
"""Default number of messages that /history shows."""

_NUMBER = re.compile(r"[0-9]{1,9}")
_NAME_BEFORE_NUMBER = re.compile(r'[^\s"]+')

_NAME_USAGE = 'usage: {0} NAME{1}, {0} NAME,NAME{1} or {0} "NAME WITH SPACES"{1}'


@dataclass(frozen=True)
class SlashCommand:
    """A command that begins with a slash.

    Args:
        name: including the slash.
        help: rows of usage and explanation.
        parse: returns the intent, given the text after the name and the known names.
        takes_names: whether usernames follow the command name, for completion.
        screen_only: whether the line mode lacks the command.
    """

    name: str
    help: tuple[tuple[str, str], ...]
    parse: Callable[[str, Iterable[str]], Intent]
    takes_names: bool = False
    screen_only: bool = False


def send_text(names: tuple[str, ...], text: str) -> SendText | InvalidInput:
    """Return the intent to send a text to users, or InvalidInput if a name or the text is empty."""
    text = text.strip()
    if "" in names:
        return InvalidInput("a name cannot be empty")
    if not text:
        return InvalidInput("the message is empty: write the text after the name")
    return SendText(names, text)


def _msg(rest: str, _: Iterable[str]) -> Intent:
    names, end = typed_names(rest, BEFORE_SPACE)
    if not names or not (end == len(rest) or rest[end].isspace()):
        return InvalidInput(_NAME_USAGE.format("/msg", " text"))
    return send_text(names, rest[end:])


def _all(rest: str, _: Iterable[str]) -> Intent:
    return SendText((), rest.strip()) if rest.strip() else InvalidInput("usage: /all text")


def _query(rest: str, known: Iterable[str]) -> Intent:
    rest = rest.strip()
    if rest in known:
        return OpenConversation((rest,))
    names, end = typed_names(rest, BEFORE_SPACE)
    if not names or end != len(rest) or "" in names:
        return InvalidInput(_NAME_USAGE.format("/query", ""))
    return OpenConversation(names)


def _history(rest: str, known: Iterable[str]) -> Intent:
    """Parse an optional name and an optional number; a name of digits only needs quotes."""
    rest = rest.strip()
    head, _, last = rest.rpartition(" ")
    limit = DEFAULT_HISTORY
    if _NUMBER.fullmatch(last) and rest not in known:
        limit, rest = int(last), head.strip()
    if limit < 1:
        return InvalidInput("/history needs a number of at least 1")
    if not rest:
        return ShowHistory(None, limit)
    if rest in known:
        return ShowHistory(rest, limit)
    names, end = typed_names(rest, _NAME_BEFORE_NUMBER)
    if len(names) != 1 or end != len(rest) or not names[0]:
        return InvalidInput('usage: /history, /history NAME or /history "NAME WITH SPACES" 50')
    return ShowHistory(names[0], limit)


def _bell(rest: str, _: Iterable[str]) -> Intent:
    choices: dict[str, bool | None] = {"on": True, "off": False, "": None}
    wanted = rest.strip()
    return (
        SetBell(choices[wanted])
        if wanted in choices
        else InvalidInput("usage: /bell on or /bell off")
    )


def _constant(intent: Intent) -> Callable[[str, Iterable[str]], Intent]:
    """Return a parser that ignores its arguments."""
    return lambda rest, known: intent


COMMANDS = {
    command.name: command
    for command in (
        SlashCommand(
            "/msg",
            (("/msg bob text", "same as bob: text; several: /msg bob,carol text"),),
            _msg,
            takes_names=True,
        ),
        SlashCommand(
            "/all", (("/all text", "send text to all users; the recipient stays the same"),), _all
        ),
        SlashCommand(
            "/query",
            (("/query bob", "open the conversation with bob; /query bob,carol"),),
            _query,
            takes_names=True,
            screen_only=True,
        ),
        SlashCommand(
            "/close",
            (("/close", "close this conversation"),),
            _constant(CloseConversation()),
            screen_only=True,
        ),
        SlashCommand(
            "/users",
            (("/users", "list the users who are online and offline"),),
            _constant(ShowUsers()),
        ),
        SlashCommand(
            "/history",
            (
                ("/history", "show past messages with the recipient, or all messages;"),
                ("", "/history bob, /history 50, /history bob 50"),
            ),
            _history,
            takes_names=True,
        ),
        SlashCommand(
            "/bell",
            (("/bell off", "turn off the bell for new messages; /bell on"),),
            _bell,
            screen_only=True,
        ),
        SlashCommand("/help", (("/help", "show this help"),), _constant(ShowHelp())),
        SlashCommand("/quit", (("/quit", "quit; Ctrl-D does the same"),), _constant(Quit())),
    )
}
"""The commands by name, in the order of the help."""

_TEXT_HELP = (
    ("bob: text", "send text to bob and make bob the recipient"),
    ("bob, carol: text", "send text to several users"),
    ('"bob b": text', "put quotes around a name with spaces, commas, colons"),
    ("", 'or quotes; write \\" for a quote, \\\\ for a backslash'),
    ("text", "send text to the recipient"),
    ("text", "with a leading space: send the line as plain text"),
)

_SCREEN_TEXT_HELP = (
    *_TEXT_HELP[:4],
    ("text", "send text to the conversation on the screen"),
    _TEXT_HELP[5],
)


def help_text(screen: bool = False) -> str:
    """Return the help for the line mode or the full screen."""
    rows = list(_SCREEN_TEXT_HELP if screen else _TEXT_HELP)
    for command in COMMANDS.values():
        if screen or not command.screen_only:
            rows += command.help
    return "\n".join(f"  {what:<18} {does}" for what, does in rows)


def parse_command(line: str, known: Iterable[str], screen: bool) -> Intent:
    """Return the intent of a line that begins with a slash.

    Args:
        line: the typed line.
        known: names of users the client has exchanged messages with.
        screen: whether to accept the commands of the full screen.
    """
    word, *after = line.split(maxsplit=1)
    command = COMMANDS.get(word)
    if command is None or (command.screen_only and not screen):
        return InvalidInput(f"unknown command {word}; /help lists the commands")
    return command.parse("".join(after), known)
