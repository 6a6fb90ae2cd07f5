"""A connection to a server for the length of a run: getting it, keeping it, giving it up."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall

from chat_protocol.cli.exit_codes import Exit, Failed, fact, failed, login_failed
from chat_protocol.cli.options import Settings
from chat_protocol.client import ChatClient, Ended, Event, Offline, Online
from chat_protocol.client.backoff import MAX_DELAY
from chat_protocol.errors import ChatError

__all__ = ["Session"]

T = TypeVar("T")


class Session:
    """A client that is logged in, and what is said when its connection comes and goes.

    Args:
        reactor: what runs.
        settings: where the server is, and how long to wait for what.
        username: as whom to log in.
        say: takes a sentence for the user.
        options: more arguments of ChatClient.

    Raises:
        UsageError: there is no such kind of endpoint.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        username: str,
        say: Callable[[str], object],
        **options: Any,
    ) -> None:
        self.client = ChatClient(
            settings.server.endpoint(reactor),
            username,
            reactor,
            password=settings.password,
            timeout=settings.timeout,
            acknowledge=False,
            **options,
        )
        self.server = settings.server.text
        """As the user named it."""
        self.on_login: Callable[[int], object] = lambda version: None
        """Called with the version that is spoken, at the first login and each later one."""
        self.online_since = 0.0
        """Seconds by the reactor's clock, of the last login."""
        self._reactor = reactor
        self._settings = settings
        self._say = say
        self._patience = settings.patience
        self._lost: str | None = None
        self._giving_up: IDelayedCall | None = None
        self._work: Deferred[Any] | None = None
        self._cancelling: IDelayedCall | None = None
        self._problem: Exception | None = None

    async def open(self) -> None:
        """Log in; the first failure is the last.

        Raises:
            Failed: it cannot be done; nothing is left connected.
        """
        self.client.startService()
        try:
            await self.client.when_online(fail_after_failures=1)
        except BaseException as error:
            await self.client.stopService()
            if isinstance(error, ChatError):
                raise self._login_failed(error) from error
            raise
        self.client.add_observer(self._happened)
        self._online(self.client.version or 0)

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Carry out what the session is for, and log out.

        Raises:
            Failed: the connection was lost and is not back in time, the server refused.
            Exception: what the work raises, or was given to :meth:`end`.
        """
        self._work = work = Deferred.fromCoroutine(coroutine)
        if self._problem is not None and self._cancelling is None:
            # It came before there was work to cancel.
            work.cancel()
        try:
            result = await work
        except CancelledError:
            if self._problem is None:
                raise
            raise self._problem from None
        except ChatError as error:
            raise self._problem or self._failed(error) from error
        else:
            self.check()
        finally:
            self._problem = self._problem or CancelledError()
            self._stop_waiting()
            if self._cancelling is not None:
                self._cancelling.cancel()
            await self.client.stopService()
        return result

    def end(self, problem: Exception) -> None:
        """Let the run end with ``problem``, unless it ends already."""
        if self._problem is None:
            self._problem = problem
            # Not at once: the work may be what calls this.
            self._cancelling = self._reactor.callLater(0, self._cancel)

    def check(self) -> None:
        """Raise what the run ends with, if it does."""
        if self._problem is not None:
            raise self._problem

    def be_patient_for(self, seconds: float) -> None:
        """Give up if the connection is away for longer, from now on."""
        self._patience = seconds
        if self._lost is not None and self._giving_up is None:
            self._giving_up = self._reactor.callLater(seconds, self._give_up)

    def _cancel(self) -> None:
        self._cancelling = None
        if self._work is not None:
            self._work.cancel()

    def _happened(self, event: Event) -> None:
        if isinstance(event, Online):
            self._stop_waiting()
            if self._lost is not None:
                self._lost = None
                self._say("connected again")
            self._online(event.version)
        elif isinstance(event, Offline):
            self._offline(event)
        elif isinstance(event, Ended) and event.reason is not None:
            self.end(self._login_failed(event.reason))

    def _online(self, version: int) -> None:
        self.online_since = self._reactor.seconds()
        self.on_login(version)

    def _offline(self, event: Offline) -> None:
        if self._patience == 0:
            self.end(failed(event.reason, self.server))
            return
        why = fact(event.reason)
        if self._lost is None:
            self._say(f"connection lost: {why}; trying again in {event.retry_in:.1f} s")
        elif why != self._lost:
            self._say(f"not connected: {why}; still trying, every {MAX_DELAY:g} s at least")
        self._lost = why
        if self._patience is not None and self._giving_up is None:
            self._giving_up = self._reactor.callLater(self._patience, self._give_up)

    def _give_up(self) -> None:
        self._giving_up = None
        self.end(
            Failed(
                Exit.CONNECTION,
                f"{self.server}: {self._lost}; the connection was not back within "
                f"{self._patience:g} seconds",
            )
        )

    def _stop_waiting(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    def _failed(self, error: ChatError) -> Failed:
        if self.client.stopped_by_application:
            return failed(error, self.server)
        return self._login_failed(error)

    def _login_failed(self, error: ChatError) -> Failed:
        given = self._settings.password is not None
        return login_failed(error, self.server, self.client.username, given)
