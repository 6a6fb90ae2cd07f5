"""Options of the command line that name some of several things."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection

__all__ = ["names_of"]


def names_of(what: str, known: Collection[str]) -> Callable[[str], list[str]]:
    """Return a type for argparse: a list of known names with commas between them.

    Args:
        what: a name of them stands for, in the singular.
        known: names to choose from.
    """

    def parse(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"unknown {what} {', '.join(unknown)}; choose from {', '.join(known)}"
            )
        return names

    return parse
