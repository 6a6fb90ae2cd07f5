"""The command line of ``chatclient``."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from twisted.python import usage

from chat_protocol.cli.exit_codes import EXIT_CODES
from chat_protocol.cli.server_address import ServerAddress, TLSOptions, parse_server
from chat_protocol.client import DEFAULT_TIMEOUT
from chat_protocol.domain.login_rules import is_device_name
from chat_protocol.version import __version__

__all__ = [
    "DEFAULT_RECONNECT_TIMEOUT",
    "PASSWORD_VARIABLE",
    "Action",
    "HistoryAction",
    "InteractiveAction",
    "ListenAction",
    "SendAction",
    "Settings",
    "UsersAction",
    "check_text",
    "parse",
]

DEFAULT_RECONNECT_TIMEOUT = 60.0
"""Seconds that a command with a defined end keeps trying to reconnect."""

PASSWORD_VARIABLE = "CHAT_PASSWORD"
"""Name of the environment variable for the password."""

_DEFAULT_SERVER = "localhost"


@dataclass(frozen=True, slots=True)
class SendAction:
    """Send text to users."""

    to: tuple[str, ...]
    """Recipients; empty: everyone."""
    text: str | None
    """None: read it from stdin."""
    whole: bool
    """Whether stdin is one message instead of one message per line."""


@dataclass(frozen=True, slots=True)
class ListenAction:
    """Print incoming messages."""

    json: bool
    count: int | None
    idle: float | None
    """Seconds without a message after which to stop."""
    own: bool = False
    """Whether to print what the user has sent from other devices."""


@dataclass(frozen=True, slots=True)
class UsersAction:
    """Print the users."""

    json: bool


@dataclass(frozen=True, slots=True)
class HistoryAction:
    """Print past messages."""

    with_: str
    """Only messages with this user; empty: all messages."""
    limit: int | None
    json: bool


@dataclass(frozen=True, slots=True)
class InteractiveAction:
    """Open a conversation."""

    plain: bool = False
    """Whether to use the line mode even if the terminal supports the full screen."""


Action = SendAction | ListenAction | UsersAction | HistoryAction | InteractiveAction


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings from the command line and the environment."""

    server: ServerAddress
    user: str | None
    password: str | None = field(repr=False)
    ask_password: bool
    timeout: float
    """Seconds that a request waits for its answer."""
    reconnect_timeout: float | None
    """Seconds to keep trying to reconnect; None: unlimited; 0: do not reconnect."""
    action: Action
    device: str | None = None
    """The name of the device; None: that of this machine."""


def _seconds(option: str) -> Callable[[str], float]:
    def seconds(text: str) -> float:
        with suppress(ValueError):
            if 0 < float(text) < math.inf:
                return float(text)
        raise usage.UsageError(f"--{option} must be a number of seconds above 0, not {text!r}")

    return seconds


def _count(option: str) -> Callable[[str], int]:
    def count(text: str) -> int:
        with suppress(ValueError):
            if int(text) >= 1:
                return int(text)
        raise usage.UsageError(f"--{option} must be a whole number of at least 1, not {text!r}")

    return count


class _SharedOptions(usage.Options):
    """Options that can stand before and after the name of a subcommand."""

    optParameters = [
        [
            "server",
            "s",
            None,
            "Server: HOST[:PORT] or a Twisted client endpoint [default: localhost:5555]",
        ],
        ["user", "u", None, "Your username"],
        [
            "device",
            None,
            None,
            "With listen or a conversation: receive messages as this device of yours [default: a "
            "name that was chosen once for this machine; further terminals get numbers]",
        ],
        [
            "ca",
            None,
            None,
            "Use TLS and accept server certificates signed by the CAs in this PEM file",
        ],
        [
            "certificate",
            None,
            None,
            "Use TLS and present the client certificate in this PEM file, which also holds its "
            "private key, instead of a password",
        ],
        [
            "password",
            None,
            None,
            "Your password, if the server requires one. Other users of this machine can see a "
            f"command line: set the environment variable {PASSWORD_VARIABLE} or use "
            "--ask-password instead",
        ],
        [
            "timeout",
            "t",
            None,
            f"Seconds to wait for each answer from the server [default: {DEFAULT_TIMEOUT:g}]",
            _seconds("timeout"),
        ],
        [
            "patience",
            None,
            None,
            "Seconds to keep trying to reconnect after the connection is lost [default: "
            f"{DEFAULT_RECONNECT_TIMEOUT:g}; unlimited in listen and in conversations]",
            _seconds("patience"),
        ],
    ]

    optFlags = [
        ["tls", None, "Use TLS and verify the server with the CAs of the system"],
        ["ask-password", None, "Prompt for the password at the terminal"],
        ["no-reconnect", None, "Exit when the connection is lost"],
    ]

    def opt_version(self) -> None:
        """Show the version and exit."""
        print(f"chatclient {__version__}")
        raise SystemExit(0)

    def getUsage(self, width: int | None = None) -> str:
        text: str = super().getUsage(width)
        return f"{text}\n{EXIT_CODES}"


