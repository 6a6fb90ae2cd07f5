"""The command line of ``chatclient``."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from twisted.python import usage

from chat_protocol.cli.exit_codes import EXIT_CODES
from chat_protocol.cli.server import TLS, Server, parse_server
from chat_protocol.client import DEFAULT_TIMEOUT

__all__ = [
    "DEFAULT_PATIENCE",
    "PASSWORD_VARIABLE",
    "Action",
    "History",
    "Interactive",
    "Listen",
    "Send",
    "Settings",
    "Users",
    "check_text",
    "parse",
]

DEFAULT_PATIENCE = 60.0
"""Seconds that a lost connection may be away from a command that is to come to an end."""

PASSWORD_VARIABLE = "CHAT_PASSWORD"
"""The variable of the environment that may hold the password."""

_DEFAULT_SERVER = "localhost"


@dataclass(frozen=True, slots=True)
class Send:
    """Send text to users."""

    to: tuple[str, ...]
    """Empty: to everyone."""
    text: str | None
    """None: from stdin."""
    whole: bool
    """One message of all of stdin instead of one per line."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Print messages as they arrive."""

    json: bool
    count: int | None
    idle: float | None
    """Seconds without a message after which to stop."""


@dataclass(frozen=True, slots=True)
class Users:
    """Print who the users are."""

    json: bool


@dataclass(frozen=True, slots=True)
class History:
    """Print messages of the past."""

    with_: str
    """Only those with that user; empty: with all."""
    limit: int | None
    json: bool


@dataclass(frozen=True, slots=True)
class Interactive:
    """Talk."""

    plain: bool = False
    """Line by line, even at a terminal that can do more."""


