"""The commands for scripts that ask: ``users`` and ``history``; and how to read a long answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from chat_protocol.cli.exit_codes import Exit, Failed, no_user
from chat_protocol.cli.options import History, Settings, Users
from chat_protocol.cli.output import Output
from chat_protocol.cli.script import without_messages
from chat_protocol.cli.session import Session
from chat_protocol.cli.text import as_json, as_record, quoted, user_as_json, user_as_line
from chat_protocol.client import ChatClient, ReceivedMessage, UserInfo
from chat_protocol.errors import UserNotFound

__all__ = ["MAX_USERS", "each_message", "each_user", "history", "users", "users_in_sentences"]

MAX_USERS = 1000
"""Users that /users shows, the first ones."""

_PAGE = 1000
"""Items to ask for at a time; a server may give less."""


async def each_user(
    client: ChatClient, show: Callable[[Sequence[UserInfo]], Deferred[None]]
) -> None:
    """Show all users in the order of their names, a page at a time."""
    after = ""
    while page := await client.users(after, _PAGE):
        await show(page)
        after = page[-1].name


async def each_message(
    client: ChatClient,
    with_: str,
    limit: int | None,
    show: Callable[[Sequence[ReceivedMessage]], Deferred[None]],
) -> int:
    """Show messages, oldest first, a page at a time; returns how many.

    A server gives the newest first. All there are may be more than fits into memory, so what is
    kept on the way back is where the pages begin, and each is asked for again.

    Args:
        client: who asks.
        with_: see ChatClient.history.
        limit: only so many, the newest; None: all.
        show: fires when it has taken a page.
    """
    pages: list[tuple[int, int]] = []
    page: list[ReceivedMessage] = []
    before, count = 0, 0
    while limit is None or count < limit:
        wanted = _PAGE if limit is None else min(_PAGE, limit - count)
        found = await client.history(with_, before, wanted)
        if not found:
            break
        page = found
        # Not `before`: newer ones may have come when this page is asked for again.
        pages.append((page[-1].offset + 1, len(page)))
        before = page[0].offset
        count += len(page)
    if pages:
        pages.pop()
        await show(page)
    for before, size in reversed(pages):
        await show(await client.history(with_, before, size))
    return count


async def users_in_sentences(client: ChatClient) -> list[str]:
    """Who is here and who is not, for a person to read; of many users the first ones."""
    users: list[UserInfo] = []
    while page := await client.users(users[-1].name if users else "", MAX_USERS):
        users += page
        if len(users) >= MAX_USERS:
            break
    here = [quoted(user.name) for user in users if user.online]
    away = [quoted(user.name) for user in users if not user.online]
    sentences = [f"here: {', '.join(here)}"]
    if away:
        sentences.append(f"not here: {', '.join(away)}")
    if len(users) >= MAX_USERS:
        sentences.append("there may be more; 'chatclient users' prints all")
    return sentences


async def users(reactor: Any, settings: Settings, user: str, action: Users) -> Exit:
    """Print the users of the server."""
    form = user_as_json if action.json else user_as_line

    async def work(session: Session, output: Output) -> None:
        await each_user(session.client, lambda page: output.write(*map(form, page)))

    return await without_messages(reactor, settings, user, work)


async def history(reactor: Any, settings: Settings, user: str, action: History) -> Exit:
    """Print messages of the past."""
    form = as_json if action.json else as_record

    async def work(session: Session, output: Output) -> None:
        try:
            await each_message(
                session.client,
                action.with_,
                action.limit,
                lambda page: output.write(*map(form, page)),
            )
        except UserNotFound as error:
            raise Failed(Exit.REFUSED, no_user(action.with_)) from error

    return await without_messages(reactor, settings, user, work)
