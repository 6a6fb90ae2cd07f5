"""The commands ``users`` and ``history``, and paging through long answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from chat_protocol.cli.exit_codes import CommandFailed, ExitCode, unknown_user
from chat_protocol.cli.options import HistoryAction, Settings, UsersAction
from chat_protocol.cli.output import Output
from chat_protocol.cli.script import run_without_receiving
from chat_protocol.cli.session import ClientSession
from chat_protocol.cli.text import as_json, as_record, quoted, user_as_json, user_as_line
from chat_protocol.client import ChatClient, ReceivedMessage, UserInfo
from chat_protocol.errors import UserNotFound

__all__ = ["MAX_USERS", "describe_users", "page_messages", "page_users", "run_history", "run_users"]

MAX_USERS = 1000
"""Maximum number of users that /users shows."""

_PAGE_SIZE = 1000
"""Items to request at a time; a server may return fewer."""


async def page_users(
    client: ChatClient, show: Callable[[Sequence[UserInfo]], Deferred[None]]
) -> None:
    """Pass all users to ``show``, in the order of their names, one page at a time."""
    after = ""
    while page := await client.users(after, _PAGE_SIZE):
        await show(page)
        after = page[-1].name


async def page_messages(
    client: ChatClient,
    with_: str,
    limit: int | None,
    show: Callable[[Sequence[ReceivedMessage]], Deferred[None]],
) -> int:
    """Pass messages to ``show``, oldest first, one page at a time; return their number.

    A server returns the newest messages first, and all messages may not fit into memory. So the
    first pass records only where the pages begin, and the second requests each page again.

    Args:
        client: sends the requests.
        with_: see ChatClient.history.
        limit: maximum number of messages, the newest; None: all.
        show: returns a Deferred that fires when the page has been taken.
    """
    pages: list[tuple[int, int]] = []
    page: list[ReceivedMessage] = []
    before, count = 0, 0
    while limit is None or count < limit:
        wanted = _PAGE_SIZE if limit is None else min(_PAGE_SIZE, limit - count)
        found = await client.history(with_, before, wanted)
        if not found:
            break
        page = found
        # Not `before`: newer messages may have arrived by the second request.
        pages.append((page[-1].offset + 1, len(page)))
        before = page[0].offset
        count += len(page)
    if pages:
        pages.pop()
        await show(page)
    for before, size in reversed(pages):
        await show(await client.history(with_, before, size))
    return count


async def describe_users(client: ChatClient) -> list[str]:
    """Return sentences that list online and offline users, up to MAX_USERS."""
    run_users: list[UserInfo] = []
    while page := await client.users(run_users[-1].name if run_users else "", MAX_USERS):
        run_users += page
        if len(run_users) >= MAX_USERS:
            break
    online = [quoted(user.name) for user in run_users if user.online]
    offline = [quoted(user.name) for user in run_users if not user.online]
    sentences = [f"online: {', '.join(online)}"]
    if offline:
        sentences.append(f"offline: {', '.join(offline)}")
    if len(run_users) >= MAX_USERS:
        sentences.append("there may be more users; 'chatclient users' prints all")
    return sentences


async def run_users(reactor: Any, settings: Settings, user: str, action: UsersAction) -> ExitCode:
    """Run ``chatclient users``."""
    format_item = user_as_json if action.json else user_as_line

    async def work(session: ClientSession, output: Output) -> None:
        await page_users(session.client, lambda page: output.write(*map(format_item, page)))

    return await run_without_receiving(reactor, settings, user, work)


async def run_history(
    reactor: Any, settings: Settings, user: str, action: HistoryAction
) -> ExitCode:
    """Run ``chatclient history``."""
    format_item = as_json if action.json else as_record

    async def work(session: ClientSession, output: Output) -> None:
        try:
            await page_messages(
                session.client,
                action.with_,
                action.limit,
                lambda page: output.write(*map(format_item, page)),
            )
        except UserNotFound as error:
            raise CommandFailed(ExitCode.REFUSED, unknown_user(action.with_)) from error

    return await run_without_receiving(reactor, settings, user, work)
