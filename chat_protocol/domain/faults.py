"""A fault of the program stays with the connection that met it."""

from __future__ import annotations

from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.domain.users import Session

__all__ = ["end_session"]

_log = Logger(namespace="chat_protocol.faults")


def end_session(session: Session, what: str, failure: Failure | None = None) -> None:
    """Log a fault and end the connection of a session.

    Args:
        session: that met it.
        what: what met it, with ``{peer}`` for the user.
        failure: the fault; None: the current exception.
    """
    _log.failure(what, failure, peer=session.user.name)
    session.connection.abort()
