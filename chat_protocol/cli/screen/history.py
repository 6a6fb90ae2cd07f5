"""The past of conversations, from the server's history."""

from __future__ import annotations

from chat_protocol.cli.exit_codes import no_user
from chat_protocol.cli.screen.conversations import Talk, partners_of
from chat_protocol.cli.screen.model import Model
from chat_protocol.client import ChatClient, ReceivedMessage
from chat_protocol.errors import UserNotFound

__all__ = ["PAGE", "RECENT", "SCANS", "load_older", "load_recent"]

PAGE = 100
"""Messages to ask for at a time."""

SCANS = 20
"""Pages to look through at a time for those of one conversation."""

RECENT = 200
"""The newest messages, whose conversations are shown after the login."""

_WANTED = 50
"""Messages that make it worth to stop looking."""


def _partners(model: Model, message: ReceivedMessage) -> tuple[str, ...]:
    return partners_of(message.sender, message.recipients, message.everyone, model.me)


async def load_recent(client: ChatClient, model: Model) -> None:
    """Show the conversations that the newest messages belong to."""
    offsets = [talk.oldest for talk in model.talks if talk.oldest]
    page = await client.history("", min(offsets, default=0), RECENT)
    by_talk: dict[tuple[str, ...], list[ReceivedMessage]] = {}
    for message in page:
        by_talk.setdefault(_partners(model, message), []).append(message)
    for partners, messages in by_talk.items():
        model.remembered(model.open(partners), messages)


async def load_older(
    client: ChatClient, model: Model, talk: Talk, wanted: int | None = None
) -> None:
    """Put older messages above those of a conversation.

    The server knows what is between two users, whoever else it went to; what belongs to other
    conversations is left out here.

    Args:
        client: who asks.
        model: where the conversation is.
        talk: which one; not that of the client itself.
        wanted: how many; None: a screen or two.
    """
    with_ = talk.partners[0] if talk.partners else ""
    left = _WANTED if wanted is None else wanted
    talk.loading = True
    model.changed()
    try:
        for _ in range(SCANS):
            size = PAGE if talk.partners != (with_,) else min(PAGE, max(left, 1))
            page = await client.history(with_, talk.oldest, size)
            if not page:
                talk.complete = True
                break
            mine = [one for one in page if _partners(model, one) == talk.partners]
            # The newest first: with an old one before a new one is known, what is between is not.
            left -= model.remembered(talk, mine)
            talk.scanned = page[0].offset
            if left <= 0 or talk.full:
                break
    except UserNotFound as error:
        talk.complete = True
        model.hint = error.detail or no_user(with_)
    finally:
        talk.loading = False
        model.changed()
