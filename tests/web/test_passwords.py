"""The page of a server that asks for passwords: no tab gets in without one, and none is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.server import Server
from tests.web.people import People, person, say, shows, stored

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def people(chromium: Any, tmp_path: Path) -> Iterator[People]:
    (tmp_path / "passwords").write_text("alice:secret\nbob:secret\n")
    with Server(tmp_path, ["--auth", "file:passwords"]) as server:
        people = People(chromium, server)
        yield people
        people.close()


def try_to(page: Any, password: str, name: str = "alice") -> None:
    page.fill("#name", name)
    page.fill("#password", password)
    page.click("#enter")


def enter(page: Any, name: str = "alice") -> None:
    try_to(page, "secret", name)
    page.wait_for_selector("#chat:not([hidden])")


def test_the_field_is_there_at_once_and_known_to_password_managers(people: People) -> None:
    page = people.page()
    assert page.is_visible("#password")
    fields = page.eval_on_selector_all(
        "#login input", "all => all.map((one) => [one.name, one.type, one.autocomplete])"
    )
    assert fields == [
        ["username", "text", "username"],
        ["password", "password", "current-password"],
    ]


def test_a_wrong_guess_is_not_sent_again_and_erases_nothing(people: People) -> None:
    page = people.page()
    sent: list[str] = []
    page.on("websocket", lambda socket: sent.append(socket.url))
    try_to(page, "wrong")
    page.wait_for_selector("text=The password is wrong.")
    assert (page.input_value("#name"), page.input_value("#password")) == ("alice", "wrong")
    page.wait_for_timeout(1500)
    assert len(sent) == 1
    enter(page)


def test_a_reload_does_not_ask_again_and_a_new_tab_does(people: People) -> None:
    bob = people.page()
    enter(bob, "bob")
    context = people.context()
    first = people.page(context)
    enter(first)
    for _ in range(2):
        first.reload()
        first.wait_for_selector("#chat:not([hidden])")
    second = people.page(context)
    second.wait_for_selector("#entry:not([hidden])")
    assert second.input_value("#name") == "alice"
    # It takes nothing over before it has logged in.
    try_to(second, "wrong")
    second.wait_for_selector("text=The password is wrong.")
    first.bring_to_front()
    person(first, "bob")
    say(first, "still here")
    stored(first, 1)
    second.bring_to_front()
    enter(second)
    first.wait_for_selector("#banner.replaced")
    person(second, "bob")
    shows(second, "still here")


def test_no_password_is_kept_and_no_token_for_other_tabs(people: People) -> None:
    context = people.context()
    page = people.page(context)
    enter(page)
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "secret" not in kept
    local = page.evaluate("Object.keys(localStorage).join()")
    assert "token" not in local
    assert "token" in page.evaluate("Object.keys(sessionStorage).join()")


def test_a_logout_in_one_tab_logs_out_the_others(people: People) -> None:
    context = people.context()
    first = people.page(context)
    enter(first)
    second = people.page(context)
    enter(second)
    first.wait_for_selector("#banner.replaced")
    second.bring_to_front()
    second.click("#logout")
    for page in (second, first):
        page.bring_to_front()
        page.wait_for_selector("#entry:not([hidden])")
        page.reload()
        page.wait_for_selector("#entry:not([hidden])")
        page.wait_for_timeout(300)
        assert page.is_hidden("#chat")
        assert "token" not in page.evaluate("Object.keys(sessionStorage).join()")
