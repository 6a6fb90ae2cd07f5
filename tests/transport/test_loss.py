"""Why a connection was lost."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from chat_protocol.transport.loss import why_lost


def test_a_queue_of_errors() -> None:
    errors = [("SSL routines", "f", "first"), ("SSL routines", "f", "unknown ca")]
    assert why_lost(Failure(SSL.Error(errors))) == "TLS: unknown ca"


def test_errors_of_other_forms() -> None:
    assert why_lost(Failure(SSL.SysCallError(-1, "Unexpected EOF"))) == "TLS: Unexpected EOF"
    assert why_lost(Failure(SSL.Error([]))) == "TLS: the connection ended"
    assert "non-clean" in why_lost(Failure(ConnectionLost()))
