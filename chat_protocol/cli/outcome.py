"""How a run of ``chatclient`` ends: an exit code and, if it went wrong, a sentence."""

from __future__ import annotations

from enum import IntEnum

from twisted.internet import error

from chat_protocol.cli.text import quoted
from chat_protocol.errors import (
    ChatError,
    InternalFault,
    NotConnected,
    RequestTimeout,
    UserAlreadyLogged,
    UserNotFound,
)

__all__ = ["EXIT_CODES", "Exit", "Failed", "OutputClosed", "failed", "login_failed", "send_failed"]


class Exit(IntEnum):
    """The exit codes."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    CONNECTION = 3
    TIMEOUT = 4
    OUTPUT = 5
    FAULT = 70
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141
    TERMINATED = 143


EXIT_CODES = """\
Exit codes:
    0  all went well
    1  the server refused: an unknown user, a name in use, ...
    2  the command line, or the text to send, is not usable
    3  no connection to the server, or it was lost
    4  the server did not answer in time, or fewer messages than --count came
    5  the output cannot be written
   70  a fault of chatclient itself
  130  interrupted with Ctrl-C
  141  the reader of the output went away
  143  terminated
"""


class Failed(Exception):
    """The run ends with this code and this sentence on stderr."""

    def __init__(self, code: Exit, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class OutputClosed(Exception):
    """Whoever read the output has gone: the run ends without a word."""


def failed(problem: ChatError, server: str) -> Failed:
    """What to tell when a request or the connection failed.

    Args:
        problem: what the client library raised.
        server: as the user named it.
    """
    if isinstance(problem, NotConnected):
        return Failed(Exit.CONNECTION, f"{server}: {_why(problem)}")
    if isinstance(problem, RequestTimeout):
        return Failed(
            Exit.TIMEOUT, f"{server}: {problem}; try again, or wait longer with --timeout"
        )
    return Failed(Exit.REFUSED, f"{server}: the server refused: {problem}")


def login_failed(problem: ChatError, server: str, username: str) -> Failed:
    """What to tell when a login failed."""
    if isinstance(problem, UserAlreadyLogged):
        return Failed(
            Exit.REFUSED,
            f"{quoted(username)} is logged in already; log out there, or choose another name",
        )
    if isinstance(problem, UserNotFound):
        return Failed(
            Exit.REFUSED,
            f"the server does not accept the name {quoted(username)}; choose another one",
        )
    return failed(problem, server)


def send_failed(problem: ChatError, server: str, recipient: str) -> Failed:
    """What to tell when a message was not stored."""
    if isinstance(problem, UserNotFound):
        return Failed(
            Exit.REFUSED,
            f"no user named {quoted(recipient)}; "
            "who never logged in to this server cannot get messages",
        )
    if isinstance(problem, RequestTimeout):
        return Failed(
            Exit.TIMEOUT, f"{server}: {problem}; whether the message was stored is not known"
        )
    if isinstance(problem, InternalFault):
        return Failed(
            Exit.REFUSED,
            f"the server did not store the message for {quoted(recipient)} and does not say why; "
            "the mailbox may be full: try again later",
        )
    return failed(problem, server)


_CONNECTING = (
    (error.DNSLookupError, "there is no such host; check the name, or set another with --server"),
    (
        error.ConnectionRefusedError,
        "nobody answers there; start the server, or name another with --server",
    ),
    (
        (error.TimeoutError, error.NoRouteError, error.TCPTimedOutError),
        "the host cannot be reached; check the address and the network",
    ),
)
"""What the commonest reasons of an endpoint mean for a person, by type."""


def _why(problem: NotConnected) -> str:
    cause = problem.__cause__
    for types, sentence in _CONNECTING:
        if isinstance(cause, types):
            return sentence
    return str(problem)
