"""Checks of hashed passwords: one at a time, outside of the reactor, fair by address."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred

from chat_protocol.errors import RateLimited
from chat_protocol.transport.addresses import address_of

__all__ = ["PASSWORD_CHECKS", "PasswordChecks"]

PASSWORD_CHECKS = 100
"""Checks of hashed passwords that can wait. Above it the server refuses one of the address with
the most."""

Run: TypeAlias = "Callable[[Callable[[], bool]], Deferred[bool]]"
"""Runs a function in another thread."""


class _Check:
    __slots__ = ("checked", "function")

    def __init__(self, function: Callable[[], bool], checked: Deferred[bool]) -> None:
        self.function = function
        self.checked = checked


class PasswordChecks:
    """Runs checks of passwords one after the other, so that they take no more than one core.

    Each address has a queue, and the queues take turns. So a crowd of guessers at one address
    delays a user at another one by a single check.

    Args:
        run: runs a check in another thread.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._queues: OrderedDict[str, deque[_Check]] = OrderedDict()
        """The checks that wait, by address; the next one is that of the first address."""
        self._waiting = 0
        self._is_running = False

    def check(self, host: str, function: Callable[[], bool]) -> Deferred[bool]:
        """Run a check when it is its turn. Fires with its result.

        Cancel it while it waits, and it does not run.

        Raises:
            RateLimited: in the Deferred; PASSWORD_CHECKS are waiting, and no address has more of
                them than this one.
        """
        address = address_of(host)
        check = _Check(function, Deferred(lambda _: self._cancelled(address, check)))
        self._queues.setdefault(address, deque()).append(check)
        self._waiting += 1
        if self._waiting > PASSWORD_CHECKS:
            self._refuse_one()
        self._go_on()
        return check.checked

    def _refuse_one(self) -> None:
        # Of several with as many, the newest: this one is refused if no other has more.
        address = max(reversed(self._queues), key=lambda one: len(self._queues[one]))
        check = self._take(address, -1)
        check.checked.errback(
            RateLimited(
                f"{PASSWORD_CHECKS} passwords wait for their check already; try again in 5 s",
                "PASSWORD_CHECKS",
            )
        )

    def _take(self, address: str, place: int) -> _Check:
        queue = self._queues[address]
        check = queue[place]
        self._remove(address, check)
        return check

    def _remove(self, address: str, check: _Check) -> None:
        queue = self._queues[address]
        queue.remove(check)
        self._waiting -= 1
        if not queue:
            del self._queues[address]

    def _cancelled(self, address: str, check: _Check) -> None:
        if check in self._queues.get(address, ()):
            self._remove(address, check)

    def _go_on(self) -> None:
        if self._is_running or not self._queues:
            return
        address = next(iter(self._queues))
        check = self._take(address, 0)
        if address in self._queues:
            self._queues.move_to_end(address)
        self._is_running = True
        self._run(check.function).addBoth(self._ended, check)

    def _ended(self, result: Any, check: _Check) -> None:
        self._is_running = False
        self._go_on()
        if not check.checked.called:
            # A Failure, too: callback passes it on as one.
            check.checked.callback(result)
