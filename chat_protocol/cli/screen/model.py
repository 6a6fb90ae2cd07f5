"""What the full screen knows: conversations, people, the connection; no terminal and no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone

from chat_protocol.cli.screen.capabilities import Look
from chat_protocol.cli.screen.conversations import EVERYONE, HOME, Talk, partners_of
from chat_protocol.cli.screen.entries import Entry, Kind
from chat_protocol.cli.text import quoted, quoted_list
from chat_protocol.client import ReceivedMessage

__all__ = ["AWAY", "BELL_INTERVAL", "MAX_PEOPLE", "MAX_TALKS", "Link", "Model", "Paste"]

MAX_TALKS = 200
"""Conversations; of more, the one that was quiet for longest is closed."""

MAX_PEOPLE = 5_000
"""Users whose presence is known; of more, those that come first."""

AWAY = 60.0
"""Seconds without a key after which nobody is taken to look at the screen."""

BELL_INTERVAL = 2.0
"""Seconds between two rings."""


@dataclass(frozen=True, slots=True)
class Link:
    """How the connection is.

    Args:
        why: it is not there; empty: it is.
        retry_at: when the next attempt comes, by the clock of the model.
    """

    why: str = ""
    retry_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Paste:
    """Several lines that were pasted, and a question what they are."""

    text: str

    @property
    def lines(self) -> list[str]:
        """Those that are not empty."""
        return [line for line in self.text.split("\n") if line.strip()]


@dataclass(eq=False)
class Model:
    """All that is shown.

    Args:
        me: the user's name.
        server: as the user named it.
        seconds: a clock.
        look: what the terminal can show.
        changed: called whenever something else is to be shown.
        ring: rings the bell.
    """

    me: str
    server: str
    seconds: Callable[[], float]
    look: Look = field(default_factory=Look)
    changed: Callable[[], object] = lambda: None
    ring: Callable[[], object] = lambda: None
    talks: list[Talk] = field(default_factory=lambda: [Talk(HOME)])
    people: dict[str, bool] = field(default_factory=dict)
    link: Link = field(default_factory=Link)
    paste: Paste | None = None
    hint: str = ""
    """What the status line says until the next key."""
    bell: bool = True
    catching_up: int = 0
    """Messages of the mailbox that have not come yet."""
    current: Talk = field(init=False)
    last_key: float = 0.0
    _by_partners: dict[tuple[str, ...], Talk] = field(init=False)
    _previous: Talk | None = None
    _touches: int = 0
    _rang: float = -BELL_INTERVAL

    def __post_init__(self) -> None:
        self.current = self.talks[0]
        self._by_partners = {talk.partners: talk for talk in self.talks}
        self.last_key = self.seconds()

    # Conversations.

    def find(self, partners: tuple[str, ...]) -> Talk | None:
        """The conversation with exactly these, if it is there."""
        return self._by_partners.get(partners)

    def open(self, partners: tuple[str, ...]) -> Talk:
        """The conversation with exactly these; a new one stands at the end of the list."""
        talk = self._by_partners.get(partners)
        if talk is None:
            if len(self.talks) >= MAX_TALKS:
                self._close_the_quietest()
            talk = self._by_partners[partners] = Talk(partners)
            self.talks.append(talk)
            self.changed()
        return talk

    def show(self, talk: Talk) -> None:
        """Bring a conversation to the screen."""
        if talk is not self.current:
            self.current.new_from = None
            self._previous, self.current = self.current, talk
        if talk.follows:
            talk.seen()
        self.changed()

    def show_number(self, number: int) -> bool:
        """Show the conversation with that number, from 1; False if there is none."""
        if not 0 < number <= len(self.talks):
            return False
        self.show(self.talks[number - 1])
        return True

    def step(self, by: int) -> None:
        """Show the next conversation in the list, or the one before."""
        index = self.talks.index(self.current)
        self.show(self.talks[(index + by) % len(self.talks)])

    def next_unread(self) -> None:
        """Show the next conversation with something unread; else the one shown before."""
        index = self.talks.index(self.current)
        for talk in self.talks[index + 1 :] + self.talks[:index]:
            if talk.unread:
                self.show(talk)
                return
        if self._previous is not None and self._previous in self.talks:
            self.show(self._previous)

    def close(self, talk: Talk) -> bool:
        """Take a conversation from the list; the first two stay."""
        if talk.is_home or talk.partners == EVERYONE:
            return False
        if talk is self.current:
            back = self._previous
            index = self.talks.index(talk)
            known = back is not None and back is not talk and back in self.talks
            self.show(back if back is not None and known else self.talks[index - 1])
        self.talks.remove(talk)
        del self._by_partners[talk.partners]
        self.changed()
        return True

    def _close_the_quietest(self) -> None:
        candidates = [
            talk
            for talk in self.talks
            if talk.partners not in (HOME, EVERYONE)
            and talk is not self.current
            and not any(entry.kind is Kind.SENDING for entry in talk.entries)
        ]
        if not candidates:
            return
        quiet = min(candidates, key=lambda talk: (talk.unread > 0, talk.touched))
        if quiet.unread:
            self.say(f"closed for others: {self.title(quiet)}, {quiet.unread} unread", home=True)
        self.close(quiet)

    def title(self, talk: Talk) -> str:
        """What a conversation is called."""
        if talk.is_home:
            return "chat"
        if talk.partners == EVERYONE:
            return "everyone"
        return quoted_list(talk.partners)

    # What is in them.

    def say(self, sentence: str, home: bool = False) -> None:
        """A notice, in the conversation that is shown or in that of the client itself."""
        now = datetime.now(timezone.utc).astimezone()
        talk = self.talks[0] if home else self.current
        self._add(talk, Entry(Kind.NOTICE, sentence, now))

    def arrived(self, message: ReceivedMessage) -> None:
        """A message from the server, for the first time."""
        entry = Entry.of(message, self.me)
        everyone = message.everyone
        talk = self.open(partners_of(message.sender, message.recipients, everyone, self.me))
        self.catching_up = max(0, self.catching_up - 1)
        entry = self._add(talk, entry)
        if entry.is_own:
            return
        shown = talk is self.current
        if not (shown and talk.follows):
            talk.unread += 1
            talk.below += 1
        if talk.new_from is None and (talk.unread == 1 or (shown and self.is_away)):
            talk.new_from = entry
        if not shown or self.is_away:
            self._ring()
        self.changed()

    def remembered(self, talk: Talk, messages: list[ReceivedMessage]) -> int:
        """Messages of the past; returns how many of them are new here."""
        count = 0
        for message in messages:
            entry = Entry.of(message, self.me)
            count += talk.add(entry) is entry
        self.changed()
        return count

    def written(self, talk: Talk, text: str, stamp: int) -> Entry:
        """An own message, on its way."""
        now = datetime.fromtimestamp(stamp / 10**9, timezone.utc).astimezone()
        entry = Entry(Kind.SENDING, text, now, self.me, stamp)
        talk.bottom, talk.hidden = None, 0
        talk.seen()
        talk.new_from = None
        return self._add(talk, entry)

    def settled(self, talk: Talk, entry: Entry, why_not: str | None) -> None:
        """An own message is stored, or it is known why not."""
        if why_not is None:
            entry.kind = Kind.STORED
        elif entry.kind is Kind.SENDING:
            entry.kind, entry.reason = Kind.FAILED, why_not
            if talk is not self.current:
                talk.unread += 1
        self.changed()

    def _add(self, talk: Talk, entry: Entry) -> Entry:
        entry = talk.add(entry)
        talk.trim()
        self._touches += 1
        talk.touched = self._touches
        self.changed()
        return entry

    # People.

    def present(self, name: str, online: bool) -> None:
        """A user came or went, or is known now."""
        if name != self.me and (name in self.people or len(self.people) < MAX_PEOPLE):
            self.people[name] = online
            self.changed()

    def came_or_went(self, name: str, online: bool) -> None:
        """As :meth:`present`, and it is said where one talks with that user."""
        self.present(name, online)
        talk = self._by_partners.get((name,))
        if talk is not None:
            said = f"{quoted(name)} {'is here' if online else 'has left'}"
            last = talk.entries[-1] if talk.entries else None
            now = datetime.now(timezone.utc).astimezone()
            if last is not None and last.kind is Kind.PRESENCE:
                # Who comes and goes all the time takes one line.
                last.text, last.time = said, now
            else:
                self._add(talk, Entry(Kind.PRESENCE, said, now))
            self.changed()

    def names(self) -> list[str]:
        """Those one may mean: whom one talks with, the latest first, then the others."""
        talking: dict[str, None] = {}
        for talk in [self.current, *reversed(self.talks)]:
            if not talk.is_home:
                talking.update(dict.fromkeys(talk.partners))
        others = sorted(self.people, key=lambda name: (not self.people[name], name))
        return list({**talking, **dict.fromkeys(others)})

    # The rest.

    @property
    def unread(self) -> int:
        """Unread messages of all conversations."""
        return sum(talk.unread for talk in self.talks)

    @property
    def is_away(self) -> bool:
        """Whether no key was pressed for a while."""
        return self.seconds() - self.last_key > AWAY

    def key_pressed(self) -> None:
        """Somebody is there."""
        self.last_key = self.seconds()
        self.hint = ""

    def _ring(self) -> None:
        now = self.seconds()
        if self.bell and not self.catching_up and now - self._rang >= BELL_INTERVAL:
            self._rang = now
            self.ring()