class _SendOptions(_SharedOptions):
    """Options of ``send``."""

    optFlags = [
        ["all", "a", "Send to every registered user"],
        ["whole", "w", "Send all of stdin as one message, not one message per line"],
    ]

    text = ""

    longdesc = (
        "Sends TEXT to the user TO, or to several users with --to, and exits when the server has "
        "stored it, for all of them or for none. If TEXT is -, each line of stdin that is not "
        "empty is a message. The command stops at the first message that is refused, and reports "
        "which lines in flight were not stored. If the connection is lost, the command reconnects "
        "and resends unacknowledged messages; nothing is stored twice. Messages for you stay in "
        "the mailbox. With a version 1 server, the command stops at the first message that was not "
        "confirmed, and prints messages for you. Put -- before a TO or a TEXT that begins with a "
        "minus sign."
    )

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.to: list[str] = []

    def getSynopsis(self) -> str:
        return "Usage: chatclient [options] send [options] (TO | --to TO [--to TO]... | --all) TEXT"

    def opt_to(self, name: str) -> None:
        """Send to this user; can be given several times"""
        self.to.append(name)

    def parseArgs(self, *arguments: str) -> None:
        if self.to and self["all"]:
            raise usage.UsageError("give --to or --all, not both")
        if len(arguments) == 3 and arguments[1] == "--":
            # getopt(3) leaves "--" in place after the first positional argument.
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
            raise usage.UsageError("--whole needs text from stdin: give - instead of the text")


class _ListenOptions(_SharedOptions):
    """Options of ``listen``."""

    optFlags = [
        [
            "json",
            "j",
            "Print JSON: one object per line with from, to, everyone, text, time, iso and offset",
        ],
        ["own", None, "Also print what you send from other devices"],
    ]
    optParameters = [
        ["count", "n", None, "Stop after this many messages", _count("count")],
        ["idle", "i", None, "Stop after this many seconds without a message", _seconds("idle")],
    ]

    longdesc = (
        "Prints one message per line: local time, sender and text, separated by tabs. Control "
        "characters are escaped and backslashes are doubled. With --json, to is a list, time is "
        "the sender's number, iso is the time it most likely means, and offset is the message's "
        "number on the server. A message is acknowledged after it is printed; all others, such as "
        "those beyond --count, stay in the mailbox. A version 1 server counts a message as "
        "delivered once it is sent, so messages that it sends beyond --count are lost."
    )

    def getSynopsis(self) -> str:
        return "Usage: chatclient [options] listen [options]"

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            raise usage.UsageError("listen takes no arguments, only options")


class _UsersOptions(_SharedOptions):
    """Options of ``users``."""

    optFlags = [["json", "j", "Print JSON: one object per line with name, online, last_login, iso"]]

    longdesc = (
        "Prints the registered users, one per line: name, online or offline, and the local time of "
        "the last login, separated by tabs. With --json, last_login is in nanoseconds since the "
        "epoch. Version 1 servers do not support this command."
    )

    def getSynopsis(self) -> str:
        return "Usage: chatclient [options] users [options]"

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            raise usage.UsageError("users takes no arguments, only options")


