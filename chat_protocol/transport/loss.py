"""Why connections were lost, in words for the log and for errors."""

from __future__ import annotations

from twisted.python.failure import Failure

__all__ = ["TLS_FAULT", "why_lost"]

TLS_FAULT = "TLS: "
"""Begins the reason if it is a fault of TLS."""


def why_lost(reason: Failure) -> str:
    """Return why a connection was lost."""
    error = reason.value
    if error is not None and error.args and type(error).__module__.startswith("OpenSSL"):
        # A list of errors, each with a library, a function and a reason; or a number and a reason.
        errors = error.args[0]
        what = errors[-1][-1] if isinstance(errors, list) and errors else error.args[-1]
        return f"{TLS_FAULT}{what or 'the connection ended'}"
    return str(reason.getErrorMessage())
