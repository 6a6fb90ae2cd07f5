"""The limits of the server: names, defaults and consequences."""

from __future__ import annotations

from dataclasses import dataclass

from chat_protocol.domain.rates import Rate

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Bounds on what peers can make the server hold or do. Some say that 0 stands for none."""

    mailbox: int = 10_000
    """Messages that may wait in one mailbox. The server refuses the next one with MailboxFull,
    unless a version 1 session takes it at once. 0: none."""

    connections: int = 0
    """Open connections. The server closes the next one at once. 0: none."""

    connections_per_address: int = 0
    """Open connections from one address. The server closes the next one at once. 0: none."""

    connection_rate_per_address: Rate = Rate(50, 1000)
    """New connections from one address. The server closes one above the rate. 0: none."""

    login_rate_per_address: Rate = Rate(50, 1000)
    """Logins from one address. The server refuses one above the rate with RateLimited. 0: none."""

    login_rate: Rate = Rate(1, 30)
    """Logins under one name from one address. The server refuses one above the rate with
    RateLimited. 0: none."""

    message_rate: Rate = Rate(0, 0)
    """Messages and other requests of one user; a request of several KiB counts as several. Above
    the rate the server refuses version 2 requests with RateLimited, and reads version 1
    connections more slowly. 0: none."""

    message_rate_per_address: Rate = Rate(0, 0)
    """The same for all users at one address together. 0: none."""

    rated: int = 10_000
    """Users or addresses that the server keeps for each of these rates. Above it the server drops
    the least recently used one, which then has its whole burst again."""

    frames_before_login: int = 64
    """Frames that a connection without a session may send; requests of HTTP and messages of a
    WebSocket count as well. The server closes it at the next one. 0: none."""

    bytes_before_login: int = 66 * 1024
    """Bytes of payloads that a connection without a session may send. The server closes it when
    there are more. 0: none."""

    tests_before_login: int = 8
    """Unanswered CorrelationIdTests of a connection without a session. The server closes it at the
    next one."""

    login_seconds: float = 300
    """Time that a connection may take to log in, in seconds. Then the server closes it. 0: none."""

    frame_seconds: float = 60
    """Time that a frame may take from its first byte to its last, in seconds. Then the server
    closes the connection, up to 20 seconds late. 0: none."""

    send_buffer: int = 1024 * 1024
    """Bytes that may be written to one recipient and not be taken yet. Messages above it wait in
    the mailbox until the connection has taken all."""

    answer_buffer: int = 64 * 1024
    """Bytes of answers that a connection may leave untaken. Above it the server pauses reading from
    that connection until it has taken all."""

    session_backlog: int = 256 * 1024
    """Bytes of one session's messages that may wait for the store. Above it the server pauses
    reading from that connection until half of them are answered."""

    store_backlog: int = 32 * 1024 * 1024
    """Bytes of all messages that may wait for the store. Above it the server pauses reading from
    the connections that send until half of them are answered."""

    routes: int = 64
    """Recipients that a session keeps at hand. Above it the session drops all and starts again."""

    device_seconds: float = 30 * 24 * 60 * 60
    """Time in seconds after which the server forgets a device that is offline, unless it is the
    user's last one. 0: none."""

    token_seconds: float = 300
    """Time in seconds after the end of a verified session in which its token stands for the
    password, once. 0: none."""

    correlation_tests: int = 1024
    """Unanswered CorrelationIdTests of one connection. The server refuses the next one with
    RateLimited."""

    recipients: int = 1000
    """Users that one Publish may name. The server refuses more with Malformed."""

    window: int = 10_000
    """Unacknowledged messages that a version 2 session may ask for. The server grants no more."""

    missed_presences: int = 1000
    """Users whose latest presence the server keeps for a connection that does not read. Above it
    the server drops the oldest."""

    page_messages: int = 1000
    """Messages in one page of a mailbox."""

    page_bytes: int = 256 * 1024
    """Bytes of messages in one page of a mailbox, approximately."""

    pages_at_once: int = 16
    """Pages of mailboxes that the server reads between two commits."""

    close_seconds: float = 5.0
    """Time that a peer has to take its last answers, in seconds. Then the server aborts the
    connection."""

    linger_seconds: float = 1.0
    """Time that a peer has to close its side after the last answer, in seconds."""
