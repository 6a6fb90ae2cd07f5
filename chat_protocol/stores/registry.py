"""From the URL of a store to the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chat_protocol.interfaces import IStore
from chat_protocol.stores.admin import Caretaker
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.stores.sqlite.admin.admin import SQLiteCaretaker
from chat_protocol.stores.sqlite.store import SQLiteStore

__all__ = ["STORES", "StoreKind", "caretaker_from_url", "store_from_url"]


def _postgres(rest: str, mailbox_limit: int, reactor: Any) -> IStore:
    _check_postgres(rest)
    from chat_protocol.stores.postgres.store import PostgresStore

    return PostgresStore.from_url(rest, mailbox_limit, reactor)


def _check_postgres(rest: str) -> None:
    """ValueError for what is no text, or without PostgreSQL's driver, which is an extra."""
    try:
        rest.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{f'postgresql:{rest}'!r} is not UTF-8") from None
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"postgresql: needs a driver ({error}); pip install 'chat-protocol[postgres]'"
        ) from None


@dataclass(frozen=True)
class StoreKind:
    """One kind of store.

    ``make`` gets what stands behind the scheme, the mailbox limit (0: none) and the reactor;
    it raises ValueError with a sentence if the rest of the URL is wrong. So does ``care_for``,
    which gets the first of these.
    """

    scheme: str
    usage: str
    make: Callable[[str, int, Any], IStore]
    care_for: Callable[[str], Caretaker]


def _nothing_to_care_for(rest: str) -> Caretaker:
    raise ValueError("memory: keeps nothing when the server stops, so there is nothing to care for")


def _care_for_postgres(rest: str) -> Caretaker:
    _check_postgres(rest)
    from chat_protocol.stores.postgres.admin.admin import PostgresCaretaker

    return PostgresCaretaker.from_url(rest)


STORES = {
    kind.scheme: kind
    for kind in (
        StoreKind("memory", "memory:", MemoryStore.from_url, _nothing_to_care_for),
        StoreKind("sqlite", "sqlite:PATH", SQLiteStore.from_url, SQLiteCaretaker.from_url),
        StoreKind("postgresql", "postgresql://[USER@]HOST/DATABASE", _postgres, _care_for_postgres),
    )
}


def store_from_url(url: str, mailbox_limit: int, reactor: Any) -> IStore:
    """The store that ``url`` names, not opened yet.

    Raises:
        ValueError: there is no such store; the text is a sentence for the one who wrote it.
    """
    kind, rest = _kind_of(url)
    return kind.make(rest, mailbox_limit, reactor)


def caretaker_from_url(url: str) -> Caretaker:
    """Who takes care of the data of the store that ``url`` names.

    Raises:
        ValueError: there is no such store, or it keeps nothing; the text is a sentence.
    """
    kind, rest = _kind_of(url)
    return kind.care_for(rest)


def _kind_of(url: str) -> tuple[StoreKind, str]:
    scheme, colon, rest = url.partition(":")
    kind = STORES.get(scheme) if colon else None
    if kind is None:
        usages = " or ".join(kind.usage for kind in STORES.values())
        raise ValueError(f"{url!r} is no store: give {usages}")
    return kind, rest
