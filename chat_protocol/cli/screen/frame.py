"""The frame around the messages: title, sidebar, status line and prompt."""

from __future__ import annotations

from math import ceil

from chat_protocol.cli.screen.capabilities import Row
from chat_protocol.cli.screen.conversations import EVERYONE, Conversation
from chat_protocol.cli.screen.model import Model
from chat_protocol.cli.text import quoted

__all__ = [
    "SIDEBAR_COLUMNS",
    "SIDEBAR_MIN_WIDTH",
    "prompt_row",
    "sidebar_rows",
    "status_row",
    "title_row",
]

SIDEBAR_COLUMNS = 24
"""Width of the sidebar in columns."""

SIDEBAR_MIN_WIDTH = 72
"""Minimum width of the screen, in columns, for the sidebar to be shown."""

_PROMPT_SHARE = 3
"""Divisor of the screen width that bounds the recipients in the prompt."""


def title_row(model: Model, width: int) -> Row:
    """Return the title: the current conversation and its partner's presence."""
    conversation, capabilities = model.current, model.capabilities
    text = f" {model.conversations.index(conversation) + 1} {model.title(conversation)}"
    if conversation.is_home:
        text += f" {capabilities.vertical} {model.server}"
    elif conversation.partners == EVERYONE:
        text += f" {capabilities.vertical} all users of {model.server}"
    elif len(conversation.partners) == 1 and (conversation.partners[0] in model.presence):
        presence = "online" if model.presence[conversation.partners[0]] else "offline"
        text += f" {capabilities.vertical} {presence}"
    return [("class:title", capabilities.pad(text, width))]


def sidebar_rows(model: Model, height: int, width: int = SIDEBAR_COLUMNS) -> list[Row]:
    """Return the numbered conversations with unread counts, followed by the other users."""
    current_index = model.conversations.index(model.current)
    room = height - min(height // 3, len(model.presence) + 1)
    first = max(0, min(current_index - room // 2, len(model.conversations) - room))
    shown = model.conversations[first : first + room]
    rows = [
        _conversation_row(model, conversation, first + n + 1, width)
        for n, conversation in enumerate(shown)
    ]
    remaining = height - len(rows) - 1
    in_conversations = {
        conversation.partners[0]
        for conversation in model.conversations
        if len(conversation.partners) == 1
    }
    others = sorted(
        (name for name in model.presence if name not in in_conversations),
        key=lambda name: (not model.presence[name], name),
    )
    if remaining > 0 and others:
        rows.append([("class:side.head", model.capabilities.pad(" other users", width))])
        cut = len(others) > remaining
        for name in others[: remaining - 1 if cut else remaining]:
            online = model.presence[name]
            mark = model.capabilities.online if online else model.capabilities.offline
            style = "class:online" if online else "class:offline"
            padded_name = model.capabilities.pad(model.capabilities.name(name), width - 3)
            rows.append(
                [(style, f" {mark} "), ("class:side" if online else "class:offline", padded_name)]
            )
        if cut:
            more = f"   and {len(others) - remaining + 1} more"
            rows.append([("class:offline", model.capabilities.pad(more, width))])
    return rows


def _conversation_row(model: Model, conversation: Conversation, number: int, width: int) -> Row:
    capabilities = model.capabilities
    mark = " "
    if len(conversation.partners) == 1 and conversation.partners[0] in model.presence:
        mark = (
            capabilities.online
            if model.presence[conversation.partners[0]]
            else capabilities.offline
        )
    count = f" {conversation.unread}" if conversation.unread else ""
    style = "class:side"
    if conversation is model.current:
        style = "class:side.current"
    elif conversation.unread:
        style = "class:side.unread"
    padded_name = capabilities.pad(model.title(conversation), width - 5 - len(count))
    presence_style = "class:online" if mark == capabilities.online else "class:offline"
    is_current = conversation is model.current
    return [
        (style if is_current else f"{style} class:side.number", f"{number:>2} "),
        (style if is_current else f"{style} {presence_style}", mark),
        (style, f" {padded_name}"),
        (style if is_current else f"{style} class:count", count),
    ]


def status_row(model: Model, width: int) -> Row:
    """Return the status line: connection, unread conversations and a hint."""
    capabilities, status, conversation = model.capabilities, model.connection, model.current
    row: Row = [
        ("class:status", f" {capabilities.fit(quoted(model.me), width // 3)}@{model.server} ")
    ]
    if status.offline_reason:
        seconds = max(0, ceil(status.retry_at - model.seconds()))
        when = f"retrying in {seconds} s" if seconds else "retrying now"
        row.append(("class:status.lost", f" not connected: {status.offline_reason}; {when} "))
    else:
        row.append(("class:status.on", f"{capabilities.online} online "))
    if model.paste is not None:
        count = len(model.paste.lines)
        question = f" {count} lines pasted: send (o)ne message, (s)everal, or (n)one? "
        row = [("class:status.question", question)]
    elif model.hint:
        row.append(("class:status", f"{capabilities.vertical} {model.hint} "))
    else:
        if model.pending:
            row.append(
                ("class:status", f"{capabilities.vertical} receiving {model.pending} messages ")
            )
        if conversation.loading:
            row.append(("class:status", f"{capabilities.vertical} loading "))
        if not conversation.at_end:
            more = f" {conversation.new_below} new" if conversation.new_below else ""
            row.append(("class:status.more", f" {capabilities.more_below} more below{more} "))
        unread = [one for one in model.conversations if one.unread and one is not conversation]
        if unread:
            where = "; ".join(f"{model.title(one)} {one.unread}" for one in unread[:5])
            row.append(("class:status.unread", f"{capabilities.vertical} unread: {where} "))
    return _fit_row(model, row, width)


def prompt_row(model: Model, width: int) -> Row:
    """Return the prompt, which names the recipients."""
    conversation = model.current
    to = (
        ""
        if conversation.is_home
        else model.capabilities.fit(model.title(conversation), width // _PROMPT_SHARE)
    )
    style = "class:prompt.all" if conversation.partners == EVERYONE else "class:prompt"
    return [(style, f"{to}> ")]


def _fit_row(model: Model, row: Row, width: int) -> Row:
    """Cut or pad the row to the width."""
    fitting: Row = []
    remaining = width
    for style, text in row:
        shown = model.capabilities.fit(text, remaining)
        fitting.append((style, shown))
        remaining -= model.capabilities.width(shown)
        if remaining <= 0:
            return fitting
    return [*fitting, ("class:status", " " * remaining)]
