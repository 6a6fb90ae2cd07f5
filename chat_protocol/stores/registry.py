"""From the URL of a store to the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chat_protocol.domain.ports import IStore
from chat_protocol.stores.admin import StoreAdmin
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.stores.sqlite.admin.admin import SQLiteAdmin
from chat_protocol.stores.sqlite.store import SQLiteStore

__all__ = ["STORES", "StoreKind", "admin_from_url", "store_from_url"]


def _postgres(rest: str, mailbox_limit: int, reactor: Any) -> IStore:
    _check_postgres(rest)
    from chat_protocol.stores.postgres.store import PostgresStore

    return PostgresStore.from_url(rest, mailbox_limit, reactor)


def _check_postgres(rest: str) -> None:
    """Raise ValueError if the URL is not UTF-8, or the driver, an extra, is not installed."""
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

    ``make`` gets the rest of the URL behind the scheme, the mailbox limit (0: none) and the
    reactor; ``admin`` gets the rest of the URL. Both raise ValueError with a sentence if that is
    wrong.
    """

    scheme: str
    usage: str
    make: Callable[[str, int, Any], IStore]
    admin: Callable[[str], StoreAdmin]


def _no_admin(rest: str) -> StoreAdmin:
    raise ValueError("memory: keeps nothing when the server stops, so there is nothing to manage")


def _postgres_admin(rest: str) -> StoreAdmin:
    _check_postgres(rest)
    from chat_protocol.stores.postgres.admin.admin import PostgresAdmin

    return PostgresAdmin.from_url(rest)


STORES = {
    kind.scheme: kind
    for kind in (
        StoreKind("memory", "memory:", MemoryStore.from_url, _no_admin),
        StoreKind("sqlite", "sqlite:PATH", SQLiteStore.from_url, SQLiteAdmin.from_url),
        StoreKind("postgresql", "postgresql://[USER@]HOST/DATABASE", _postgres, _postgres_admin),
    )
}


def store_from_url(url: str, mailbox_limit: int, reactor: Any) -> IStore:
    """Return the store that a URL names, not opened yet.

    Raises:
        ValueError: there is no such store; the text is a sentence for the author of the URL.
    """
    kind, rest = _kind_of(url)
    return kind.make(rest, mailbox_limit, reactor)


def admin_from_url(url: str) -> StoreAdmin:
    """Return the administration of the store that a URL names.

    Raises:
        ValueError: there is no such store, or it keeps nothing; the text is a sentence.
    """
    kind, rest = _kind_of(url)
    return kind.admin(rest)


def _kind_of(url: str) -> tuple[StoreKind, str]:
    scheme, colon, rest = url.partition(":")
    kind = STORES.get(scheme) if colon else None
    if kind is None:
        usages = " or ".join(kind.usage for kind in STORES.values())
        raise ValueError(f"{url!r} is no store: give {usages}")
    return kind, rest
