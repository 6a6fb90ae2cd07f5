"""Asking for a password."""

from __future__ import annotations

import getpass
import os

from twisted.python.usage import UsageError

from chat_protocol.cli.options import PASSWORD_VARIABLE, Settings, check_text
from chat_protocol.cli.text import quoted

__all__ = ["ask_password"]


def ask_password(settings: Settings) -> str:
    """Have the password typed, without showing it; blocks, so no reactor may run yet.

    Raises:
        UsageError: there is no terminal, or nothing was typed.
        KeyboardInterrupt: Ctrl-C was.
    """
    try:
        # getpass would take a line of stdin, where the messages are.
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise UsageError(
            f"--ask-password needs a terminal; without one, set {PASSWORD_VARIABLE}"
        ) from None
    whose = "" if settings.user is None else f" of {quoted(settings.user)}"
    try:
        password = getpass.getpass(f"Password{whose} for {settings.server.text}: ")
    except EOFError:
        raise UsageError("no password was typed") from None
    check_text(password, "the password")
    return password
