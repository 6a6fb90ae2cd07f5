"""Random traffic of all kinds, and all that users see of it."""

from __future__ import annotations

import random

from chat_protocol.domain.ports import IStore
from chat_protocol.domain.queries import Conversation
from chat_protocol.domain.users import User
from tests.stores.helpers import (
    Single,
    commit,
    last_of,
    message,
    now,
    page,
    position,
    run,
    singles,
)

__all__ = ["history", "state", "traffic", "without"]


def traffic(store: IStore, users: list[User], rnd: random.Random, count: int = 200) -> None:
    """Send messages with unique texts."""
    for number in range(count):
        sender, *others = rnd.sample(users, 4)
        kind = rnd.random()
        device = rnd.choice(["", "", "phone"])
        if kind < 0.5:
            commit(store, run(sender, rnd.choice([sender, *others]), f"{number}", f"{number}b"))
        elif kind < 0.8:
            to = tuple(rnd.sample([sender, *others], rnd.randint(1, 3)))
            commit(store, message(sender, f"{number}", to=to, id_=number + 1, device=device))
        else:
            commit(store, message(sender, f"{number}", device=device))
        if rnd.random() < 0.2:
            reader = rnd.choice(users)
            waiting = page(store, reader, messages=rnd.randint(1, 100))
            if waiting.entries:
                commit(store, positions=position(reader, last_of(waiting)))


def history(store: IStore, user: User) -> list[Single]:
    asked = Conversation(user.id, 0, 0, 10_000, 1 << 30)
    now(store.read([asked]))
    return singles(asked.entries)


def state(store: IStore, users: list[User]) -> dict[str, tuple[list[Single], list[Single]]]:
    """Return by user the history and the mailbox."""
    return {user.name: (history(store, user), singles(page(store, user).entries)) for user in users}


def without(messages: list[Single], name: str) -> list[Single]:
    """Return what is left of messages when a user is deleted."""
    return [
        one._replace(to=tuple(user for user in one.to if user != name))
        for one in messages
        if one.sender != name and one.to != (name,)
    ]
