"""A client for code that blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from chat_protocol import aio
from chat_protocol.aio.waiting import next_of
from chat_protocol.client.events import Observer
from chat_protocol.client.messages import ReceivedMessage, ResumeState, UserInfo
from chat_protocol.client.state import State
from chat_protocol.errors import NotConnected, Replaced
from chat_protocol.sync.loop_thread import LoopThread

__all__ = ["Chat"]


class Chat:
    """A user who is logged in; :func:`chat_protocol.sync.connect` makes one.

    It is :class:`chat_protocol.client.ChatClient` for code that blocks, with the same guarantees
    and errors. A thread of its own keeps the user logged in, and reconnects. Any thread may call
    it. Calls wait while there is no connection; they fail with NotConnected when the chat is
    closed, and raise TimeoutError after ``timeout`` seconds. Ctrl-C ends a call that waits.

    Args:
        thread: runs the event loop.
        chat: the client in that loop.
    """

    def __init__(self, thread: LoopThread, chat: aio.Chat) -> None:
        self._thread = thread
        self._chat = chat

    @property
    def username(self) -> str:
        """The user's name."""
        return self._chat.username

    @property
    def state(self) -> State:
        """The current state."""
        return self._chat.state

    @property
    def version(self) -> int | None:
        """The protocol version in use; None while not logged in."""
        return self._thread.call(lambda: self._chat.version)

    @property
    def resume_state(self) -> ResumeState:
        """The state to save for the next process; see ChatClient.resume_state."""
        if self.state is State.STOPPED:
            return self._chat.resume_state
        return self._thread.call(lambda: self._chat.resume_state)

    def show(self, token: str) -> None:
        """Show this token at the next login; see ResumeState."""
        self._thread.call(lambda: self._chat.show(token))

    def add_observer(self, observer: Observer) -> None:
        """Call ``observer`` with each later :data:`chat_protocol.client.Event`, in the thread.

        It must not block, and must not call this chat.
        """
        self._thread.call(lambda: self._chat.add_observer(observer))

    def remove_observer(self, observer: Observer) -> None:
        """Stop calling ``observer``."""
        self._thread.call(lambda: self._chat.remove_observer(observer))

    def when_online(self, timeout: float | None = None) -> None:
        """Return when the user is logged in; see aio.Chat.when_online."""
        self._thread.run(self._chat.when_online, timeout)

    # Sending.

    def send(
        self,
        to: str | Sequence[str],
        text: str,
        *,
        publishing_id: int = 0,
        timeout: float | None = None,
    ) -> None:
        """Send a text to one or several users; return when the server has stored it.

        After a TimeoutError or Ctrl-C the message may be stored or not. See aio.Chat.send for the
        arguments and errors.
        """
        self._thread.run(lambda: self._chat.send(to, text, publishing_id=publishing_id), timeout)

    def send_to_all(
        self, text: str, *, publishing_id: int = 0, timeout: float | None = None
    ) -> None:
        """Send a text to every registered user; see :meth:`send`."""
        self._thread.run(lambda: self._chat.send_to_all(text, publishing_id=publishing_id), timeout)

    def send_many(
        self,
        messages: Iterable[tuple[str | Sequence[str], str]],
        *,
        timeout: float | None = None,
    ) -> list[Exception | None]:
        """Send several messages, each a pair of recipients and text; see aio.Chat.send_many."""
        pairs = list(messages)
        return self._thread.run(lambda: self._chat.send_many(pairs), timeout)

    # Receiving.

    def receive(self, timeout: float | None = None) -> ReceivedMessage:
        """Return the next message, in order of arrival, each once.

        This acknowledges the previous message, unless acknowledgement is manual. A call that ends
        with TimeoutError or Ctrl-C loses no message: the next call returns it.

        Raises:
            NotConnected: the chat is closed.
            Replaced: another process has taken over the session.
        """
        message = self._thread.run(self._chat.receive, timeout, self._chat.give_back)
        return message.replied_by(self.send)

    @contextmanager
    def next(self, timeout: float | None = None) -> Iterator[ReceivedMessage]:
        """Receive a message in ``with``, and acknowledge it at the end of the block.

        If the block raises, the message is not acknowledged, and the next call returns it again.
        """
        message = self.receive(timeout)
        try:
            yield message
        except BaseException:
            self._thread.call(lambda: self._chat.give_back(message))
            raise
        self.acknowledge(message)

    def messages(self, idle: float | None = None) -> Iterator[ReceivedMessage]:
        """Iterate over messages, each as :meth:`receive` returns it.

        The loop ends when the chat is closed by another thread. Leaving the loop loses nothing: the
        next loop continues from there.

        Args:
            idle: end the loop when no message has come for so many seconds; None: keep waiting.
        """
        while True:
            try:
                message = self.receive(idle)
            except Replaced:
                raise
            except (NotConnected, TimeoutError):
                return
            yield message

    def drain(self) -> Iterator[ReceivedMessage]:
        """Iterate over the messages that have arrived, and log out behind the last one.

        See aio.Chat.drain. The thread ends with :meth:`close`, or with the block of the chat.
        """
        messages = self._chat.drain()
        while (message := self._thread.run(lambda: next_of(messages))) is not None:
            yield message.replied_by(self.send)

    def __iter__(self) -> Iterator[ReceivedMessage]:
        return self.messages()

    def acknowledge(self, message: ReceivedMessage) -> None:
        """Acknowledge this message and all before it, so that they are not delivered again."""
        self._thread.call(lambda: self._chat.acknowledge(message))

    # Asking.

    def users(
        self, after: str = "", limit: int = 0, *, timeout: float | None = None
    ) -> list[UserInfo]:
        """Return users in the order of their UTF-8 names; see aio.Chat.users."""
        return self._thread.run(lambda: self._chat.users(after, limit), timeout)

    def history(
        self, with_: str = "", before: int = 0, limit: int = 0, *, timeout: float | None = None
    ) -> list[ReceivedMessage]:
        """Return the newest messages between this user and another; see aio.Chat.history."""
        messages = self._thread.run(lambda: self._chat.history(with_, before, limit), timeout)
        return [message.replied_by(self.send) for message in messages]

    def user_pages(
        self, after: str = "", limit: int = 0, *, timeout: float | None = None
    ) -> Iterator[list[UserInfo]]:
        """Iterate over all users, a list at a time; ``timeout`` is for each."""
        while users := self.users(after, limit, timeout=timeout):
            yield users
            after = users[-1].name

    def history_pages(
        self, with_: str = "", before: int = 0, limit: int = 0, *, timeout: float | None = None
    ) -> Iterator[list[ReceivedMessage]]:
        """Iterate over the history, a list at a time, the newest list first.

        The messages of a list are in order, oldest first; ``timeout`` is for each list.
        """
        while messages := self.history(with_, before, limit, timeout=timeout):
            yield messages
            before = messages[0].offset

    def request(self, command: Any, *, timeout: float | None = None) -> Any:
        """Send any declared command that a client may send; see ChatClient.request."""
        return self._thread.run(lambda: self._chat.request(command), timeout)

    # The end.

    def close(self) -> None:
        """Acknowledge the last message that was taken, log out, and end the thread.

        This takes at most 5 s. Calls of other threads that wait fail with NotConnected. Further
        calls of this method do nothing.
        """
        self._close(True)

    def __enter__(self) -> Chat:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close(kind is None)

    def _close(self, acknowledge: bool) -> None:
        try:
            self._thread.run(self._chat.aclose if acknowledge else self._chat.abandon)
        except NotConnected:
            # Closed already.
            return
        finally:
            self._thread.close()
