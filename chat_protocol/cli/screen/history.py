"""Loading of older messages from the server's history."""

from __future__ import annotations

from chat_protocol.cli.exit_codes import unknown_user
from chat_protocol.cli.screen.conversations import Conversation, partners_of
from chat_protocol.cli.screen.model import Model
from chat_protocol.client import ChatClient, ReceivedMessage
from chat_protocol.errors import UserNotFound

__all__ = ["MAX_PAGES", "PAGE_SIZE", "RECENT_MESSAGES", "load_older", "load_recent"]

PAGE_SIZE = 100
"""Messages to request at a time."""

MAX_PAGES = 20
"""Maximum number of pages to search at a time for messages of one conversation."""

RECENT_MESSAGES = 200
"""Number of newest messages whose conversations are opened after the login."""

_WANTED = 50
"""Default number of messages to load at a time."""


def _partners(model: Model, message: ReceivedMessage) -> tuple[str, ...]:
    return partners_of(message.sender, message.recipients, message.everyone, model.me)


async def load_recent(client: ChatClient, model: Model) -> None:
    """Open the conversations of the newest messages."""
    offsets = [conversation.oldest for conversation in model.conversations if conversation.oldest]
    page = await client.history("", min(offsets, default=0), RECENT_MESSAGES)
    by_talk: dict[tuple[str, ...], list[ReceivedMessage]] = {}
    for message in page:
        by_talk.setdefault(_partners(model, message), []).append(message)
    for partners, messages in by_talk.items():
        model.add_history(model.open(partners), messages)


async def load_older(
    client: ChatClient, model: Model, conversation: Conversation, wanted: int | None = None
) -> None:
    """Insert older messages above those of a conversation.

    The server returns all messages between two users, including those with further recipients.
    Messages of other conversations are skipped here.

    Args:
        client: sends the requests.
        model: contains the conversation.
        conversation: any but the home conversation.
        wanted: number of messages; None: about two screens.
    """
    with_ = conversation.partners[0] if conversation.partners else ""
    left = _WANTED if wanted is None else wanted
    conversation.loading = True
    model.changed()
    try:
        for _ in range(MAX_PAGES):
            size = PAGE_SIZE if conversation.partners != (with_,) else min(PAGE_SIZE, max(left, 1))
            page = await client.history(with_, conversation.oldest, size)
            if not page:
                conversation.complete = True
                break
            mine = [one for one in page if _partners(model, one) == conversation.partners]
            # Newest first: otherwise a gap could remain between old and new messages.
            left -= model.add_history(conversation, mine)
            conversation.scanned = page[0].offset
            if left <= 0 or conversation.is_full:
                break
    except UserNotFound as error:
        conversation.complete = True
        model.hint = error.detail or unknown_user(with_)
    finally:
        conversation.loading = False
        model.changed()
