"""Argon2 hashes of passwords; requires the extra ``passwords``."""

from __future__ import annotations

from argon2.exceptions import VerificationError
from argon2.low_level import Type, hash_secret, verify_secret

__all__ = ["hash_argon2id", "verify_argon2"]

_KIB, _PASSES = 19 * 1024, 2
"""The costs of new hashes: the smallest that OWASP recommends, because a server checks many."""

_HASH_BYTES = 32

_TYPES = {b"argon2id": Type.ID, b"argon2i": Type.I, b"argon2d": Type.D}


def hash_argon2id(password: bytes, salt: bytes) -> bytes:
    """Return a new hash."""
    # One lane, because each one is a thread: a check is to take no more than one core.
    return hash_secret(password, salt, _PASSES, _KIB, 1, _HASH_BYTES, Type.ID)


def verify_argon2(stored: bytes, password: bytes) -> bool:
    """Return whether the password is that of the hash."""
    try:
        return verify_secret(stored, password, _TYPES[stored.split(b"$")[1]])
    except VerificationError:
        return False
