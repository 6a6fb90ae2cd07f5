"""Every limit of the server: its name, its value and what happens at it."""

from __future__ import annotations

from dataclasses import dataclass

from chat_protocol.domain.rates import Rate

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Bounds on what peers can make the server hold. 0 means none where it says so."""

    mailbox: int = 10_000
    """Messages waiting for one user; the next is answered MailboxFull. 0: none."""

    connections: int = 0
    """Connections at a time; the next is closed at once. 0: none."""

    connections_per_address: int = 0
    """Connections from one address at a time; the next is closed at once. 0: none."""

    connection_rate_per_address: Rate = Rate(50, 1000)
    """New connections from one address; one too many is closed at once. 0: none."""

    login_rate_per_address: Rate = Rate(50, 1000)
    """Logins from one address; one too many is answered RateLimited. 0: none."""

    login_rate: Rate = Rate(1, 30)
    """Logins with one name from one address; one too many is answered RateLimited. 0: none."""

    message_rate: Rate = Rate(0, 0)
    """Messages and other requests of one user, a long one counting for several; one too many of
    version 2 is answered RateLimited, a sender of version 1 is read more slowly. 0: none."""

    message_rate_per_address: Rate = Rate(0, 0)
    """The same of all who are at one address together. 0: none."""

    rated: int = 10_000
    """Users and addresses for each of these rates that are kept; past that the one that was
    asked for longest ago is forgotten and begins anew."""

    login_seconds: float = 300
    """How long a connection may be without a login; then it is closed. 0: none."""

    frame_seconds: float = 60
    """How long a frame may take from its first byte to its last; then its connection is closed,
    some seconds later at most. 0: none."""

    send_buffer: int = 1024 * 1024
    """Bytes of messages that are stored and written to one receiver at a time without a way
    through the mailbox; the rest goes there. One that has not taken them all gets no more until
    it has."""

    answer_buffer: int = 64 * 1024
    """Bytes of answers, written while the connection takes nothing, after which it is no longer
    read from until it has taken them."""

    session_backlog: int = 256 * 1024
    """Bytes of one session's messages that wait for the store; above it the session is no
    longer read from until half of them are answered."""

    store_backlog: int = 32 * 1024 * 1024
    """Bytes of all messages that wait for the store; above it a session that sends is no
    longer read from until half of them are answered."""

    routes: int = 64
    """Recipients a session keeps at hand; past that it starts anew."""

    correlation_tests: int = 1024
    """CorrelationIdTests of one connection that wait for their answer; the next is answered
    RateLimited."""

    recipients: int = 1000
    """Users that one Publish may name; more make it Malformed."""

    window: int = 10_000
    """Unacknowledged messages that a version 2 session may ask to have on their way; more is
    not granted."""

    missed_presences: int = 1000
    """Users whose coming and going is kept for a session that takes nothing; past that the
    oldest are forgotten."""

    page_messages: int = 1000
    """Messages of a mailbox that are read at a time."""

    page_bytes: int = 256 * 1024
    """About the bytes of messages after which a page of a mailbox ends."""

    pages_at_once: int = 16
    """Mailbox pages read between two commits."""

    close_seconds: float = 5.0
    """How long a connection that is being closed has to take its last answers; then it is cut
    off."""

    linger_seconds: float = 1.0
    """How long a peer has to close its side after the last answer was sent."""
