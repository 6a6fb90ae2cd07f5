"""The response codes of the protocol (docs/protocol.md, "Codes")."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Code"]


class Code(IntEnum):
    """The result of a command, as a Response carries it. Version 1 has codes 1 to 4 only.

    To a version 1 client the server sends :attr:`version_1` in place of a code above 4. The last
    three codes are sent in a Close. A version 1 connection is closed without a code.
    """

    OK = 0x0001
    ERROR = 0x0002
    USER_NOT_FOUND = 0x0003
    USER_ALREADY_LOGGED = 0x0004
    MALFORMED = 0x0100
    UNKNOWN_COMMAND = 0x0101
    NOT_LOGGED_IN = 0x0103
    INVALID_USERNAME = 0x0104
    AUTHENTICATION_FAILED = 0x0105
    MAILBOX_FULL = 0x0106
    RATE_LIMITED = 0x0107
    UNAVAILABLE = 0x0108
    GOING_AWAY = 0x0109
    REPLACED = 0x010A
    HEARTBEAT_MISSED = 0x010B
    OUT_OF_ORDER = 0x010C

    @property
    def version_1(self) -> Code:
        """Return the code that a version 1 Response carries in place of this one."""
        if self <= Code.USER_ALREADY_LOGGED:
            return self
        return _VERSION_1.get(self, Code.ERROR)


_VERSION_1 = {
    Code.NOT_LOGGED_IN: Code.USER_NOT_FOUND,
    Code.INVALID_USERNAME: Code.USER_NOT_FOUND,
    Code.AUTHENTICATION_FAILED: Code.USER_NOT_FOUND,
}
