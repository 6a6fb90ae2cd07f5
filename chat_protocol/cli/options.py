"""The command line of ``chatclient``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from twisted.python import usage

from chat_protocol.cli.outcome import EXIT_CODES
from chat_protocol.cli.server import Server, parse_server
from chat_protocol.client import DEFAULT_TIMEOUT

__all__ = ["Interactive", "Listen", "Send", "Settings", "check_text", "parse"]

_DEFAULT_SERVER = "localhost"


@dataclass(frozen=True, slots=True)
class Send:
    """Send text to a user."""

    recipient: str
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
class Interactive:
    """Talk."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the command line says."""

    server: Server
    user: str | None
    timeout: float
    """Seconds that a request waits for its answer."""
    action: Send | Listen | Interactive


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError("give a number of seconds above 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError("give a number from 1 up")
    return value


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
            "timeout",
            "t",
            None,
            f"Seconds to wait for each answer of the server [default: {DEFAULT_TIMEOUT:g}]",
            _seconds,
        ],
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

    optFlags = [["whole", "w", "Make one message of all of stdin, not one of each line"]]

    recipient = ""
    text = ""

    longdesc = (
        "Sends TEXT to the user TO and ends when the server has stored it. If TEXT is -, each "
        "line of stdin that is not empty is a message; the first one that is refused ends it. "
        "Put -- before a TO or TEXT that begins with a minus sign."
    )

    def getSynopsis(self) -> str:
        return "Usage: chatclient [options] send [options] TO TEXT"

    def parseArgs(self, *arguments: str) -> None:
        if len(arguments) != 2:
            raise usage.UsageError(
                "send needs two arguments after its options: the user, and the text in quotes"
            )
        self.recipient, self.text = arguments

    def postOptions(self) -> None:
        if self["whole"] and self.text != "-":
            raise usage.UsageError("--whole is for text from stdin: give - in place of the text")


class _ListenOptions(_SharedOptions):
    """Options of ``listen``."""

    optFlags = [["json", "j", "Print JSON: an object with from, to, text, time and iso per line"]]
    optParameters = [
        ["count", "n", None, "Stop after that many messages", _count],
        ["idle", "i", None, "Stop when no message came for that many seconds", _seconds],
    ]

    longdesc = (
        "Prints one message a line: local time, sender and text, with tabs between them and "
        "control characters escaped (a backslash is doubled). With --json, time is the number "
        "that the sender gave and iso what it most likely means. The server counts a message "
        "as delivered when it has sent it: those that it has sent beyond --count are lost."
    )

    def getSynopsis(self) -> str:
        return "Usage: chatclient [options] listen [options]"

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            raise usage.UsageError("listen takes options only")


class _Options(_SharedOptions):
    """The options of ``chatclient`` itself."""

    subCommands = [
        ["send", None, _SendOptions, "Send a message and end"],
        ["listen", None, _ListenOptions, "Print the messages that arrive, one a line"],
    ]

    longdesc = (
        "Without a command it is a conversation: type /help in it. Options may stand before or "
        "after the command; 'chatclient send --help' shows those of send."
    )

    def getSynopsis(self) -> str:
        return "Usage: chatclient [options] [send TO TEXT | listen]"


def parse(arguments: Sequence[str]) -> Settings:
    """Read a command line, without the program's name.

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

    server, user = shared("server"), shared("user")
    _check_name(user, "--user")
    settings = Settings(
        server=parse_server(_DEFAULT_SERVER if server is None else server),
        user=user,
        timeout=shared("timeout") or DEFAULT_TIMEOUT,
        action=_action(action),
    )
    if user is None and action is not None:
        raise usage.UsageError(f"{options.subCommand} needs to know who you are: give --user NAME")
    return settings


def _action(options: usage.Options | None) -> Send | Listen | Interactive:
    if isinstance(options, _SendOptions):
        _check_name(options.recipient, "the user to send to")
        text = None if options.text == "-" else options.text
        if text is not None:
            check_text(text, "the text")
        return Send(options.recipient, text, bool(options["whole"]))
    if isinstance(options, _ListenOptions):
        return Listen(bool(options["json"]), options["count"], options["idle"])
    return Interactive()


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