class _HistoryOptions(_SharedOptions):
    """Options of ``history``."""

    optFlags = [["json", "j", "Print JSON in the format of listen"]]
    optParameters = [
        ["limit", "n", None, "Print only this many of the newest messages", _count("limit")]
    ]

    with_ = ""

    longdesc = (
        "Prints the messages between you and the user WITH, or all your messages, oldest first. "
        "Each line holds local time, sender, recipients and text, separated by tabs. Control "
        "characters are escaped. Version 1 servers do not support this command."
    )

    def getSynopsis(self) -> str:
        return "Usage: chatclient [options] history [options] [WITH]"

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Accept WITH before the options too."""
        first, *rest = options or [""]
        moved = [*rest, first] if first and not first.startswith("-") else options
        super().parseOptions(moved)  # type: ignore[no-untyped-call]

    def parseArgs(self, *arguments: str) -> None:
        if len(arguments) > 1:
            raise usage.UsageError("history takes at most one user")
        if arguments:
            (self.with_,) = arguments
            _check_name(self.with_, "the user of the history")


class _Options(_SharedOptions):
    """The options of ``chatclient`` itself."""

    subCommands = [
        ["send", None, _SendOptions, "Send messages and exit"],
        ["listen", None, _ListenOptions, "Print incoming messages, one per line"],
        ["users", None, _UsersOptions, "Print the registered users, one per line"],
        ["history", None, _HistoryOptions, "Print past messages, one per line"],
    ]

    optFlags = [["plain", None, "Use the line mode instead of the full screen"]]

    longdesc = (
        "Without a command, chatclient opens a conversation, on the full screen if the terminal "
        "supports it; type /help there for help. Options can stand before or after the command. "
        "'chatclient send --help' shows the options of send."
    )

    def getSynopsis(self) -> str:
        return "Usage: chatclient [options] [send TO TEXT | listen | users | history [WITH]]"


def parse(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> Settings:
    """Parse a command line.

    Args:
        arguments: the command line without the program's name.
        environ: environment variables, which may hold the password.

    Raises:
        UsageError: the command line is invalid; the text explains why.
        SystemExit: ``--help`` or ``--version`` was given and printed.
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
        # A variable that is empty counts as unset, as with the other programs of a shell.
        password = environ.get(PASSWORD_VARIABLE) or None
    if password is not None:
        check_text(password, "the password")
    if user is None and action is not None:
        raise usage.UsageError(f"{options.subCommand} needs your username: give --user NAME")
    if options["plain"] and action is not None:
        raise usage.UsageError(f"--plain applies to conversations, not to {options.subCommand}")
    wanted = InteractiveAction(bool(options["plain"])) if action is None else _action(action)
    tls = None
    files = TLSOptions(shared("ca"), shared("certificate"))
    if options["tls"] or (action and action["tls"]) or files != TLSOptions():
        tls = files
    return Settings(
        server=parse_server(_DEFAULT_SERVER if server is None else server, tls),
        user=user,
        password=password,
        ask_password=bool(options["ask-password"] or (action and action["ask-password"])),
        timeout=shared("timeout") or DEFAULT_TIMEOUT,
        reconnect_timeout=_reconnect_timeout(
            bool(options["no-reconnect"] or (action and action["no-reconnect"])),
            shared("patience"),
            wanted,
        ),
        action=wanted,
        device=_device(shared("device"), wanted),
    )


def _device(name: str | None, action: Action) -> str | None:
    if name is None:
        return None
    if not isinstance(action, (ListenAction, InteractiveAction)):
        raise usage.UsageError("--device applies to listen and to conversations, which receive")
    if not is_device_name(name):
        raise usage.UsageError(
            f"--device {name!r}: a device has 1 to 64 characters of ASCII, without spaces"
        )
    return name


def _reconnect_timeout(no_reconnect: bool, given: float | None, action: Action) -> float | None:
    if no_reconnect:
        if given is not None:
            raise usage.UsageError("give --patience or --no-reconnect, not both")
        return 0
    if given is None and not isinstance(action, (ListenAction, InteractiveAction)):
        return DEFAULT_RECONNECT_TIMEOUT
    return given


def _action(options: usage.Options) -> Action:
    if isinstance(options, _SendOptions):
        for name in options.to:
            _check_name(name, "the user to send to")
        text = None if options.text == "-" else options.text
        if text is not None:
            check_text(text, "the text")
        return SendAction(tuple(options.to), text, bool(options["whole"]))
    if isinstance(options, _ListenOptions):
        return ListenAction(
            bool(options["json"]), options["count"], options["idle"], bool(options["own"])
        )
    if isinstance(options, _UsersOptions):
        return UsersAction(bool(options["json"]))
    assert isinstance(options, _HistoryOptions)
    return HistoryAction(options.with_, options["limit"], bool(options["json"]))


def _check_name(name: str | None, what: str) -> None:
    if name is not None:
        if not name:
            raise usage.UsageError(f"{what}: a name cannot be empty")
        check_text(name, what, limit=255)


def check_text(text: str, what: str, limit: int = 0xFFFF) -> None:
    """Raise UsageError unless ``text`` is valid UTF-8 of at most ``limit`` bytes."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise usage.UsageError(f"{what} is not valid UTF-8") from None
    if size > limit:
        raise usage.UsageError(f"{what} has {size} bytes of UTF-8; the maximum is {limit}")
