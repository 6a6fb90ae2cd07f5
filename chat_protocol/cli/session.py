"""A logged-in client for the length of a run: login, reconnect and logout."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall

from chat_protocol.cli.device import open_device, open_sender
from chat_protocol.cli.exit_codes import (
    CommandFailed,
    ExitCode,
    describe_failure,
    login_failed,
    request_failed,
)
from chat_protocol.cli.options import Settings
from chat_protocol.client import ChatClient, Ended, Event, Offline, Online
from chat_protocol.client.backoff import MAX_DELAY
from chat_protocol.errors import AuthenticationFailed, ChatError, UserAlreadyLogged

__all__ = ["VERSION_1_NOTICE", "ClientSession"]

VERSION_1_NOTICE = (
    "the server speaks version 1: /all, /users, /history and presence are not available, "
    "and messages in flight when the connection is lost may be lost"
)
"""Shown in a conversation when the server speaks version 1."""

T = TypeVar("T")


class ClientSession:
    """Keep a client logged in, and report when its connection is lost and restored.

    Args:
        reactor: the reactor.
        settings: server, password and timeouts.
        username: name to log in with.
        notify: shows a sentence to the user.
        receive: whether messages are received; otherwise the session only asks and sends.
        options: further arguments of ChatClient.

    Raises:
        UsageError: the endpoint or a certificate file is not usable.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        username: str,
        notify: Callable[[str], object],
        receive: bool = True,
        **options: Any,
    ) -> None:
        server = settings.server.key
        if receive:
            self._device = open_device(server, username, os.environ, settings.device)
        else:
            self._device = open_sender(server, username, os.environ)
        self.client = ChatClient(
            settings.server.endpoint(reactor),
            username,
            reactor,
            device=self._device.name,
            receive=receive,
            password=settings.password,
            timeout=settings.timeout,
            acknowledge=False,
            **options,
        )
        self.server = settings.server.text
        """The address as the user wrote it."""
        self.on_login: Callable[[int], object] = lambda version: None
        """Called with the protocol version at each login."""
        self.online_since = 0.0
        """Time of the last login, in seconds of the reactor's clock."""
        self._receive = receive
        self._reactor = reactor
        self._settings = settings
        self._notify = notify
        self._reconnect_timeout = settings.reconnect_timeout
        self._offline_reason: str | None = None
        self._shown: set[str] = set()
        """Tokens that were refused since the last login."""
        self._reconnect_timer: IDelayedCall | None = None
        self._work: Deferred[Any] | None = None
        self._cancel_call: IDelayedCall | None = None
        self._end_reason: Exception | None = None

    async def open(self) -> None:
        """Log in, without retries.

        Raises:
            CommandFailed: the login failed; the connection is closed.
        """
        # A session that only sends needs no more of its device than to be let in.
        if self._device.problem and self._receive:
            self._notify(self._device.problem)
        try:
            await self._log_in()
        except BaseException as error:
            if self._device.problem and not self._receive:
                self._notify(self._device.problem)
            await self.client.stopService()
            self._device.close()
            if isinstance(error, ChatError):
                raise self._login_failed(error) from error
            raise
        self.client.add_observer(self._observe)
        self._online(self.client.version or 0)

    async def _log_in(self) -> None:
        """Log in with one of the tokens that this machine has, or without one."""
        *tokens, last = [*self._device.tokens(), ""]
        for token in tokens:
            self.client.show(token)
            self.client.startService()
            try:
                await self.client.when_online(fail_after_failures=1)
            except (UserAlreadyLogged, AuthenticationFailed) as error:
                if isinstance(error, AuthenticationFailed) and self._settings.password is not None:
                    # Another token does not make the password right.
                    raise
                # The session of that token may have ended.
                await self.client.stopService()
            else:
                return
        self.client.show(last)
        self.client.startService()
        await self.client.when_online(fail_after_failures=1)

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine and log out.

        Raises:
            CommandFailed: the connection was lost and not restored in time, or the server refused.
            Exception: raised by the coroutine, or passed to :meth:`end`.
        """
        self._work = work = Deferred.fromCoroutine(coroutine)
        if self._end_reason is not None and self._cancel_call is None:
            # The session ended before there was work to cancel.
            work.cancel()
        try:
            result = await work
        except CancelledError:
            if self._end_reason is None:
                raise
            raise self._end_reason from None
        except ChatError as error:
            raise self._end_reason or self._failed(error) from error
        else:
            self.raise_if_ended()
        finally:
            self._end_reason = self._end_reason or CancelledError()
            self._cancel_reconnect_timer()
            if self._cancel_call is not None:
                self._cancel_call.cancel()
            await self.client.stopService()
            self._device.close()
        return result

    def end(self, reason: Exception) -> None:
        """End the run with ``reason``, unless it is ending already."""
        if self._end_reason is None:
            self._end_reason = reason
            # In the next turn, because the work itself may be the caller.
            self._cancel_call = self._reactor.callLater(0, self._cancel)

    def raise_if_ended(self) -> None:
        """Raise the reason if the run is ending."""
        if self._end_reason is not None:
            raise self._end_reason

    def set_reconnect_timeout(self, seconds: float) -> None:
        """End the run if a reconnect takes longer than ``seconds`` from now on."""
        self._reconnect_timeout = seconds
        if self._offline_reason is not None and self._reconnect_timer is None:
            self._reconnect_timer = self._reactor.callLater(seconds, self._reconnect_timed_out)

    def _cancel(self) -> None:
        self._cancel_call = None
        if self._work is not None:
            self._work.cancel()

    def _observe(self, event: Event) -> None:
        if isinstance(event, Online):
            self._cancel_reconnect_timer()
            if self._offline_reason is not None:
                self._offline_reason = None
                self._notify("reconnected")
            self._online(event.version)
        elif isinstance(event, Offline):
            self._offline(event)
        elif isinstance(event, Ended) and event.reason is not None:
            reason = event.reason
            self.end(self._login_failed(reason) if isinstance(reason, ChatError) else reason)

    def _online(self, version: int) -> None:
        self._device.keep(self.client.resume_state.session)
        self._shown.clear()
        self.online_since = self._reactor.seconds()
        self.on_login(version)

    def _offline(self, event: Offline) -> None:
        if isinstance(event.reason, UserAlreadyLogged):
            self._show_another_token()
        if self._reconnect_timeout == 0:
            self.end(request_failed(event.reason, self.server))
            return
        reason = describe_failure(event.reason)
        if self._offline_reason is None:
            self._notify(f"connection lost: {reason}; retrying in {event.retry_in:.1f} s")
        elif reason != self._offline_reason:
            self._notify(f"not connected: {reason}; still retrying, at least every {MAX_DELAY:g} s")
        self._offline_reason = reason
        if self._reconnect_timeout is not None and self._reconnect_timer is None:
            self._reconnect_timer = self._reactor.callLater(
                self._reconnect_timeout, self._reconnect_timed_out
            )

    def _show_another_token(self) -> None:
        """Show another token of this machine at the next login.

        A server that was restarted knows no token from before. The process of this machine that
        logs in first gets a new one, with which the others may log in beside it.
        """
        self._shown.add(self.client.resume_state.session)
        tokens = self._device.tokens()
        if fresh := [token for token in tokens if token not in self._shown]:
            self.client.show(fresh[0])
        else:
            # The next round tries them all again, with those that appear until then.
            self._shown.clear()

    def _reconnect_timed_out(self) -> None:
        self._reconnect_timer = None
        self.end(
            CommandFailed(
                ExitCode.CONNECTION,
                f"{self.server}: {self._offline_reason}; could not reconnect within "
                f"{self._reconnect_timeout:g} seconds",
            )
        )

    def _cancel_reconnect_timer(self) -> None:
        if self._reconnect_timer is not None:
            self._reconnect_timer.cancel()
            self._reconnect_timer = None

    def _failed(self, error: ChatError) -> CommandFailed:
        if self.client.stopped_by_application:
            return request_failed(error, self.server)
        return self._login_failed(error)

    def _login_failed(self, error: ChatError) -> CommandFailed:
        given = self._settings.password is not None
        return login_failed(error, self.server, self.client.username, given)
