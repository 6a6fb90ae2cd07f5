"""Password prompt."""

from __future__ import annotations

import getpass
import os

from twisted.python.usage import UsageError

from chat_protocol.cli.options import PASSWORD_VARIABLE, Settings, check_text
from chat_protocol.cli.text import quoted

__all__ = ["ask_password"]


def ask_password(settings: Settings) -> str:
    """Prompt for the password without echo; blocks, so the reactor must not be running.

    Raises:
        UsageError: there is no terminal, or no password was entered.
        KeyboardInterrupt: the user pressed Ctrl-C.
    """
    try:
        # Without a terminal, getpass would read a line of stdin, which holds the messages.
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise UsageError(
            f"--ask-password needs a terminal; without one, set {PASSWORD_VARIABLE} instead"
        ) from None
    user = "" if settings.user is None else f"{quoted(settings.user)} at "
    try:
        password = getpass.getpass(f"Password for {user}{settings.server.text}: ")
    except EOFError:
        raise UsageError("no password was entered") from None
    check_text(password, "the password")
    return password
