"""What a client can ask the server, as often as it likes: nothing changes by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from chat_protocol.client.connection import Connection
from chat_protocol.client.messages import ReceivedMessage, UserInfo
from chat_protocol.errors import InternalFault, NotConnected, UnknownCommand
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import REGISTRY, CorrelationIdTest, History, Users

__all__ = ["Questions"]


class Questions:
    """A part of ChatClient: a question waits until the client is on-line, and is asked again
    when the connection is lost before its answer.
    """

    _connection: Connection | None

    if TYPE_CHECKING:

        def when_online(self, fail_after_failures: int | None = None) -> Deferred[None]:
            """See ChatClient."""

    def users(self, after: str = "", limit: int = 0) -> Deferred[list[UserInfo]]:
        """Users whose names come after one, in the order of their UTF-8 bytes (clause S46).

        Fires with the next ones, an empty list behind the last; at most ``limit``, which is the
        server's choice if 0. Fails with UnknownCommand if the server speaks version 1.
        """
        return self._ask(Users(after, limit)).addCallback(
            lambda answer: [UserInfo.of(status) for status in answer.users]
        )

    def history(
        self, with_: str = "", before: int = 0, limit: int = 0
    ) -> Deferred[list[ReceivedMessage]]:
        """The newest messages between this user and another (clauses S47 to S50).

        Fires with them, oldest first; an empty list before the first. Fails with UserNotFound,
        and with UnknownCommand if the server speaks version 1.

        Args:
            with_: the other; empty: all of this user's messages.
            before: only messages with an offset below; 0: no bound.
            limit: at most so many; 0: the server's choice.
        """
        return self._ask(History(with_, before, limit)).addCallback(
            lambda answer: [ReceivedMessage.of(stored) for stored in answer.messages]
        )

    def correlation_id_test(self) -> Deferred[None]:
        """Ask for an answer that comes after a random delay of up to 4 seconds.

        Not every server knows the request, and those that do not may leave it unanswered.
        """
        return self._ask(CorrelationIdTest(), version=1).addCallback(lambda _: None)

    def _ask(self, command: Any, version: int = 2) -> Deferred[Any]:
        expected = REGISTRY.of(type(command)).answer or object

        async def asking() -> Any:
            while True:
                await self.when_online()
                connection = self._connection
                if connection is None:
                    # Whoever was told before has stopped the client.
                    continue
                if connection.version < version:
                    raise UnknownCommand(
                        f"the server speaks version 1, which has no {type(command).__name__}"
                    )
                try:
                    answer = await connection.request(command)
                except NotConnected:
                    # It changes nothing, so it can be asked again.
                    await connection.when_closed()
                    continue
                if answer.code != Code.OK:
                    raise Connection.refusal(answer)
                if not isinstance(answer, expected):
                    raise InternalFault(f"the server answered with a {type(answer).__name__}")
                return answer

        return Deferred.fromCoroutine(asking())
