"""The gate between the handlers of messages and the exchange: hooks decide what passes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import TimeoutError as HookTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.messages import Message
from chat_protocol.domain.unanswered import Unanswered
from chat_protocol.domain.users import Session
from chat_protocol.errors import Refused
from chat_protocol.server.hooks import IHooks, MessageInfo
from chat_protocol.server.peer import Observer, Peer
from chat_protocol.wire.codec import encode_answers
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Scope
from chat_protocol.wire.frames import time_of

__all__ = ["AFTER_LIMIT", "HOOK_SECONDS", "Gate"]

HOOK_SECONDS = 30.0
"""Longest time that a hook has for a decision."""

AFTER_LIMIT = 1000
"""Deferreds of IHooks.stored() that may be waiting. Above that, new messages wait."""


class Gate(Observer):
    """Asks hooks about the messages of each session, one after the other.

    Args:
        hooks: decide.
        limits: ``session_backlog`` and ``store_backlog`` bound what waits.
        clock: times HOOK_SECONDS.
        submit: takes what was admitted.
    """

    log = Logger()

    def __init__(
        self,
        hooks: IHooks,
        limits: Limits,
        clock: IReactorTime,
        submit: Callable[[Message], None],
    ) -> None:
        self._hooks = hooks
        self._clock = clock
        self._submit = submit
        self._undecided = Unanswered(limits)
        self._queues: dict[Session, deque[Message]] = {}
        self._settled: dict[Session, list[Deferred[None]]] = {}
        self._after = 0
        """Deferreds of stored() that have not fired."""
        self._room: list[Deferred[None]] = []

    def submit(self, message: Message) -> None:
        """Take one message of a session: pass it on, or refuse it."""
        self._undecided.add(message)
        queue = self._queues.get(message.sender)
        if queue is not None:
            queue.append(message)
            return
        self._queues[message.sender] = deque((message,))
        deciding = Deferred.fromCoroutine(self._decide(message.sender))
        deciding.addErrback(lambda failure: self.log.failure("The gate failed", failure))

    def settled(self, session: Session) -> Deferred[None]:
        """Return a Deferred that fires when nothing of a session waits."""
        if session not in self._queues:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._settled.setdefault(session, []).append(waiting)
        return waiting

    async def _decide(self, session: Session) -> None:
        queue = self._queues[session]
        while queue:
            message = queue[0]
            refusal = await self._ask(message)
            queue.popleft()
            self._undecided.remove(message)
            if refusal is None:
                self._submit(message)
            else:
                _refuse(message, *refusal)
            self._undecided.resume()
        del self._queues[session]
        for waiting in self._settled.pop(session, ()):
            waiting.callback(None)

    async def _ask(self, message: Message) -> tuple[Code, str] | None:
        """Return why the message is refused; None: it is not."""
        try:
            while self._after >= AFTER_LIMIT:
                room: Deferred[None] = Deferred()
                self._room.append(room)
                await room
            asked = maybeDeferred(self._hooks.admit, _info(message))
            await asked.addTimeout(HOOK_SECONDS, self._clock, _too_late)
        except Refused as error:
            return error.code, error.detail
        except HookTimeout:
            self.log.error("A hook has not decided on a message within {n:g} s", n=HOOK_SECONDS)
            return Code.UNAVAILABLE, "the server cannot decide on it now, try again later"
        except Exception:
            self.log.failure("A hook failed to decide on a message")
            return Code.ERROR, ""
        return None

    def stored(self, messages: Iterable[Message]) -> None:
        """Tell the hooks of messages whose outcome is known."""
        for message in messages:
            if message.offset:
                self._after += 1
                told = maybeDeferred(self._hooks.stored, _info(message))
                told.addErrback(self._failed, "stored").addBoth(self._told)
        # The sessions are also paused for what has passed and is not answered.
        self._undecided.resume()

    def _told(self, _: None) -> None:
        self._after -= 1
        if self._room and self._after < AFTER_LIMIT:
            room, self._room = self._room, []
            for one in room:
                one.callback(None)

    def _failed(self, failure: Failure, name: str) -> None:
        self.log.failure("The hook {name}() failed", failure, name=name)

    # Observer

    def logged_in(self, peer: Peer, session: Session) -> None:
        told = maybeDeferred(self._hooks.logged_in, session.user.name, session.device)
        told.addErrback(self._failed, "logged_in")

    def logged_out(self, peer: Peer, session: Session, why: str) -> None:
        told = maybeDeferred(self._hooks.logged_out, session.user.name, session.device)
        told.addErrback(self._failed, "logged_out")


def _info(message: Message) -> MessageInfo:
    """Return what hooks see of a single message."""
    sender, audience = message.sender, message.audience
    return MessageInfo(
        sender.user.name,
        sender.device,
        audience.to,
        audience.scope == Scope.EVERYONE,
        message.texts[0].decode(),
        time_of(message.frames[0]),
        message.offset,
    )


def _refuse(message: Message, code: Code, detail: str) -> None:
    sender = message.sender
    sender.output.write(encode_answers(code, message.correlation_ids, message.version, detail))
    sender.connection.refused(code, 1, detail)


def _too_late(_: object, seconds: float) -> None:
    raise HookTimeout
