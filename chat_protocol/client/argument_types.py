"""Arguments of a wrong type are a fault of the program: the call itself raises TypeError."""

from __future__ import annotations

__all__ = ["check_type"]


def check_type(name: str, value: object, *types: type) -> None:
    """Raise TypeError, with the name of the argument, unless its value has one of the types."""
    # True is an int to Python, but nobody means it as one.
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        wanted = " or ".join("None" if one is type(None) else one.__name__ for one in types)
        raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")
