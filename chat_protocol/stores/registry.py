"""From the URL of a store to the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chat_protocol.interfaces import IStore
from chat_protocol.stores.memory import MemoryStore
from chat_protocol.stores.sqlite import SQLiteStore

__all__ = ["STORES", "StoreKind", "store_from_url"]


@dataclass(frozen=True)
class StoreKind:
    """One kind of store.

    ``make`` gets what stands behind the scheme, the mailbox limit (0: none) and the reactor;
    it raises ValueError with a sentence if the rest of the URL is wrong.
    """

    scheme: str
    usage: str
    make: Callable[[str, int, Any], IStore]


STORES = {
    kind.scheme: kind
    for kind in (
        StoreKind("memory", "memory:", MemoryStore.from_url),
        StoreKind("sqlite", "sqlite:PATH", SQLiteStore.from_url),
    )
}


def store_from_url(url: str, mailbox_limit: int, reactor: Any) -> IStore:
    """The store that ``url`` names, not opened yet.

    Raises:
        ValueError: there is no such store; the text is a sentence for the one who wrote it.
    """
    scheme, colon, rest = url.partition(":")
    kind = STORES.get(scheme) if colon else None
    if kind is None:
        usages = " or ".join(kind.usage for kind in STORES.values())
        raise ValueError(f"{url!r} is no store: give {usages}")
    return kind.make(rest, mailbox_limit, reactor)
