"""State of the full screen: conversations, presence and connection; no terminal, no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone

from chat_protocol.cli.screen.capabilities import Capabilities
from chat_protocol.cli.screen.conversations import EVERYONE, HOME, Conversation, partners_of
from chat_protocol.cli.screen.entries import Entry, EntryKind
from chat_protocol.cli.text import quoted, quoted_list
from chat_protocol.client import ReceivedMessage

__all__ = [
    "BELL_INTERVAL",
    "IDLE_AFTER",
    "MAX_CONVERSATIONS",
    "MAX_PRESENCE",
    "ConnectionStatus",
    "Model",
    "Paste",
]

MAX_CONVERSATIONS = 200
"""Maximum number of conversations; beyond it, the least recently active one is closed."""

MAX_PRESENCE = 5_000
"""Maximum number of users whose presence is tracked; further users are ignored."""

IDLE_AFTER = 60.0
"""Seconds without a key after which the user is considered idle."""

BELL_INTERVAL = 2.0
"""Minimum seconds between two rings."""


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """The state of the connection.

    Args:
        offline_reason: why there is no connection; empty: connected.
        retry_at: time of the next attempt, by the model's clock.
    """

    offline_reason: str = ""
    retry_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Paste:
    """Pasted lines that wait for the user's decision."""

    text: str

    @property
    def lines(self) -> list[str]:
        """The lines that are not empty."""
        return [line for line in self.text.split("\n") if line.strip()]


