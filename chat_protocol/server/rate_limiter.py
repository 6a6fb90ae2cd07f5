"""Rate limits for users and addresses (docs/protocol.md, section "Rate limits").

No connection has a timer of its own. Each one counts down a portion of the rates of its user and of
its address. The clock is read when that portion is used up. Connections that have to wait share one
timer.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chat_protocol.domain.counters import Counters
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.rates import Allowance, Bucket, Buckets
from chat_protocol.domain.users import Session
from chat_protocol.errors import RateLimited
from chat_protocol.server.log_limiter import LogLimiter
from chat_protocol.server.peer import Connection, Observer, Peer
from chat_protocol.transport.addresses import address_of

__all__ = ["UNLIMITED", "RateLimiter"]

UNLIMITED = float("inf")
"""The budget of a connection without a limit."""

_log = Logger()

_TICK = 0.02
"""Shortest wait of a connection, and the most that a wait is longer than necessary, in seconds."""

_LONGEST_PAUSE = 5.0
"""Longest pause in reading after a login above the rate, in seconds."""

_FREE_REFUSALS = 100
"""Consecutive refusals at full speed. Then the server reads more slowly as well."""


class RateLimiter(Observer):
    """Keeps the rate limits of one server.

    Args:
        limits: has the rates.
        clock: measures them.
        counters: count each limit that is met.
        log: says which connection or address met it.
    """

    def __init__(
        self, limits: Limits, clock: IReactorTime, counters: Counters, log: LogLimiter
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._counters = counters
        self._log = log
        kept = limits.rated
        self._connections = Buckets(limits.connection_rate_per_address, kept)
        self._logins = Buckets(limits.login_rate, kept)
        self._logins_of_address = Buckets(limits.login_rate_per_address, kept)
        self._messages = Buckets(limits.message_rate, kept)
        self._messages_of_address = Buckets(limits.message_rate_per_address, kept)
        self._waiting: dict[Any, float] = {}
        """For each peer that has to wait, the time at which it is resumed."""
        self._timer: IDelayedCall | None = None

    def met(self, limit: str, who: Connection | str, line: str, **values: Any) -> None:
        """Count a limit that was met, and log which connection or address met it.

        Args:
            limit: its name in docs/protocol.md.
            who: a connection or an address.
            line: a format for ``values``.
        """
        self._counters.limit(limit)
        line = "{peer}: " + line + " ({limit})"
        if isinstance(who, str):
            self._log.write(limit, line, whose=who, peer=who, **values)
        else:
            self._log.about(who, limit, line, **values)

    def answers_untaken(self, connection: Connection) -> None:
        """Count and log that reading is paused, because a client leaves answers untaken."""
        self.met(
            "answer_buffer",
            connection,
            "leaves more than {value} bytes of answers untaken; reading is paused until it has"
            " taken them",
            value=self._limits.answer_buffer,
        )

    # Connections and logins.

    def accepts(self, host: str) -> bool:
        """Return whether an address may connect once more now."""
        address = address_of(host)
        if not address or not self._connections.take(address, self._clock.seconds()):
            return True
        rate = self._connections.rate
        self.met("connection_rate_per_address", host, "connects too often, {rate}", rate=rate)
        return False

    def count_login(self, connection: Peer) -> None:
        """Count a login that names nobody; above the rate, read more slowly."""
        address = address_of(connection.host)
        now = self._clock.seconds()
        wait = self._logins_of_address.take(address, now) if address else 0.0
        if wait:
            self._wait(connection, now + min(wait, _LONGEST_PAUSE))

    def check_login(self, connection: Peer, name: str, is_known: bool) -> None:
        """Count an attempt to log in.

        Args:
            connection: of the client.
            name: of the user.
            is_known: whether the name was let in from that address before. Then other names from
                there do not count.

        Raises:
            RateLimited: there were too many from the address, or with this name from there. Then
                the connection is not read until another login is allowed, at most for
                _LONGEST_PAUSE.
        """
        address = address_of(connection.host)
        if not address:
            return
        now = self._clock.seconds()
        counted: list[tuple[str, Buckets, object]] = [("login_rate", self._logins, (address, name))]
        if not is_known:
            counted.insert(0, ("login_rate_per_address", self._logins_of_address, address))
        for limit, buckets, key in counted:
            wait = buckets.take(key, now)
            if wait:
                self._wait(connection, now + min(wait, _LONGEST_PAUSE))
                raise RateLimited(
                    f"too many logins, {buckets.rate} ({limit}); {_again(wait)}", limit
                )

    # Messages and all other requests.

    def begin(self, connection: Connection, user: str | None = None) -> None:
        """Count the requests of a connection for a user; None: there is no login yet."""
        now = self._clock.seconds()
        self._settle(connection, now)
        found: list[Bucket] = []
        if self._limits.message_rate.steady:
            mine = self._messages.get(user, now) if user is not None else None
            found.append(mine or Bucket(self._limits.message_rate, now))
        address = address_of(connection.host)
        of_address = self._messages_of_address.get(address, now) if address else None
        if of_address is not None:
            found.append(of_address)
        if found:
            connection.allowance = Allowance(tuple(found))
            connection.budget = 0

    def _settle(self, connection: Connection, now: float) -> None:
        if connection.allowance is not None:
            connection.allowance.give_back(connection.budget, now)
            connection.allowance = None
            connection.budget = UNLIMITED

    def admit(self, connection: Peer) -> None:
        """Check whether a version 2 request may be handled now. It is counted afterwards.

        Raises:
            RateLimited: there were too many.
        """
        if connection.budget >= 1:
            return
        allowance, now = connection.allowance, self._clock.seconds()
        assert allowance is not None
        connection.budget = allowance.portion(-connection.budget, now)
        if connection.budget >= 1:
            connection.rate_refusals = 0
            return
        rate, wait = allowance.rate(now), allowance.wait(now)
        connection.rate_refusals += 1
        if connection.rate_refusals % _FREE_REFUSALS:
            # A refusal is free for a client that heeds it.
            connection.budget += 1
        raise RateLimited(f"too many messages, {rate}; {_again(wait)}", self._message_limit(rate))

    def overspent(self, connection: Peer) -> None:
        """Renew a budget that is below 0, or pause the connection until that is possible."""
        allowance, now = connection.allowance, self._clock.seconds()
        assert allowance is not None
        connection.budget = allowance.portion(-connection.budget, now)
        if connection.budget or not connection.reads:
            return
        rate = allowance.rate(now)
        self.met(
            self._message_limit(rate),
            connection,
            "sends more than {rate}; reading is paused for a moment",
            rate=rate,
        )
        self._wait(connection, now + allowance.wait(now))

    def _wait(self, connection: Peer, until: float) -> None:
        connection.pause(self)
        self._waiting[connection] = until
        if self._timer is None:
            self._timer = self._clock.callLater(_TICK, self._resume_due)

    def _message_limit(self, rate: object) -> str:
        mine = rate is self._limits.message_rate
        return "message_rate" if mine else "message_rate_per_address"

    def _resume_due(self) -> None:
        now = self._clock.seconds()
        self._timer = None
        for connection in [one for one, due in self._waiting.items() if due <= now]:
            if self._waiting.pop(connection, None) is None:
                # One that was resumed before has ended it.
                continue
            try:
                connection.resume(self)
            except Exception:
                _log.failure("A connection failed")
                connection.abort()
        if self._waiting and self._timer is None:
            self._timer = self._clock.callLater(_TICK, self._resume_due)

    # Observer.

    def handed_over(self, before: Connection, after: Connection) -> None:
        # From here on: only a connection that was handed over can have requests.
        self._settle(before, self._clock.seconds())
        self.begin(after)

    def logged_in(self, peer: Peer, session: Session) -> None:
        self.begin(peer, session.user.name)

    def disconnected(self, connection: Connection) -> None:
        self._settle(connection, self._clock.seconds())
        self._waiting.pop(connection, None)
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _again(wait: float) -> str:
    # Rounded up: a client that waits so long is not too early.
    wait = ceil(wait * 10) / 10
    return f"try again in {wait:.1f} s" if wait < 10 else f"try again in {wait:.0f} s"
