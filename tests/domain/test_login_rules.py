"""The rules of login, by the sessions that a user has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from chat_protocol.domain.login_rules import (
    MAX_DEVICES,
    MAX_SENDERS,
    NO_NAME,
    Decision,
    LoginRequest,
    decide,
    is_device,
    sender_name,
)
from chat_protocol.errors import AuthenticationFailed, RateLimited, Refused, UserAlreadyLogged


class Held(NamedTuple):
    """A session."""

    device: str = ""
    token: str = ""
    verified: bool = False
    trusted: bool = False
    under_way: bool = False

    def has_token(self, token: str) -> bool:
        return bool(self.token) and token == self.token


def login(device: str = "", version: int = 2, **asked: object) -> LoginRequest:
    return LoginRequest(device, version)._replace(**asked)  # type: ignore[arg-type]


def decided(request: LoginRequest, *holders: Held, proof: bool = False) -> Decision:
    return decide("alice", request, holders, proof)


def refused(request: LoginRequest, *holders: Held, proof: bool = False) -> type[Refused]:
    with pytest.raises(Refused) as caught:
        decide("alice", request, holders, proof)
    return type(caught.value)


PHONE = Held("phone", "token")
SCRIPT = sender_name("script")


@pytest.mark.parametrize("device", ["", "phone", NO_NAME, SCRIPT])
def test_a_user_without_sessions_may_log_in(device: str) -> None:
    assert decided(login(device)) == Decision((), False, False, False)
    assert decided(login(device, verified=True)) == Decision((), True, True, False)


# Open servers.


@pytest.mark.parametrize("device", ["", "phone", "laptop", NO_NAME, SCRIPT])
@pytest.mark.parametrize("shown", ["", "wrong"])
@pytest.mark.parametrize("takes_over", [False, True])
def test_a_name_in_use_stays_its_holders(device: str, shown: str, takes_over: bool) -> None:
    request = login(device, shown=shown, takes_over=takes_over)
    assert refused(request, PHONE) is UserAlreadyLogged


def test_version_1_is_refused_however_verified_while_the_user_is_online() -> None:
    assert refused(login(version=1), Held("")) is UserAlreadyLogged
    for holder in (Held(""), PHONE, Held("phone", under_way=True)):
        assert refused(login(version=1, verified=True), holder) is UserAlreadyLogged
    assert decided(login(version=1), Held(SCRIPT)).ends


def test_a_token_takes_over_the_session_of_its_device() -> None:
    assert decided(login("phone", shown="token"), PHONE) == Decision((PHONE,), False, True, False)


@pytest.mark.parametrize("device", ["", "laptop", NO_NAME, SCRIPT])
def test_a_token_of_any_device_lets_another_one_in(device: str) -> None:
    other = Held("tablet", "other")
    found = decided(login(device, shown="token"), PHONE, other)
    assert found == Decision((), False, True, False)


def test_a_token_of_another_device_takes_nothing_over() -> None:
    assert refused(login("phone", shown="other"), PHONE, Held("laptop", "other"))


def test_a_session_without_a_token_cannot_be_taken_over() -> None:
    assert refused(login("", shown=""), Held("")) is UserAlreadyLogged


def test_a_verified_login_takes_over_if_it_asks_to() -> None:
    assert refused(login("phone", verified=True), PHONE) is UserAlreadyLogged
    assert decided(login("phone", verified=True, takes_over=True), PHONE).ends == (PHONE,)
    assert refused(login("phone", takes_over=True), PHONE) is UserAlreadyLogged


def test_a_verified_login_of_another_device_is_accepted() -> None:
    assert decided(login("laptop", verified=True), PHONE).ends == ()


@pytest.mark.parametrize("device", ["phone", SCRIPT])
def test_a_login_under_way_holds_its_device(device: str) -> None:
    coming = Held(device, under_way=True)
    request = login(device, verified=True, takes_over=True, shown="token")
    assert refused(request, coming) is UserAlreadyLogged
    assert refused(request, Held(device, "token"), coming) is UserAlreadyLogged


def test_a_login_under_way_keeps_others_out() -> None:
    assert refused(login("laptop"), Held("phone", under_way=True)) is UserAlreadyLogged


def test_eight_devices_may_be_online() -> None:
    devices = [Held(f"device{number}", f"token{number}") for number in range(MAX_DEVICES)]
    assert decided(login("new", verified=True), *devices[1:]).ends == ()
    assert refused(login("new", verified=True), *devices) is RateLimited
    assert decided(login("device3", shown="token3"), *devices).ends == (devices[3],)


# Sessions that only ask and send.


def test_sessions_that_only_send_do_not_hold_the_name() -> None:
    senders = [Held(NO_NAME), Held(SCRIPT, "token", trusted=True)]
    for device in ("", "phone", NO_NAME, sender_name("other")):
        assert decided(login(device), *senders)


def test_a_device_that_logs_in_ends_those_that_nobody_let_in() -> None:
    stranger, friend = Held(SCRIPT, "token"), Held(sender_name("other"), trusted=True)
    assert decided(login("phone"), stranger, friend, Held(NO_NAME, under_way=True)).ends == (
        stranger,
    )


def test_their_token_opens_no_session() -> None:
    sender = Held(SCRIPT, "secret", verified=True, trusted=True)
    for device in ("phone", "laptop", "", NO_NAME, sender_name("other")):
        request = login(device, shown="secret", takes_over=True)
        assert refused(request, PHONE, sender) is UserAlreadyLogged
        needing = request._replace(needs_proof=True)
        assert refused(needing, sender) is AuthenticationFailed


def test_their_name_is_held_by_one_session() -> None:
    sender = Held(SCRIPT, "secret")
    for request in (login(SCRIPT), login(SCRIPT, verified=True, takes_over=True)):
        assert refused(request, sender) is UserAlreadyLogged
    assert decided(login(SCRIPT, shown="secret"), sender).ends == (sender,)
    # A device of that name is another one.
    assert decided(login(SCRIPT, shown="token"), Held("script", "token")).ends == ()


def test_a_sender_that_is_taken_over_stays_trusted() -> None:
    sender = Held(SCRIPT, "secret", trusted=True)
    found = decided(login(SCRIPT, shown="secret"), PHONE, sender)
    assert found == Decision((sender,), False, True, False)


def test_many_may_share_no_name_up_to_a_limit() -> None:
    senders = [Held(NO_NAME)] * MAX_SENDERS
    assert decided(login(NO_NAME), *senders[1:]).ends == ()
    for device in (NO_NAME, SCRIPT):
        assert refused(login(device), *senders) is RateLimited
    named = [*senders[1:], Held(SCRIPT, "secret")]
    assert decided(login(SCRIPT, shown="secret"), *named).ends == (named[-1],)


# Servers with passwords.


def needing(device: str = "phone", shown: str = "token", **asked: object) -> LoginRequest:
    return login(device, shown=shown)._replace(needs_proof=True, **asked)  # type: ignore[arg-type]


def test_a_token_stands_for_the_password_if_its_session_was_verified() -> None:
    verified = PHONE._replace(verified=True)
    assert decided(needing(), verified) == Decision((verified,), True, True, True)
    assert decided(needing("laptop"), verified) == Decision((), True, True, True)
    assert decided(needing(SCRIPT), verified) == Decision((), True, True, True)


def test_a_token_of_a_session_that_was_not_verified_does_not() -> None:
    assert refused(needing(), PHONE) is AuthenticationFailed
    for shown in ("", "wrong"):
        assert refused(needing(shown=shown), PHONE._replace(verified=True))


def test_a_token_of_an_ended_session_stands_for_the_password() -> None:
    assert decided(needing(), proof=True) == Decision((), True, True, True)
    other: Sequence[Held] = (Held("tablet", "other", verified=True),)
    assert decided(needing(), *other, proof=True).ends == ()
    assert refused(needing()) is AuthenticationFailed


def test_a_password_spends_no_token() -> None:
    verified = PHONE._replace(verified=True)
    assert not decided(needing(verified=True), verified).spends


def test_names_of_devices_and_senders_do_not_meet() -> None:
    assert [is_device(one) for one in ("", "script", NO_NAME, SCRIPT)] == [True, True, False, False]
