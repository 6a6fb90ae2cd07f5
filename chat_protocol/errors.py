"""Every error of the package, in one tree.

::

    ChatError
    ├── Refused                    an outcome with a code of its own on the wire
    │   ├── Malformed
    │   ├── UnknownCommand
    │   ├── NotLoggedIn
    │   ├── InvalidUsername
    │   ├── AuthenticationFailed
    │   ├── UserNotFound
    │   ├── UserAlreadyLogged
    │   ├── MailboxFull
    │   ├── RateLimited
    │   ├── Unavailable
    │   └── InternalFault
    ├── FrameLengthError           a length that ends the connection
    ├── StoreUnusable              a store that cannot be opened: the text says what to do
    ├── CertificateUnusable        a certificate or key that cannot be used: the text says why
    ├── NotConnected               the client's connection is not there (any more)
    │   ├── NotTrusted             the server shows no certificate that the client trusts
    │   └── Replaced               another connection of the same user took the session over
    ├── RequestTimeout             the client's request had no answer in time
    └── TooManyUnsent              the client has too many messages that wait to be sent

``Refused`` and what is below it is raised on both sides: by the server's handlers, where one
place turns it into its code, and by the client library for the code that a server answered.
"""

from __future__ import annotations

from typing import ClassVar

from chat_protocol.wire.codes import Code

__all__ = [
    "AuthenticationFailed",
    "CertificateUnusable",
    "ChatError",
    "FrameLengthError",
    "InternalFault",
    "InvalidUsername",
    "MailboxFull",
    "Malformed",
    "NotConnected",
    "NotLoggedIn",
    "NotTrusted",
    "RateLimited",
    "Refused",
    "Replaced",
    "RequestTimeout",
    "StoreUnusable",
    "TooManyUnsent",
    "Unavailable",
    "UnknownCommand",
    "UserAlreadyLogged",
    "UserNotFound",
    "refusal",
]


class ChatError(Exception):
    """The root of the package's errors."""


class Refused(ChatError):
    """A request that was refused; ``code`` is what the wire says.

    Args:
        detail: a sentence for people: which limit, its value, which name. Never the text of
            another exception.
    """

    code: ClassVar[Code] = Code.ERROR

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or (self.__doc__ or "").partition("\n")[0])
        self.detail = detail


class Malformed(Refused):
    """The body of the command does not parse."""

    code = Code.MALFORMED


class UnknownCommand(Refused):
    """There is no such command."""

    code = Code.UNKNOWN_COMMAND


class NotLoggedIn(Refused):
    """The command needs a login."""

    code = Code.NOT_LOGGED_IN


class InvalidUsername(Refused):
    """The text cannot be a username."""

    code = Code.INVALID_USERNAME


class AuthenticationFailed(Refused):
    """The password is wrong, or one is needed."""

    code = Code.AUTHENTICATION_FAILED


class UserNotFound(Refused):
    """There is no user of that name."""

    code = Code.USER_NOT_FOUND


class UserAlreadyLogged(Refused):
    """The user, or this connection, is logged in already."""

    code = Code.USER_ALREADY_LOGGED


class MailboxFull(Refused):
    """The recipient's mailbox is full."""

    code = Code.MAILBOX_FULL


class RateLimited(Refused):
    """Too many requests of that kind.

    Args:
        limit: on the server, the name of the limit that was met.
    """

    code = Code.RATE_LIMITED

    def __init__(self, detail: str = "", limit: str = "") -> None:
        super().__init__(detail)
        self.limit = limit


class Unavailable(Refused):
    """The server cannot take it now; nothing was stored, try again later."""

    code = Code.UNAVAILABLE


class InternalFault(Refused):
    """The server refused it without saying more."""

    code = Code.ERROR


class FrameLengthError(ChatError):
    """The length of a frame is outside its bounds; the connection ends."""


class StoreUnusable(ChatError):
    """The store cannot be used; the text is a sentence for the operator."""


class CertificateUnusable(ChatError):
    """A certificate or key cannot be used; the text is a sentence for who gave it."""


class NotConnected(ChatError):
    """There is no connection to the server."""


class NotTrusted(NotConnected):
    """The server's certificate is not one that the client trusts for that server."""


class Replaced(NotConnected):
    """Another connection of the same user has taken the session over."""


class RequestTimeout(ChatError):
    """The server did not answer in time; whether it acted is not known."""


class TooManyUnsent(ChatError):
    """So many messages wait to be sent that no more are taken."""


_BY_CODE = {error.code: error for error in Refused.__subclasses__()}


def refusal(code: int, detail: str = "") -> Refused:
    """The error that stands for the ``code`` of a Response; any unknown one is InternalFault.

    Args:
        detail: as the server gave it; version 1 has none.
    """
    error = _BY_CODE.get(code)  # type: ignore[call-overload]
    if error is None:
        return InternalFault(detail or f"the server answered with code {code}")
    instance: Refused = error(detail)
    return instance
