"""A logout leaves nothing of the user in the browser, and nobody gets in without a password."""

from __future__ import annotations

from typing import Any

import pytest

from tests.blackbox import wire
from tests.blackbox.client import Client
from tests.web.people import People, log_in, person, say, shows, wait_for
from tests.web.test_browser import NOTIFIED

pytestmark = pytest.mark.timeout(180)


def kept(page: Any) -> dict[str, str]:
    """What the browser stores beside empty values, the device's name and its publishing ids."""
    found: dict[str, str] = page.evaluate("Object.fromEntries(Object.entries(localStorage))")
    return {
        key: value
        for key, value in found.items()
        if not key.startswith("console-chat:device:")
        and not (key.startswith("console-chat:outbox:") and '"entries":[]' in value)
        and value not in ('""', "null", "false")
    }


def log_out(page: Any) -> None:
    page.bring_to_front()
    page.click("#logout")
    page.wait_for_selector("#entry:not([hidden])")


def check_out(page: Any) -> None:
    assert kept(page) == {}
    page.reload()
    page.wait_for_selector("#entry:not([hidden])")
    page.wait_for_timeout(300)
    assert page.is_hidden("#chat")


def test_a_logout_while_offline_ends_the_session(people: People) -> None:
    page = people.enter("alice")
    people.server.kill9()
    page.wait_for_selector("#banner.offline")
    log_out(page)
    people.server.start()
    check_out(page)
    assert page.input_value("#name") == ""


def test_a_logout_while_connecting_ends_the_session(people: People) -> None:
    page = people.page(
        script="""
      const Real = WebSocket;
      window.WebSocket = class extends Real {
        set onopen(then) { if (!window.silent) super.onopen = then; }
      };
    """
    )
    log_in(page, "alice")
    page.evaluate("window.silent = true")
    people.server.restart()
    page.wait_for_selector("#banner.offline >> text=Reconnecting…")
    log_out(page)
    check_out(page)


def test_a_logout_in_a_replaced_tab_logs_out_all_tabs(people: People) -> None:
    context = people.context()
    first = people.page(context)
    log_in(first, "alice")
    second = people.page(context)
    second.wait_for_selector("#chat:not([hidden])")
    first.wait_for_selector("#banner.replaced")
    log_out(first)
    second.wait_for_selector("#entry:not([hidden])")
    with Client(people.server.address, "alice"):
        pass
    check_out(first)
    check_out(second)


def test_a_logout_in_the_active_tab_logs_out_a_replaced_one(people: People) -> None:
    context = people.context()
    first = people.page(context)
    log_in(first, "alice")
    second = people.page(context)
    second.wait_for_selector("#chat:not([hidden])")
    first.wait_for_selector("#banner.replaced")
    log_out(second)
    first.wait_for_selector("#entry:not([hidden])")
    check_out(first)


def test_nothing_of_the_user_is_left_in_the_page(people: People) -> None:
    page = people.page(script=NOTIFIED)
    log_in(page, "alice")
    with Client(people.server.address, "bobby") as bob:
        person(page, "bobby")
        say(page, "secret question")
        assert bob.receive().text == "secret question"
        assert bob.send("secret answer", "alice") == wire.OK
        shows(page, "secret question", "secret answer")
        wait_for(lambda: "secret" in page.inner_text("#announcer"))
        page.fill("#text", "secret draft")
        page.click("#compose")
        page.fill("#recipients", "bobby")
        page.click("#new-cancel")
        log_out(page)
    everything = page.evaluate(
        "document.documentElement.outerHTML"
        " + [...document.querySelectorAll('input, textarea')].map((one) => one.value)"
    )
    for word in ("secret", "bobby", "alice"):
        assert word not in everything
    assert kept(page) == {}


def test_unsent_messages_are_named_before_they_go(people: People) -> None:
    page = people.enter("alice")
    with Client(people.server.address, "bob"):
        person(page, "bob")
    people.server.kill9()
    say(page, "not sent yet")
    page.click("#logout")
    page.wait_for_selector("#leave[open]")
    assert "not sent yet" in page.inner_text("#leave")
    assert "bob" in page.inner_text("#leave")
    page.click("#leave-cancel")
    shows(page, "not sent yet")
    page.click("#logout")
    page.click("#leave-out")
    page.wait_for_selector("#entry:not([hidden])")
    assert "not sent yet" not in page.content()
    people.server.start()
    check_out(page)


CLOSABLE = """
  window.shown = [];
  window.Notification = class {
    static permission = "granted";
    static async requestPermission() { return "granted"; }
    constructor() { shown.push(this); this.open = true; }
    close() { this.open = false; }
  };
  let hidden = false;
  window.hide = (value) => { hidden = value; };
  Object.defineProperty(document, "visibilityState", { get: () => hidden ? "hidden" : "visible" });
"""


def test_a_notification_of_the_former_user_opens_nothing(people: People) -> None:
    page = people.page(script=CLOSABLE)
    log_in(page, "alice")
    page.click("#notify")
    with Client(people.server.address, "bob") as bob:
        page.evaluate("hide(true)")
        assert bob.send("for alice", "alice") == wire.OK
        wait_for(lambda: page.evaluate("shown.length"), "it is notified")
        assert bob.send("within the delay", "alice") == wire.OK
        page.evaluate("hide(false); window.click = shown[0].onclick")
        log_out(page)
        assert page.evaluate("shown.some((one) => one.open)") is False
        log_in(page, "carol")
        page.evaluate("window.click()")
        page.wait_for_timeout(600)
        assert "for alice" not in page.content()
        assert "within the delay" not in page.content()
        assert page.inner_text("#title") == "Everyone"
