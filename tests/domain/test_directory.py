"""The user directory: which logins may become sessions."""

from __future__ import annotations

import pytest

from chat_protocol.domain import directory as directory_module
from chat_protocol.domain.directory import Directory
from chat_protocol.domain.login_rules import LoginRequest
from chat_protocol.domain.tokens import EndedTokens
from chat_protocol.domain.users import Claim
from chat_protocol.errors import UserAlreadyLogged


@pytest.fixture
def directory() -> Directory:
    """Of a node in a cluster."""
    return Directory(EndedTokens(0, lambda: 0), decides=False)


def claim(directory: Directory, device: str, number: int) -> Claim:
    made = directory.claim("alice", LoginRequest(device, 2), "")
    made.number = number
    return made


def test_a_login_whose_session_was_replaced_meanwhile_begins_none(directory: Directory) -> None:
    phone, desk = claim(directory, "phone", 7), claim(directory, "desk", 0)
    # Its number is not known here yet.
    directory.replaced(8)
    desk.number = 8
    directory.check(phone)
    with pytest.raises(UserAlreadyLogged, match="alice has logged in elsewhere meanwhile"):
        directory.check(desk)


def test_replaced_sessions_are_remembered_as_long_as_a_login_takes(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_module, "MAX_REPLACED", 2)
    directory.replaced(7)
    phone = claim(directory, "phone", 7)
    directory.check(phone)
    for number in (7, 8, 9):
        directory.replaced(number)
    assert list(directory._replaced) == [8, 9]
    directory.give_up(phone)
    assert not directory._replaced
