"""The exceptions of the package.

::

    ChatError
    ├── Refused                    a refused request; each subclass has a code on the wire
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
    │   ├── OutOfOrder
    │   └── InternalFault
    ├── FrameLengthError           a frame length out of bounds; it ends the connection
    ├── StoreUnusable              a store that cannot be opened
    ├── OutcomeUnknown             a store that cannot tell whether it stored a batch
    ├── CertificateUnusable        a certificate or key that cannot be used
    ├── NotConnected               the client has no connection, or has lost it
    │   ├── NotTrusted             the client does not trust the server's certificate
    │   └── Replaced               another connection of the user took over the session
    ├── RequestTimeout             the server did not answer a request in time
    └── TooManyUnsent              the client's queue of unsent messages is full

Both sides raise ``Refused`` and its subclasses. A handler of the server raises one, and the
dispatcher answers with its code. The client library raises the one for the code of an answer.
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
    "OutOfOrder",
    "OutcomeUnknown",
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
    """The base class of the package's exceptions."""


class Refused(ChatError):
    """The server refused the request; ``code`` is the code on the wire.

    Args:
        detail: text for people, such as the limit and its value, or the name of the recipient.
            It must not contain the text of another exception.
    """

    code: ClassVar[Code] = Code.ERROR

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or (self.__doc__ or "").partition("\n")[0])
        self.detail = detail


class Malformed(Refused):
    """The body of the command does not parse."""

    code = Code.MALFORMED


class UnknownCommand(Refused):
    """The server does not know the command."""

    code = Code.UNKNOWN_COMMAND


class NotLoggedIn(Refused):
    """The command requires a login."""

    code = Code.NOT_LOGGED_IN


class InvalidUsername(Refused):
    """The text is not a valid username."""

    code = Code.INVALID_USERNAME


class AuthenticationFailed(Refused):
    """The password is wrong or missing."""

    code = Code.AUTHENTICATION_FAILED


class UserNotFound(Refused):
    """No user has that name."""

    code = Code.USER_NOT_FOUND


class UserAlreadyLogged(Refused):
    """The user or this connection is already logged in."""

    code = Code.USER_ALREADY_LOGGED


class MailboxFull(Refused):
    """The recipient's mailbox is full."""

    code = Code.MAILBOX_FULL


class RateLimited(Refused):
    """The request exceeds a rate limit; try again later.

    Args:
        limit: on the server, the name of the rate limit.
    """

    code = Code.RATE_LIMITED

    def __init__(self, detail: str = "", limit: str = "") -> None:
        super().__init__(detail)
        self.limit = limit


class Unavailable(Refused):
    """The server cannot process the request now; nothing was stored, try again later."""

    code = Code.UNAVAILABLE


class OutOfOrder(Refused):
    """A message with a higher publishing id is stored already; this one was not stored.

    If its id is below what the server looks back on, it is not known whether this one is stored.
    Under a new id it would be behind the later ones.
    """

    code = Code.OUT_OF_ORDER


class InternalFault(Refused):
    """The server failed to process the request."""

    code = Code.ERROR


class FrameLengthError(ChatError):
    """The length of a frame is out of bounds; the connection ends."""


class StoreUnusable(ChatError):
    """The store cannot be opened; the text tells the operator what to do."""


class OutcomeUnknown(ChatError):
    """The store cannot tell whether it stored a batch; the text is for the operator."""


class CertificateUnusable(ChatError):
    """A certificate or key cannot be used; the text tells the operator or the user what to do."""


class NotConnected(ChatError):
    """The client is not connected to the server."""


class NotTrusted(NotConnected):
    """The client does not trust the server's certificate for that host name."""


class Replaced(NotConnected):
    """Another connection of the same user has taken over the session."""


class RequestTimeout(ChatError):
    """The server did not answer in time; the client cannot know whether the request took effect."""


class TooManyUnsent(ChatError):
    """The queue of unsent messages is full; wait until some have been sent."""


_BY_CODE = {error.code: error for error in Refused.__subclasses__()}


def refusal(code: int, detail: str = "") -> Refused:
    """Return the exception for the ``code`` of a Response, InternalFault for an unknown code.

    Args:
        detail: the detail of the Response; version 1 has none.
    """
    error = _BY_CODE.get(code)  # type: ignore[call-overload]
    if error is None:
        text = f"the server answered with code 0x{code:04X}"
        return InternalFault(f"{text}: {detail}" if detail else text)
    instance: Refused = error(detail)
    return instance