Action = Send | Listen | Users | History | Interactive


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the command line says, and the environment."""

    server: Server
    user: str | None
    password: str | None = field(repr=False)
    ask_password: bool
    timeout: float
    """Seconds that a request waits for its answer."""
    patience: float | None
    """Seconds that a lost connection may be away; None: as long as it takes."""
    action: Action


def _seconds(option: str) -> Callable[[str], float]:
    def seconds(text: str) -> float:
        with suppress(ValueError):
            if 0 < float(text) < math.inf:
                return float(text)
        raise usage.UsageError(f"--{option} wants a number of seconds above 0, not {text!r}")

    return seconds


def _count(option: str) -> Callable[[str], int]:
    def count(text: str) -> int:
        with suppress(ValueError):
            if int(text) >= 1:
                return int(text)
        raise usage.UsageError(f"--{option} wants a whole number from 1 up, not {text!r}")

    return count


class _SharedOptions(usage.Options):
    """What can stand before and after the name of a subcommand."""

    optParameters = [
        [
            "server",
            "s",
            None,
            "HOST[:PORT], or a Twisted client endpoint [default: localhost:5555]",
        ],
        ["user", "u", None, "Your name"],
        [
            "ca",
            None,
            None,
            "Speak TLS to a server whose certificate is signed by one of those in that file, PEM",
        ],
        [
            "certificate",
            None,
            None,
            "Speak TLS, and show the certificate in that file, PEM, its key with it, in place of "
            "a password",
        ],
        [
            "password",
            None,
            None,
            "Your password, if the server wants one. Other users of this machine can see a "
            f"command line: rather put it into the environment as {PASSWORD_VARIABLE}, or have "
            "it asked for",
        ],
        [
            "timeout",
            "t",
            None,
            f"Seconds to wait for each answer of the server [default: {DEFAULT_TIMEOUT:g}]",
            _seconds("timeout"),
        ],
        [
            "patience",
            None,
            None,
            "Seconds to try to reconnect when the connection is lost [default: "
            f"{DEFAULT_PATIENCE:g}; as long as it takes in listen and in conversations]",
            _seconds("patience"),
        ],
    ]

    optFlags = [
        ["tls", None, "Speak TLS to a server whose certificate the system trusts"],
        ["ask-password", None, "Ask for the password at the terminal"],
        ["no-reconnect", None, "End when the connection is lost"],
    ]

    def opt_version(self) -> None:
        """Show the version and exit."""
        print(f"chatclient {version('chat-protocol')}")
        raise SystemExit(0)

    def getUsage(self, width: int | None = None) -> str:
        text: str = super().getUsage(width)
        return f"{text}\n{EXIT_CODES}"


class _SendOptions(_SharedOptions):
    """Options of ``send``."""

    optFlags = [
        ["all", "a", "Send to every user of the server"],
        ["whole", "w", "Make one message of all of stdin, not one of each line"],
    ]

    text = ""

    longdesc = (
        "Sends TEXT to the user TO, or with --to to several at once, and ends when the server has "
        "stored it: for all of them, or for none. If TEXT is -, each line of stdin that is not "
        "empty is a message; the first one that is refused ends it, and it says which of those "
        "behind it that were on their way are not stored. When the connection is lost it "
        "reconnects and sends again what was not answered; nothing is stored twice. Messages "
        "for you stay in the mailbox. (A version 1 server cannot do that: what it was not heard to "
        "have stored ends the command, and messages for you are printed.) Put -- before a TO or "
        "a TEXT that begins with a minus sign."
    )

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.to: list[str] = []

    def getSynopsis(self) -> str:
        return "Usage: chatclient [options] send [options] (TO | --to TO [--to TO]... | --all) TEXT"

    def opt_to(self, name: str) -> None:
        """Send to that user; may be given several times"""
        self.to.append(name)

    def parseArgs(self, *arguments: str) -> None:
        if self.to and self["all"]:
            raise usage.UsageError("give --to or --all, not both")
        if len(arguments) == 3 and arguments[1] == "--":
            # getopt(3) leaves it there when something else came first.
            arguments = (arguments[0], arguments[2])
        if self.to or self["all"]:
            if len(arguments) != 1:
                raise usage.UsageError(
                    "with --to or --all, send needs one argument: the text in quotes"
                )
            (self.text,) = arguments
            return
        if len(arguments) != 2:
            raise usage.UsageError(
                "send needs two arguments after its options: the user, and the text in quotes"
            )
        self.to, self.text = [arguments[0]], arguments[1]

    def postOptions(self) -> None:
        if self["whole"] and self.text != "-":
            raise usage.UsageError("--whole is for text from stdin: give - in place of the text")


class _ListenOptions(_SharedOptions):
    """Options of ``listen``."""

    optFlags = [
        [
            "json",
            "j",
            "Print JSON: an object with from, to, everyone, text, time, iso and offset per line",
        ]
    ]
    optParameters = [
        ["count", "n", None, "Stop after that many messages", _count("count")],
        ["idle", "i", None, "Stop when no message came for that many seconds", _seconds("idle")],
    ]

    longdesc = (
        "Prints one message a line: local time, sender and text, with tabs between them and "
        "control characters escaped (a backslash is doubled). With --json, to is a list, time is "
        "the number that the sender gave and iso what it most likely means, and offset is the "
        "message's number on the server. A message is delivered when it is printed: what is not "
        "stays in the mailbox, beyond --count for one. (A version 1 server counts it as delivered "
        "when it has sent it, and what it has sent beyond --count is lost.)"
    )

    def getSynopsis(self) -> str:
        return "Usage: chatclient [options] listen [options]"

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            raise usage.UsageError("listen takes options only")


class _UsersOptions(_SharedOptions):
    """Options of ``users``."""

    optFlags = [["json", "j", "Print JSON: an object with name, online, last_login, iso per line"]]

    longdesc = (
        "Prints the users of the server, one a line: name, online or offline, and the local time "
        "of the last login, with tabs between them. With --json, last_login is in nanoseconds "
        "since the epoch. Not on a version 1 server."
    )

    def getSynopsis(self) -> str:
        return "Usage: chatclient [options] users [options]"

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            raise usage.UsageError("users takes options only")


class _HistoryOptions(_SharedOptions):
    """Options of ``history``."""

    optFlags = [["json", "j", "Print JSON, as listen does"]]
    optParameters = [["limit", "n", None, "Only the newest so many messages", _count("limit")]]

    with_ = ""

    longdesc = (
        "Prints the messages between you and the user WITH, or all from and to you, oldest first, "
        "one a line: local time, sender, recipients and text, with tabs between them and control "
        "characters escaped. Not on a version 1 server."
    )

    def getSynopsis(self) -> str:
        return "Usage: chatclient [options] history [options] [WITH]"

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Let WITH stand in front of the options as well."""
        first, *rest = options or [""]
        moved = [*rest, first] if first and not first.startswith("-") else options
        super().parseOptions(moved)  # type: ignore[no-untyped-call]

    def parseArgs(self, *arguments: str) -> None:
        if len(arguments) > 1:
            raise usage.UsageError("history takes one user at most")
        if arguments:
            (self.with_,) = arguments
            _check_name(self.with_, "the user of the history")


