"""Two devices of a person after a restart of a server without passwords, which ends tokens."""

from __future__ import annotations

from typing import Any

import pytest

from tests.blackbox.client import Client
from tests.web.people import People, person, say, stored, wait_for
from tests.web.test_devices import link_of

pytestmark = pytest.mark.timeout(180)


def locked_out(people: People) -> tuple[Any, Any]:
    """Return the device that is online after the restart, and the other one."""
    laptop = people.enter("alice")
    link = link_of(laptop)
    phone = people.page()
    phone.goto(link)
    phone.wait_for_selector("#chat:not([hidden])")
    with Client(people.server.address, "bob"):
        for page in (laptop, phone):
            person(page, "bob")
    people.server.restart()
    pages = [laptop, phone]
    wait_for(lambda: any(one.is_visible("#banner.taken") for one in pages), "one is refused")
    pages.sort(key=lambda one: one.is_visible("#banner.taken"))
    assert pages[0].is_hidden("#banner")
    return pages[0], pages[1]


def test_the_other_device_says_what_to_do_and_keeps_what_is_written(people: People) -> None:
    online, out = locked_out(people)
    assert "Add a device" in out.inner_text("#banner")
    say(out, "written meanwhile")
    out.goto(link_of(online))
    out.wait_for_selector("#chat:not([hidden])")
    stored(out, 1)
    assert out.is_hidden("#banner")
    assert online.is_hidden("#banner")
    with Client(people.server.address, "bob") as bob:
        assert bob.receive().text == "written meanwhile"


def test_the_other_device_goes_on_when_the_name_is_free(people: People) -> None:
    online, out = locked_out(people)
    say(out, "written meanwhile")
    online.click("#logout")
    stored(out, 1)
    wait_for(lambda: out.is_hidden("#banner"))


def test_a_reload_of_the_other_device_loses_nothing(people: People) -> None:
    online, out = locked_out(people)
    say(out, "written meanwhile")
    out.reload()
    wait_for(lambda: "Add a device" in out.inner_text("#login-error"))
    assert out.is_enabled("#enter")
    online.click("#logout")
    out.wait_for_selector("#chat:not([hidden])")
    stored(out, 1)


def test_the_waiting_form_lets_another_user_in(people: People) -> None:
    _, out = locked_out(people)
    out.reload()
    wait_for(lambda: "Add a device" in out.inner_text("#login-error"))
    out.fill("#name", "carol")
    assert out.inner_text("#login-error") == ""
    out.click("#enter")
    out.wait_for_selector("#chat:not([hidden])")
    assert out.inner_text("#me .name") == "carol"
