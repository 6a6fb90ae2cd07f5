"""Read-only requests, which the client may repeat after a lost connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from chat_protocol.client.argument_types import check_type
from chat_protocol.client.connection import Connection
from chat_protocol.client.messages import ReceivedMessage, UserInfo
from chat_protocol.errors import InternalFault, NotConnected, UnknownCommand
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import CorrelationIdTest, History, Users
from chat_protocol.wire.schema import Sender, declaration

__all__ = ["QueryMethods"]


class QueryMethods:
    """The query methods of ChatClient.

    A query waits until the client is online. If the connection is lost before the answer arrives,
    the client sends the query again.
    """

    _own_name: str
    _connection: Connection | None

    if TYPE_CHECKING:

        def when_online(self, fail_after_failures: int | None = None) -> Deferred[None]: ...

        def send(self, to: str | Sequence[str], text: str) -> Deferred[None]: ...

    def users(self, after: str = "", limit: int = 0) -> Deferred[list[UserInfo]]:
        """Return users in the order of their UTF-8 names, starting after a name (clause S46).

        The Deferred fires with an empty list after the last user. It fails with UnknownCommand if
        the server speaks version 1.

        Args:
            after: return only users whose names sort after this one; empty: from the beginning.
            limit: maximum number of users; 0: the server's default.
        """
        check_type("after", after, str)
        check_type("limit", limit, int)
        return self._query(Users(after, limit)).addCallback(
            lambda answer: [UserInfo.of(status) for status in answer.users]
        )

    def history(
        self, with_: str = "", before: int = 0, limit: int = 0
    ) -> Deferred[list[ReceivedMessage]]:
        """Return the newest messages between this user and another, oldest first (clauses S47 to
        S50).

        The Deferred fires with an empty list when there are no older messages. It fails with
        UserNotFound, and with UnknownCommand if the server speaks version 1.

        Args:
            with_: the other user; empty: all messages of this user.
            before: return only messages with a lower offset; 0: no bound.
            limit: maximum number of messages; 0: the server's default.
        """
        check_type("with_", with_, str)
        check_type("before", before, int)
        check_type("limit", limit, int)
        return self._query(History(with_, before, limit)).addCallback(
            lambda answer: [
                ReceivedMessage.of(stored, self._own_name).replied_by(self.send)
                for stored in answer.messages
            ]
        )

    async def user_pages(self, after: str = "", limit: int = 0) -> AsyncIterator[list[UserInfo]]:
        """Iterate over all users with ``async for``, a list at a time; see :meth:`users`.

        Args:
            after: only users whose names sort after this one; empty: from the beginning.
            limit: maximum number of users in a list; 0: the server's default.
        """
        while users := await self.users(after, limit):
            yield users
            after = users[-1].name

    async def history_pages(
        self, with_: str = "", before: int = 0, limit: int = 0
    ) -> AsyncIterator[list[ReceivedMessage]]:
        """Iterate over the history with ``async for``, a list at a time, the newest list first.

        The messages of a list are in order, oldest first; see :meth:`history`.

        Args:
            with_: the other user; empty: all messages of this user.
            before: only messages with a lower offset; 0: no bound.
            limit: maximum number of messages in a list; 0: the server's default.
        """
        while messages := await self.history(with_, before, limit):
            yield messages
            before = messages[0].offset

    def request(self, command: Any) -> Deferred[Any]:
        """Send any declared command that a client may send, one's own as well.

        The Deferred fires with its answer, whose code is OK. It fails with the refusal of another
        code; with NotConnected if the connection is lost before the answer: the client does not
        repeat it, and whether the server has handled it is not known; with RequestTimeout; and with
        ValueError if a value does not fit its field.

        Args:
            command: an instance of a class that a Registry has declared. For one with an answer of
                its own, pass that registry to the client.

        Raises:
            TypeError: the class is not declared, or only servers send it.
        """
        try:
            declared = declaration(type(command))
        except KeyError:
            raise TypeError(f"{type(command).__name__} is not declared as a command") from None
        if Sender.CLIENT not in declared.sender:
            raise TypeError(f"only servers send {type(command).__name__}")

        async def requesting() -> Any:
            await self.when_online()
            connection = self._connection
            if connection is None:
                raise NotConnected("the client has stopped")
            answer = await connection.request(command)
            if answer.code != Code.OK:
                raise Connection.refusal(answer)
            return answer

        return Deferred.fromCoroutine(requesting())

    def correlation_id_test(self) -> Deferred[None]:
        """Request an answer that the server delays by a random time of up to 4 seconds.

        Some servers do not know this request and may not answer it.
        """
        return self._query(CorrelationIdTest(), version=1).addCallback(lambda _: None)

    def _query(self, command: Any, version: int = 2) -> Deferred[Any]:
        expected = declaration(type(command)).answer or object

        async def querying() -> Any:
            while True:
                await self.when_online()
                connection = self._connection
                if connection is None:
                    # An earlier callback of the same login has stopped the client.
                    continue
                if connection.version < version:
                    raise UnknownCommand(
                        "the server speaks version 1, "
                        f"which does not support {type(command).__name__}"
                    )
                try:
                    answer = await connection.request(command)
                except NotConnected:
                    # A query changes nothing, so it is safe to repeat.
                    await connection.when_closed()
                    continue
                if answer.code != Code.OK:
                    raise Connection.refusal(answer)
                if not isinstance(answer, expected):
                    raise InternalFault(
                        f"the server answered {type(command).__name__} with {type(answer).__name__}"
                    )
                return answer

        return Deferred.fromCoroutine(querying())
