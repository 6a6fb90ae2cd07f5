"""A reactor that a test drives by hand."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from zope.interface import implementer


@implementer(IReactorFDSet)
class Reactor(Clock):
    """Knows which descriptors read and write. Its time passes when it is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.step = 0.0
        """Seconds that pass between two looks at the clock."""
        self.readers: set[object] = set()
        self.writers: set[Any] = set()

    def seconds(self) -> float:
        self.rightNow += self.step
        return self.rightNow

    def addReader(self, reader: object) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: object) -> None:
        self.readers.discard(reader)

    def addWriter(self, writer: Any) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: Any) -> None:
        self.writers.discard(writer)

    def removeAll(self) -> list[Any]:
        return []

    def getReaders(self) -> list[Any]:
        return list(self.readers)

    def getWriters(self) -> list[Any]:
        return list(self.writers)
