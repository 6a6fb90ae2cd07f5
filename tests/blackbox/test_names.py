"""Usernames over the wire: 1 to 255 bytes, NFC, and what none may hold."""

from __future__ import annotations

import pytest

from tests.blackbox import wire
from tests.blackbox.client import Address, Client, log_in_when_free
from tests.blackbox.conftest import UserNames

REFUSED = {
    "empty": "",
    "256 bytes": "x" * 256,
    "256 bytes of 2": "\u00e9" * 128,
    "65535 bytes": "x" * 65535,
    "NUL": "a\0b",
    "newline": "a\nb",
    "DEL": "a\x7fb",
    "C1 control": "a\x85b",
    "zero width joiner": "a\u200db",
    "right-to-left override": "a\u202eb",
    "byte order mark": "\ufeffab",
    "soft hyphen": "a\u00adb",
    "tag": "a\U000e0041b",
    "private use": "a\ue000b",
    "private use, plane 16": "a\U0010fffdb",
    "unassigned": "a\u0378b",
    "noncharacter": "a\uffffb",
    "Hangul filler": "ab\u3164",
    "variation selector": "ab\ufe0f",
    "empty Braille pattern": "\u2800",
    "space in front": " ab",
    "space behind": "ab ",
    "no-break space behind": "ab\u00a0",
    "ideographic space in front": "\u3000ab",
    "line separator behind": "ab\u2028",
    "spaces only": "  ",
}


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED)
def test_a_login_with_a_forbidden_name_is_3(address: Address, name: str, user: UserNames) -> None:
    with Client(address) as client:
        assert client.login(name) == wire.USER_NOT_FOUND
        assert client.login(user("alice")) == wire.OK


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "\u00e9" * 127 + "x",
        "two words",
        "x" * 255,
        "\u6f22\u5b57",
        "\U0001f600",
        "a\u0301\u0323",
        "'; DROP TABLE user; --",
        "../../etc/passwd",
        "%s{}",
    ],
)
def test_any_other_name_logs_in_and_is_reached(
    address: Address, user: UserNames, name: str
) -> None:
    with log_in_when_free(address, name), Client(address, user("alice")) as alice:
        assert alice.send("x", name) == wire.OK


def test_names_are_compared_in_their_normal_form_c(address: Address, user: UserNames) -> None:
    composed, decomposed = user("caf\u00e9"), user("cafe\u0301")
    with Client(address, decomposed) as cafe, Client(address) as other:
        assert other.login(composed) == wire.ALREADY_LOGGED
        assert other.login(user("alice")) == wire.OK
        for written in (composed, decomposed):
            assert other.send("x", written) == wire.OK
            assert cafe.receive().to == composed
        assert cafe.send("y", user("alice")) == wire.OK
        assert other.receive().sender == composed


def test_names_that_only_look_alike_are_different_users(address: Address, user: UserNames) -> None:
    """NFC, not NFKC, and no case folding."""
    names = [user("Ka"), user("ka"), user("\uff4ba"), user("\ufb01"), user("fi")]
    clients = [Client(address, name) for name in names]
    try:
        for client in clients:
            assert client.send(client.name, client.name) == wire.OK
            assert client.receive().text == client.name
    finally:
        for client in clients:
            client.close()
