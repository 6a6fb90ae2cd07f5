"""How much one user or address may ask for (docs/protocol.md, section "Fairness").

Nobody has a timer of his own. A connection counts down a portion of its user's and its address's
rates, and only when that is used up a clock is looked at. Those who have to wait share one timer.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chat_protocol.domain.counters import Counters
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.rates import Allowance, Bucket, Buckets, address_of
from chat_protocol.errors import RateLimited
from chat_protocol.server.log_limiter import LimitLog

if TYPE_CHECKING:
    from chat_protocol.server.connection import ChatProtocol

__all__ = ["UNLIMITED", "Fairness"]

UNLIMITED = float("inf")
"""The budget of who has no limit."""

_TICK = 0.02
"""Seconds; who has to wait waits at least so long, and is let go at most so much later."""

_LONGEST_HOLD = 5.0
"""Seconds; so long at most a connection is not read for a login too many."""

_FREE_REFUSALS = 100
"""So many requests in a row are refused before refusing slows down, too."""


class Fairness:
    """The rates of one server.

    Args:
        limits: names the rates.
        clock: measures them.
        counters: count each limit that is met.
        log: says who met it.
    """

    def __init__(
        self, limits: Limits, clock: IReactorTime, counters: Counters, log: LimitLog
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
        self._held: dict[ChatProtocol, float] = {}
        """When each that has to wait is let go."""
        self._timer: IDelayedCall | None = None

    def met(self, limit: str, who: ChatProtocol | str, line: str, **values: Any) -> None:
        """Count a limit that somebody has met, and say so in the log.

        Args:
            limit: its name in docs/protocol.md.
            who: for the log; a connection or an address.
            line: a format for ``values``.
        """
        self._counters.limit(limit)
        line = "{peer}: " + line + " ({limit})"
        if isinstance(who, str):
            self._log.write(limit, line, whose=who, peer=who, **values)
        else:
            self._log.about(who, limit, line, **values)

    # Connections and logins.

    def accepts(self, host: str) -> bool:
        """Whether an address may connect once more now."""
        address = address_of(host)
        if not address or not self._connections.take(address, self._clock.seconds()):
            return True
        rate = self._connections.rate
        self.met("connection_rate_per_address", host, "connects too often, {rate}", rate=rate)
        return False

    def check_login(self, connection: ChatProtocol, name: str) -> None:
        """Count an attempt to log in.

        Raises:
            RateLimited: there were too many of the address, or with this name from there. The
                connection is not read until there may be another, or for _LONGEST_HOLD.
        """
        address = address_of(connection.host)
        if not address:
            return
        now = self._clock.seconds()
        for limit, buckets, key in (
            ("login_rate_per_address", self._logins_of_address, address),
            ("login_rate", self._logins, (address, name)),
        ):
            wait = buckets.take(key, now)
            if wait:
                self._hold(connection, now + min(wait, _LONGEST_HOLD))
                raise RateLimited(
                    f"too many logins, {buckets.rate} ({limit}); {_again(wait)}", limit
                )

    # Messages and all other requests.

    def begin(self, connection: ChatProtocol, user: str | None = None) -> None:
        """From now on a connection's requests count as its user's, before that as nobody's."""
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

    def _settle(self, connection: ChatProtocol, now: float) -> None:
        if connection.allowance is not None:
            connection.allowance.give_back(connection.budget, now)
            connection.allowance = None
            connection.budget = UNLIMITED

    def admit(self, connection: ChatProtocol) -> None:
        """Look whether a request of version 2 may be handled now; it is counted afterwards.

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
            # What is refused costs nothing, for who takes notice of it.
            connection.budget += 1
        raise RateLimited(f"too many messages, {rate}; {_again(wait)}", self._message_limit(rate))

    def overspent(self, connection: ChatProtocol) -> None:
        """The budget is below 0: get another, or read no more until there is one."""
        allowance, now = connection.allowance, self._clock.seconds()
        assert allowance is not None
        connection.budget = allowance.portion(-connection.budget, now)
        if connection.budget or not connection.reads:
            return
        rate = allowance.rate(now)
        self.met(
            self._message_limit(rate),
            connection,
            "sends too much, {rate}: read more slowly",
            rate=rate,
        )
        self._hold(connection, now + allowance.wait(now))

    def _hold(self, connection: ChatProtocol, until: float) -> None:
        connection.hold(self)
        self._held[connection] = until
        if self._timer is None:
            self._timer = self._clock.callLater(_TICK, self._let_go)

    def _message_limit(self, rate: object) -> str:
        mine = rate is self._limits.message_rate
        return "message_rate" if mine else "message_rate_per_address"

    def _let_go(self) -> None:
        now = self._clock.seconds()
        self._timer = None
        for connection in [one for one, due in self._held.items() if due <= now]:
            del self._held[connection]
            connection.release(self)
        if self._held and self._timer is None:
            self._timer = self._clock.callLater(_TICK, self._let_go)

    def forget(self, connection: ChatProtocol) -> None:
        """A connection is gone."""
        self._settle(connection, self._clock.seconds())
        self._held.pop(connection, None)
        if not self._held and self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _again(wait: float) -> str:
    # Up: whoever comes back then is not too early.
    wait = ceil(wait * 10) / 10
    return f"try again in {wait:.1f} s" if wait < 10 else f"try again in {wait:.0f} s"
