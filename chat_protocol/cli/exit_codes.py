"""How a run of ``chatclient`` ends: an exit code and, if it went wrong, a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from twisted.internet import error

from chat_protocol.cli.text import quoted, quoted_list, visible
from chat_protocol.errors import (
    AuthenticationFailed,
    ChatError,
    InternalFault,
    InvalidUsername,
    MailboxFull,
    NotConnected,
    NotTrusted,
    Refused,
    RequestTimeout,
    Unavailable,
    UnknownCommand,
    UserAlreadyLogged,
    UserNotFound,
)

__all__ = [
    "EXIT_CODES",
    "Exit",
    "Failed",
    "OutputClosed",
    "fact",
    "failed",
    "login_failed",
    "no_user",
    "send_failed",
]


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
    1  the server refused: a wrong password, an unknown user, a name in use, ...
    2  the command line, or the text to send, is not usable
    3  no connection to the server, or it was lost and not back in time
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
    said = visible(str(problem))
    if isinstance(problem, NotConnected):
        advice = _connecting(problem)[1]
        return Failed(Exit.CONNECTION, f"{server}: {fact(problem)}{advice and '; '}{advice}")
    if isinstance(problem, RequestTimeout):
        return Failed(Exit.TIMEOUT, f"{server}: {said}; try again, or wait longer with --timeout")
    if isinstance(problem, Refused) and not isinstance(problem, UnknownCommand):
        return Failed(Exit.REFUSED, f"{server}: the server refused: {said}")
    return Failed(Exit.REFUSED, f"{server}: {said}")


def no_user(name: str) -> str:
    """There is no such user."""
    return f"no user named {quoted(name)}"


def login_failed(problem: ChatError, server: str, username: str, password: bool) -> Failed:
    """What to tell when a login failed.

    Args:
        problem: what the client library raised.
        server: as the user named it.
        username: as whom it was.
        password: whether one was given.
    """
    name = quoted(username)
    if isinstance(problem, UserAlreadyLogged):
        return Failed(
            Exit.REFUSED, f"{name} is logged in already; log out there, or choose another name"
        )
    if isinstance(problem, (UserNotFound, InvalidUsername)):
        why = f" ({visible(problem.detail)})" if problem.detail else ""
        return Failed(
            Exit.REFUSED, f"the server does not accept the name {name}{why}; choose another one"
        )
    if isinstance(problem, AuthenticationFailed):
        if password:
            return Failed(Exit.REFUSED, f"the server does not accept the password of {name}")
        return Failed(
            Exit.REFUSED,
            f"the server wants a password of {name}: give it in the environment as CHAT_PASSWORD, "
            "or with --ask-password or --password; or show a certificate with --certificate",
        )
    return failed(problem, server)


def send_failed(problem: ChatError, server: str, to: Sequence[str]) -> Failed:
    """What to tell when a message was not stored.

    Args:
        problem: what the client library raised.
        server: as the user named it.
        to: the recipients; empty: everyone.
    """
    whom = quoted_list(to)
    detail = problem.detail if isinstance(problem, Refused) else ""
    if isinstance(problem, UserNotFound) and len(to) == 1:
        return Failed(
            Exit.REFUSED, f"{no_user(to[0])}; who never logged in here cannot get messages"
        )
    if isinstance(problem, (UserNotFound, MailboxFull)) and detail:
        return Failed(Exit.REFUSED, f"nobody gets it: {visible(detail)}")
    if isinstance(problem, UserNotFound):
        return Failed(Exit.REFUSED, f"one of {whom} is no user; the others may have got it")
    if isinstance(problem, RequestTimeout):
        return Failed(
            Exit.TIMEOUT,
            f"{server}: {visible(str(problem))}; whether the message was stored is not known",
        )
    if isinstance(problem, Unavailable):
        return Failed(
            Exit.REFUSED, f"{server}: the server cannot store messages now; try again later"
        )
    if isinstance(problem, InternalFault):
        return Failed(
            Exit.REFUSED,
            f"the server did not store the message for {whom} and does not say why; "
            "the mailbox may be full: try again later",
        )
    return failed(problem, server)


_CONNECTING = (
    (
        error.DNSLookupError,
        "there is no such host",
        "check the name, or set another with --server",
    ),
    (
        error.ConnectionRefusedError,
        "nobody answers there",
        "start the server, or name another with --server",
    ),
    (
        (error.TimeoutError, error.NoRouteError, error.TCPTimedOutError),
        "the host cannot be reached",
        "check the address and the network",
    ),
)
"""What the commonest reasons of an endpoint mean for a person, and what to do, by type."""


def fact(problem: ChatError) -> str:
    """What happened to a connection, in words without advice."""
    return _connecting(problem)[0]


def _connecting(problem: ChatError) -> tuple[str, str]:
    cause = problem.__cause__
    if isinstance(problem, NotTrusted):
        return visible(str(problem)), (
            "check --server, or name the authority of that certificate with --ca FILE"
        )
    for types, what, advice in _CONNECTING:
        if isinstance(problem, NotConnected) and isinstance(cause, types):
            return what, advice
    return visible(str(problem)), ""
