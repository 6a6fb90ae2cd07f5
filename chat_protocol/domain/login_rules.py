"""The rules of login (docs/protocol.md, "Devices"): which logins get a session, and what they end.

A store that nodes share applies them in the transaction that stores the login. Otherwise the
directory applies them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from chat_protocol.errors import AuthenticationFailed, RateLimited, UserAlreadyLogged

__all__ = [
    "MAX_DEVICES",
    "MAX_SENDERS",
    "MAX_SENDER_NAMES",
    "NO_NAME",
    "SENDER_SECONDS",
    "Decision",
    "Holder",
    "LoginRequest",
    "decide",
    "is_device",
    "is_device_name",
    "sender_name",
]

MAX_DEVICES = 8
"""Devices of one user that may be online at a time, and that are kept. The server refuses the next
login with RateLimited while all are online; otherwise it forgets the one that is offline for
longest."""

MAX_SENDERS = 32
"""Sessions of one user that only ask and send (``receive`` = 0). The server refuses the next login
with RateLimited."""

MAX_SENDER_NAMES = 64
"""Names of one user under which such sessions have publishing ids, and forgotten devices, that are
kept. Above it the one that ended longest ago is forgotten."""

SENDER_SECONDS = 24 * 60 * 60
"""Time in seconds after the end of a session for which publishing ids of such a name are kept."""

_NAME = re.compile("[!-~]{1,64}")

_SENDER = " "
"""Begins the names of sessions that only ask and send. No name of a device contains it."""

NO_NAME = _SENDER
"""The name of such sessions whose login has no ``device``: they share it, and have no ids."""


def is_device_name(text: str) -> bool:
    """Return whether a login may have this ``device``."""
    return _NAME.fullmatch(text) is not None


def sender_name(device: str) -> str:
    """Return the name for a session that only asks and sends.

    Args:
        device: the ``device`` of the login; empty: the session has no publishing ids.
    """
    return _SENDER + device


def is_device(name: str) -> bool:
    """Return whether messages are delivered under a name: it is not from :func:`sender_name`."""
    return not name.startswith(_SENDER)


class LoginRequest(NamedTuple):
    """What a login asks for, and what it shows."""

    device: str = ""
    """The device; empty: the unnamed one. See :func:`sender_name` as well."""
    version: int = 1
    shown: str = ""
    """A token of another session; empty: none."""
    takes_over: bool = False
    """Whether to take over the session of this device."""
    verified: bool = False
    """Whether a password or a certificate has shown who the user is."""
    needs_proof: bool = False
    """Whether the server asks for passwords, so that only verified users may log in."""


class Holder(Protocol):
    """A session of the user, or a login that is under way."""

    @property
    def device(self) -> str:
        """See LoginRequest."""

    @property
    def verified(self) -> bool:
        """Whether its token stands for the password."""

    @property
    def trusted(self) -> bool:
        """Whether its login was verified or has shown a token."""

    def has_token(self, token: str) -> bool:
        """Return whether this is its token. A login that is under way has none yet."""

    @property
    def under_way(self) -> bool:
        """Whether it is a login that is under way."""


class Decision(NamedTuple):
    """A login that is accepted."""

    ends: tuple[Holder, ...]
    """The sessions that it ends. The first one is that of its own device, if it takes that over."""
    verified: bool
    trusted: bool
    """See Holder."""
    spends: bool
    """Whether the token that it shows stood for the password. It does so once."""


def decide(name: str, login: LoginRequest, holders: Sequence[Holder], proof: bool) -> Decision:
    """Decide on a login.

    Args:
        name: of the user, for the errors.
        login: what it asks for.
        holders: all sessions of the user, and logins that are under way.
        proof: whether the token shown is that of an ended session and still stands for the
            password.

    Raises:
        AuthenticationFailed: the server needs a password, and nothing stands for it.
        UserAlreadyLogged: the device has a session, or the name is its holder's.
        RateLimited: the user has too many sessions.
    """
    devices = [one for one in holders if is_device(one.device)]
    senders = [one for one in holders if not is_device(one.device)]
    shown = bool(login.shown) and any(one.has_token(login.shown) for one in devices)
    verified, spends = login.verified, False
    if login.needs_proof and not verified:
        spends = verified = proof or any(
            one.verified and one.has_token(login.shown) for one in devices
        )
        if not verified:
            raise AuthenticationFailed("a password is needed")
    trusted = verified or shown
    if is_device(login.device):
        ends = _device_login(name, login, devices, verified, trusted)
        ends += tuple(one for one in senders if not (one.trusted or one.under_way))
    else:
        ends = _sender_login(name, login, senders)
        trusted = trusted or any(one.trusted for one in ends)
        if devices and not (trusted or ends):
            raise UserAlreadyLogged(f"{name} is logged in elsewhere")
    return Decision(ends, verified, trusted, spends)


def _device_login(
    name: str, login: LoginRequest, devices: list[Holder], verified: bool, trusted: bool
) -> tuple[Holder, ...]:
    own = [one for one in devices if one.device == login.device]
    if any(one.under_way for one in own):
        raise UserAlreadyLogged(f"{name} is logging in from this device already")
    if own and login.version > 1:
        if own[0].has_token(login.shown) or (login.takes_over and verified):
            return (own[0],)
        raise UserAlreadyLogged(f"this device of {name} is logged in already")
    if devices and (login.version == 1 or not trusted):
        raise UserAlreadyLogged(f"{name} is logged in elsewhere")
    if len(devices) >= MAX_DEVICES:
        raise RateLimited(f"{MAX_DEVICES} devices of {name} are online already", "MAX_DEVICES")
    return ()


def _sender_login(name: str, login: LoginRequest, senders: list[Holder]) -> tuple[Holder, ...]:
    own = [one for one in senders if one.device == login.device != NO_NAME]
    if own:
        if any(one.under_way for one in own) or not own[0].has_token(login.shown):
            raise UserAlreadyLogged(f"another session of {name} sends as {login.device[1:]}")
        return (own[0],)
    if len(senders) >= MAX_SENDERS:
        raise RateLimited(
            f"{MAX_SENDERS} sessions of {name} that receive nothing are open", "MAX_SENDERS"
        )
    return ()
