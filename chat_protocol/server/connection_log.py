"""The log of connections: logins, logouts, refusals and failed TLS."""

from __future__ import annotations

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from chat_protocol.domain.users import Session
from chat_protocol.server.log_limiter import LogLimiter
from chat_protocol.server.peer import Connection, Observer, Peer
from chat_protocol.server.tls_faults import advice
from chat_protocol.transport.loss import TLS_FAULT, why_lost
from chat_protocol.wire.codes import Code

__all__ = ["ConnectionLog"]


class ConnectionLog(Observer):
    """Writes the log of connections.

    Args:
        limiter: writes lines about refusals, a few of each kind.
    """

    _log = Logger(namespace="chat_protocol.connections")

    def __init__(self, limiter: LogLimiter) -> None:
        self._limiter = limiter

    def logged_in(self, peer: Peer, session: Session) -> None:
        self._log.info("{peer} logged in{device}", peer=peer.peer, device=_device(session))

    def not_authenticated(self, peer: Peer, name: str) -> None:
        self._limiter.about(
            peer, "password", "{peer} gave no right password for {user!a}", LogLevel.info, user=name
        )

    def logged_out(self, peer: Peer, session: Session, why: str) -> None:
        reason = f": {why}" if why else ""
        self._log.info(
            "{user!a} left{device}{reason}",
            user=session.user.name,
            device=_device(session),
            reason=reason,
        )

    def refused(self, peer: Peer, code: Code, detail: str) -> None:
        """Log the first request of a connection that was refused with a code."""
        self._limiter.about(
            peer,
            code.name,
            "Refused a request of {peer}: {code}{detail}",
            LogLevel.info,
            code=code.name,
            detail=f": {ascii(detail)[1:-1]}" if detail else "",
        )

    def lost(self, connection: Connection, reason: Failure) -> None:
        """Log why TLS failed, if a connection without a session was lost because of that."""
        why = why_lost(reason)
        if why.startswith(TLS_FAULT):
            fault = why.removeprefix(TLS_FAULT)
            self._limiter.about(
                connection,
                "tls",
                "TLS with {peer} failed: {fault}{advice}",
                fault=ascii(fault)[1:-1],
                advice=advice(fault),
            )

    def disconnected(self, connection: Connection) -> None:
        """Log how many requests were refused, if more were refused than logged."""
        refusals = connection.refusals
        if sum(refusals.values()) > len(refusals):
            self._limiter.about(
                connection,
                "refusals",
                "Refused {peer} in all: {refusals}",
                LogLevel.info,
                refusals=", ".join(f"{n} x {code.name}" for code, n in refusals.items()),
            )


def _device(session: Session) -> str:
    """Return what tells a session from the user's others."""
    if not session.receives:
        return " (sends only)"
    return f" (device {session.device!a})" if session.device else ""
