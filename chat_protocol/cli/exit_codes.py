"""Exit codes of ``chatclient``, and the error sentences that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from twisted.internet import error as internet_error

from chat_protocol.cli.text import quoted, quoted_list, visible
from chat_protocol.errors import (
    AuthenticationFailed,
    ChatError,
    InternalFault,
    InvalidUsername,
    MailboxFull,
    NotConnected,
    NotTrusted,
    OutOfOrder,
    Refused,
    RequestTimeout,
    Unavailable,
    UnknownCommand,
    UserAlreadyLogged,
    UserNotFound,
)

__all__ = [
    "EXIT_CODES",
    "CommandFailed",
    "ExitCode",
    "OutputClosed",
    "describe_failure",
    "login_failed",
    "request_failed",
    "send_failed",
    "unknown_user",
]


class ExitCode(IntEnum):
    """Exit codes of ``chatclient``."""

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
    0  success
    1  the server refused the request: wrong password, unknown user, name in use, ...
    2  invalid command line, or invalid text to send
    3  no connection to the server, or a lost connection not restored in time
    4  no answer from the server in time, or fewer messages than --count arrived
    5  the output cannot be written
   70  internal error in chatclient
  130  interrupted with Ctrl-C
  141  the reader of the output closed it
  143  terminated by SIGTERM
"""


class CommandFailed(Exception):
    """Ends the run with an exit code and a sentence on stderr."""

    def __init__(self, code: ExitCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class OutputClosed(Exception):
    """The reader of the output has closed it; the run ends silently."""


def request_failed(error: ChatError, server: str) -> CommandFailed:
    """Return the error to report when a request or the connection failed.

    Args:
        error: raised by the client library.
        server: the address as the user wrote it.
    """
    text = visible(str(error))
    if isinstance(error, NotConnected):
        advice = _failure_and_advice(error)[1]
        return CommandFailed(
            ExitCode.CONNECTION, f"{server}: {describe_failure(error)}{advice and '; '}{advice}"
        )
    if isinstance(error, RequestTimeout):
        return CommandFailed(
            ExitCode.TIMEOUT, f"{server}: {text}; try again or set a longer --timeout"
        )
    if isinstance(error, Refused) and not isinstance(error, UnknownCommand):
        return CommandFailed(ExitCode.REFUSED, f"{server}: the server refused the request: {text}")
    return CommandFailed(ExitCode.REFUSED, f"{server}: {text}")


def unknown_user(name: str) -> str:
    """Return the sentence for an unknown username."""
    return f"no user named {quoted(name)}"


def login_failed(error: ChatError, server: str, username: str, password: bool) -> CommandFailed:
    """Return the error to report when a login failed.

    Args:
        error: raised by the client library.
        server: the address as the user wrote it.
        username: the name used for the login.
        password: whether a password was given.
    """
    name = quoted(username)
    if isinstance(error, UserAlreadyLogged):
        return CommandFailed(
            ExitCode.REFUSED,
            f"{name} is already logged in elsewhere; log out there or choose another name",
        )
    if isinstance(error, (UserNotFound, InvalidUsername)):
        reason = f" ({visible(error.detail)})" if error.detail else ""
        return CommandFailed(
            ExitCode.REFUSED,
            f"the server rejected the name {name}{reason}; choose another name",
        )
    if isinstance(error, AuthenticationFailed):
        if password:
            return CommandFailed(ExitCode.REFUSED, f"the server rejected the password for {name}")
        return CommandFailed(
            ExitCode.REFUSED,
            f"the server requires a password for {name}: set CHAT_PASSWORD in the environment, "
            "use --ask-password or --password, or present a certificate with --certificate",
        )
    return request_failed(error, server)


def send_failed(error: ChatError, server: str, to: Sequence[str]) -> CommandFailed:
    """Return the error to report when a message was not stored.

    Args:
        error: raised by the client library.
        server: the address as the user wrote it.
        to: the recipients; empty: everyone.
    """
    recipients = quoted_list(to)
    detail = error.detail if isinstance(error, Refused) else ""
    if isinstance(error, UserNotFound) and len(to) == 1:
        return CommandFailed(
            ExitCode.REFUSED,
            f"{unknown_user(to[0])}; a user must log in once before receiving messages",
        )
    if isinstance(error, (UserNotFound, MailboxFull)) and detail:
        return CommandFailed(ExitCode.REFUSED, f"refused for all recipients: {visible(detail)}")
    if isinstance(error, UserNotFound):
        return CommandFailed(
            ExitCode.REFUSED,
            f"one of {recipients} does not exist; the others may have received the message",
        )
    if isinstance(error, RequestTimeout):
        return CommandFailed(
            ExitCode.TIMEOUT,
            f"{server}: {visible(str(error))}; the message may or may not have been stored",
        )
    if isinstance(error, Unavailable):
        return CommandFailed(
            ExitCode.REFUSED, f"{server}: the server cannot store messages now; try again later"
        )
    if isinstance(error, OutOfOrder):
        why = error.detail or str(OutOfOrder())
        return CommandFailed(
            ExitCode.REFUSED,
            f"{server}: the server refused the message as out of order: "
            f"{visible(why).rstrip('.')}; check the history and send it again if needed",
        )
    if isinstance(error, InternalFault) and not detail:
        return CommandFailed(
            ExitCode.REFUSED,
            f"the server did not store the message for {recipients} and gave no reason; "
            "the mailbox may be full, so try again later",
        )
    return request_failed(error, server)


_CONNECT_ERRORS = (
    (
        internet_error.DNSLookupError,
        "the host name cannot be resolved",
        "check the name or give another with --server",
    ),
    (
        internet_error.ConnectionRefusedError,
        "the connection was refused",
        "start the server or give another with --server",
    ),
    (
        (internet_error.TimeoutError, internet_error.NoRouteError, internet_error.TCPTimedOutError),
        "the host cannot be reached",
        "check the address and the network",
    ),
)
"""Common connection errors by type, with an explanation and advice."""


def describe_failure(error: ChatError) -> str:
    """Return what happened to a connection, without advice."""
    return _failure_and_advice(error)[0]


def _failure_and_advice(error: ChatError) -> tuple[str, str]:
    cause = error.__cause__
    if isinstance(error, NotTrusted):
        return visible(str(error)), ("check --server or give the CA certificate with --ca FILE")
    for types, what, advice in _CONNECT_ERRORS:
        if isinstance(error, NotConnected) and isinstance(cause, types):
            return what, advice
    return visible(str(error)), ""