@dataclass(eq=False)
class Model:
    """The state of the full screen.

    Args:
        me: the username.
        server: the address as the user wrote it.
        seconds: returns the time in seconds.
        capabilities: the terminal's capabilities.
        changed: called when the screen must be redrawn.
        ring: rings the bell.
    """

    me: str
    server: str
    seconds: Callable[[], float]
    capabilities: Capabilities = field(default_factory=Capabilities)
    changed: Callable[[], object] = lambda: None
    ring: Callable[[], object] = lambda: None
    conversations: list[Conversation] = field(default_factory=lambda: [Conversation(HOME)])
    presence: dict[str, bool] = field(default_factory=dict)
    connection: ConnectionStatus = field(default_factory=ConnectionStatus)
    paste: Paste | None = None
    hint: str = ""
    """Shown in the status line until the next key."""
    bell: bool = True
    pending: int = 0
    """Messages of the mailbox that have not arrived yet."""
    current: Conversation = field(init=False)
    last_key: float = 0.0
    _by_partners: dict[tuple[str, ...], Conversation] = field(init=False)
    _previous: Conversation | None = None
    _activity: int = 0
    _last_ring: float = -BELL_INTERVAL

    def __post_init__(self) -> None:
        self.current = self.conversations[0]
        self._by_partners = {
            conversation.partners: conversation for conversation in self.conversations
        }
        self.last_key = self.seconds()

    # Conversations.

    def find(self, partners: tuple[str, ...]) -> Conversation | None:
        """Return the conversation with exactly these partners, if it is open."""
        return self._by_partners.get(partners)

    def open(self, partners: tuple[str, ...]) -> Conversation:
        """Return the conversation with exactly these partners; create it at the end of the list if
        new."""
        conversation = self._by_partners.get(partners)
        if conversation is None:
            if len(self.conversations) >= MAX_CONVERSATIONS:
                self._close_least_active()
            conversation = self._by_partners[partners] = Conversation(partners)
            self.conversations.append(conversation)
            self.changed()
        return conversation

    def show(self, conversation: Conversation) -> None:
        """Make a conversation the current one."""
        if conversation is not self.current:
            self.current.new_from = None
            self._previous, self.current = self.current, conversation
        if conversation.at_end:
            conversation.mark_read()
        self.changed()

    def show_number(self, number: int) -> bool:
        """Show the conversation with this number, from 1; return False if there is none."""
        if not 0 < number <= len(self.conversations):
            return False
        self.show(self.conversations[number - 1])
        return True

    def step(self, by: int) -> None:
        """Show the next conversation in the list, or the previous one if ``by`` is -1."""
        index = self.conversations.index(self.current)
        self.show(self.conversations[(index + by) % len(self.conversations)])

    def next_unread(self) -> None:
        """Show the next conversation with unread messages; if there is none, the previous one."""
        index = self.conversations.index(self.current)
        for conversation in self.conversations[index + 1 :] + self.conversations[:index]:
            if conversation.unread:
                self.show(conversation)
                return
        if self._previous is not None and self._previous in self.conversations:
            self.show(self._previous)

    def close(self, conversation: Conversation) -> bool:
        """Remove a conversation from the list; return False for the two that cannot be closed."""
        if conversation.is_home or conversation.partners == EVERYONE:
            return False
        if conversation is self.current:
            back = self._previous
            index = self.conversations.index(conversation)
            known = back is not None and back is not conversation and back in self.conversations
            self.show(back if back is not None and known else self.conversations[index - 1])
        self.conversations.remove(conversation)
        del self._by_partners[conversation.partners]
        self.changed()
        return True

    def _close_least_active(self) -> None:
        candidates = [
            conversation
            for conversation in self.conversations
            if conversation.partners not in (HOME, EVERYONE)
            and conversation is not self.current
            and not any(entry.kind is EntryKind.SENDING for entry in conversation.entries)
        ]
        if not candidates:
            return
        least_active = min(
            candidates,
            key=lambda conversation: (conversation.unread > 0, conversation.last_activity),
        )
        if least_active.unread:
            self.add_notice(
                f"too many conversations: closed {self.title(least_active)}, "
                f"{least_active.unread} unread",
                home=True,
            )
        self.close(least_active)

    def title(self, conversation: Conversation) -> str:
        """Return the title of a conversation."""
        if conversation.is_home:
            return "chat"
        if conversation.partners == EVERYONE:
            return "everyone"
        return quoted_list(conversation.partners)

    # Entries.

    def add_notice(self, sentence: str, home: bool = False) -> None:
        """Add a notice to the current conversation, or to the home conversation."""
        now = datetime.now(timezone.utc).astimezone()
        conversation = self.conversations[0] if home else self.current
        self._add(conversation, Entry(EntryKind.NOTICE, sentence, now))

    def receive(self, message: ReceivedMessage) -> None:
        """Add a message that the server delivered."""
        entry = Entry.of(message, self.me)
        everyone = message.everyone
        conversation = self.open(partners_of(message.sender, message.recipients, everyone, self.me))
        self.pending = max(0, self.pending - 1)
        entry = self._add(conversation, entry)
        if entry.is_own:
            return
        shown = conversation is self.current
        if not (shown and conversation.at_end):
            conversation.unread += 1
            conversation.new_below += 1
        if conversation.new_from is None and (conversation.unread == 1 or (shown and self.is_idle)):
            conversation.new_from = entry
        if not shown or self.is_idle:
            self._ring()
        self.changed()

    def add_history(self, conversation: Conversation, messages: list[ReceivedMessage]) -> int:
        """Add messages from the history; return how many are new."""
        count = 0
        for message in messages:
            entry = Entry.of(message, self.me)
            count += conversation.add(entry) is entry
        self.changed()
        return count

    def add_outgoing(self, conversation: Conversation, text: str, timestamp: int) -> Entry:
        """Add an own message that is being sent."""
        now = datetime.fromtimestamp(timestamp / 10**9, timezone.utc).astimezone()
        entry = Entry(EntryKind.SENDING, text, now, self.me, timestamp)
        conversation.bottom, conversation.rows_hidden = None, 0
        conversation.mark_read()
        conversation.new_from = None
        return self._add(conversation, entry)

    def finish_outgoing(
        self, conversation: Conversation, entry: Entry, failure_reason: str | None
    ) -> None:
        """Mark an own message as stored, or as failed with a reason."""
        if failure_reason is None:
            entry.kind = EntryKind.STORED
        elif entry.kind is EntryKind.SENDING:
            entry.kind, entry.reason = EntryKind.FAILED, failure_reason
            if conversation is not self.current:
                conversation.unread += 1
        self.changed()

    def _add(self, conversation: Conversation, entry: Entry) -> Entry:
        entry = conversation.add(entry)
        conversation.trim()
        self._activity += 1
        conversation.last_activity = self._activity
        self.changed()
        return entry

    # Presence.

    def set_presence(self, name: str, online: bool) -> None:
        """Record whether a user is online."""
        if name != self.me and (name in self.presence or len(self.presence) < MAX_PRESENCE):
            self.presence[name] = online
            self.changed()

    def presence_changed(self, name: str, online: bool) -> None:
        """Record a presence change and show it in the conversation with that user."""
        self.set_presence(name, online)
        conversation = self._by_partners.get((name,))
        if conversation is not None:
            text = f"{quoted(name)} {'is online' if online else 'went offline'}"
            last = conversation.entries[-1] if conversation.entries else None
            now = datetime.now(timezone.utc).astimezone()
            if last is not None and last.kind is EntryKind.PRESENCE:
                # Replace the last presence line, so that repeated changes take one row.
                last.text, last.time = text, now
            else:
                self._add(conversation, Entry(EntryKind.PRESENCE, text, now))
            self.changed()

    def names(self) -> list[str]:
        """Return names for completion: conversation partners, the most recent first, then other
        users."""
        talking: dict[str, None] = {}
        for conversation in [self.current, *reversed(self.conversations)]:
            if not conversation.is_home:
                talking.update(dict.fromkeys(conversation.partners))
        others = sorted(self.presence, key=lambda name: (not self.presence[name], name))
        return list({**talking, **dict.fromkeys(others)})

    # Activity.

    @property
    def unread(self) -> int:
        """The number of unread messages in all conversations."""
        return sum(conversation.unread for conversation in self.conversations)

    @property
    def is_idle(self) -> bool:
        """Whether no key was pressed for IDLE_AFTER seconds."""
        return self.seconds() - self.last_key > IDLE_AFTER

    def key_pressed(self) -> None:
        """Record that the user is active and clear the hint."""
        self.last_key = self.seconds()
        self.hint = ""

    def _ring(self) -> None:
        now = self.seconds()
        if self.bell and not self.pending and now - self._last_ring >= BELL_INTERVAL:
            self._last_ring = now
            self.ring()
