"""What a failed TLS handshake means, and what the operator can do about it."""

from __future__ import annotations

__all__ = ["advice"]

_PLAIN = "the client does not use TLS, and this endpoint takes nothing else"

_ADVICE = {
    "http request": "the client speaks HTTP without TLS; use https",
    "https proxy request": "the client speaks HTTP without TLS; use https",
    "wrong version number": _PLAIN,
    "packet length too long": _PLAIN,
    "record layer failure": _PLAIN,
    "unsupported protocol": "the client does not support TLS 1.2 or newer",
    "no shared cipher": "the client supports none of the ciphers that are considered safe",
    "unknown ca": "the client does not trust the authority of the server's certificate; make it"
    " trust that authority, or use a certificate of one that it trusts",
    "bad certificate": "the client rejects the server's certificate; compare the name in it with"
    " the one that the client connects to",
    "certificate unknown": "the client rejects the server's certificate",
    "certificate expired": "the client takes the server's certificate for expired; renew it, or"
    " set the client's clock",
    "certificate verify failed": "the client's certificate is not signed by an authority in"
    " --client-authorities, or has expired or been revoked",
}
"""By the words that OpenSSL has for a fault."""


def advice(fault: str) -> str:
    """Return what a fault in OpenSSL's words means, after a colon; empty if that is not known."""
    fault = fault.lower()
    return next((f": {text}" for words, text in _ADVICE.items() if words in fault), "")