class _Options(_SharedOptions):
    """The options of ``chatclient`` itself."""

    subCommands = [
        ["send", None, _SendOptions, "Send messages and end"],
        ["listen", None, _ListenOptions, "Print the messages that arrive, one a line"],
        ["users", None, _UsersOptions, "Print the users of the server, one a line"],
        ["history", None, _HistoryOptions, "Print messages of the past, one a line"],
    ]

    optFlags = [["plain", None, "Talk line by line, without the full screen"]]

    longdesc = (
        "Without a command it is a conversation, on the full screen where the terminal can: type "
        "/help in it. Options may stand before or after the command; 'chatclient send --help' "
        "shows those of send."
    )

    def getSynopsis(self) -> str:
        return "Usage: chatclient [options] [send TO TEXT | listen | users | history [WITH]]"


def parse(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> Settings:
    """Read a command line, without the program's name.

    Args:
        arguments: the command line.
        environ: where the password may be.

    Raises:
        UsageError: a sentence that says what is wrong with it.
        SystemExit: ``--help`` or ``--version`` was given and has been answered.
    """
    options = _Options()  # type: ignore[no-untyped-call]
    options.parseOptions(arguments)  # type: ignore[no-untyped-call]
    action = options.subOptions if options.subCommand else None

    def shared(name: str) -> Any:
        given = None if action is None else action[name]
        return options[name] if given is None else given

    server, user, password = shared("server"), shared("user"), shared("password")
    _check_name(user, "--user")
    if password is None:
        password = environ.get(PASSWORD_VARIABLE)
    if password is not None:
        check_text(password, "the password")
    if user is None and action is not None:
        raise usage.UsageError(f"{options.subCommand} needs to know who you are: give --user NAME")
    if options["plain"] and action is not None:
        raise usage.UsageError(f"--plain is for conversations, not for {options.subCommand}")
    wanted = Interactive(bool(options["plain"])) if action is None else _action(action)
    tls = None
    files = TLS(shared("ca"), shared("certificate"))
    if options["tls"] or (action and action["tls"]) or files != TLS():
        tls = files
    return Settings(
        server=parse_server(_DEFAULT_SERVER if server is None else server, tls),
        user=user,
        password=password,
        ask_password=bool(options["ask-password"] or (action and action["ask-password"])),
        timeout=shared("timeout") or DEFAULT_TIMEOUT,
        patience=_patience(
            bool(options["no-reconnect"] or (action and action["no-reconnect"])),
            shared("patience"),
            wanted,
        ),
        action=wanted,
    )


def _patience(no_reconnect: bool, given: float | None, action: Action) -> float | None:
    if no_reconnect:
        if given is not None:
            raise usage.UsageError("give --patience or --no-reconnect, not both")
        return 0
    if given is None and not isinstance(action, (Listen, Interactive)):
        return DEFAULT_PATIENCE
    return given


def _action(options: usage.Options) -> Action:
    if isinstance(options, _SendOptions):
        for name in options.to:
            _check_name(name, "the user to send to")
        text = None if options.text == "-" else options.text
        if text is not None:
            check_text(text, "the text")
        return Send(tuple(options.to), text, bool(options["whole"]))
    if isinstance(options, _ListenOptions):
        return Listen(bool(options["json"]), options["count"], options["idle"])
    if isinstance(options, _UsersOptions):
        return Users(bool(options["json"]))
    assert isinstance(options, _HistoryOptions)
    return History(options.with_, options["limit"], bool(options["json"]))


def _check_name(name: str | None, what: str) -> None:
    if name is not None:
        if not name:
            raise usage.UsageError(f"{what}: a name cannot be empty")
        check_text(name, what, limit=255)


def check_text(text: str, what: str, limit: int = 0xFFFF) -> None:
    """Raise UsageError unless ``text`` has UTF-8 of at most ``limit`` bytes."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise usage.UsageError(f"{what} is not UTF-8") from None
    if size > limit:
        raise usage.UsageError(f"{what} has {size} bytes of UTF-8; at most {limit} can be sent")
