"""The page in a real browser, with people and programs of version 1 in the same conversations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox import wire
from tests.blackbox.client import Client
from tests.blackbox.server import Server
from tests.web.chromium import NO_CHROMIUM
from tests.web.people import People, log_in, person, picture, say, shows, stored, texts, wait_for

pytestmark = pytest.mark.timeout(180)


def test_two_people_and_a_program_of_version_1(people: People) -> None:
    alice, bob = people.enter("alice"), people.enter("bob", color_scheme="dark")
    with Client(people.server.address, "carol") as carol:
        person(alice, "bob")
        say(alice, "Morning! Did the nightly build go through?")
        person(bob, "alice")
        shows(bob, "Morning! Did the nightly build go through?")
        say(bob, "It did, all green.")
        shows(alice, "Morning! Did the nightly build go through?", "It did, all green.")
        person(alice, "carol")
        say(alice, "Lunch at one?")
        received = carol.receive()
        assert (received.sender, received.text) == ("alice", "Lunch at one?")
        say(alice, long := "All of it. " * 1000 + "end")
        assert carol.receive().text == long
        assert carol.send("yes: the usual place", "alice") == wire.OK
        shows(alice, "Lunch at one?", long, "yes: the usual place")
        stored(alice, 2)
        assert carol.send("I am late", "bob") == wire.OK
        wait_for(lambda: bob.title() == "(1) Console Chat", "the title counts")
        assert bob.inner_text('#conversations [data-key="carol"] .badge') == "1"
        bob.click('#conversations [data-key="carol"]')
        wait_for(lambda: bob.title() == "Console Chat", "the title counts")
        bob.click('#conversations button[data-key$="everyone"]')
        say(bob, "Release at noon, please hold your merges until then.")
        assert carol.receive().text.startswith("Release at noon")
        assert alice.inner_text('#conversations button[data-key$="everyone"] .badge') == "1"
        bob.keyboard.press("Alt+n")
        bob.fill("#recipients", "carol, alice")
        bob.click("#new-open")
        say(bob, "Only you two: thanks for the review!")
        assert carol.receive().text == "Only you two: thanks for the review!"
        bob.click('#conversations [data-key="alice"]')
        say(bob, "The notes are at https://chat.example/notes/1.0 if you want to read them first.")
        person(alice, "bob")
        say(alice, "Reading them now.")
        say(alice, "One thing: the upgrade keeps a copy of the old database, we should say where.")
        say(bob, "Good point, I will add a line.")
        wait_for(lambda: len(texts(alice)) == len(texts(bob)) == 6)
        picture(alice, "page-light")
        picture(bob, "page-dark")
    wait_for(
        lambda: alice.locator('#people [data-name="carol"].offline').count(), "carol is offline"
    )
    alice.locator("#conversations button").filter(has_text="bob, carol").click()
    shows(alice, "Only you two: thanks for the review!")


def test_a_server_that_is_killed_in_the_middle(people: People) -> None:
    alice, bob = people.enter("alice"), people.enter("bob")
    person(alice, "bob")
    person(bob, "alice")
    expected = []
    for number in range(12):
        text = f"message {number}"
        alice.fill("#text", text[:5])
        if number in (3, 8):
            people.server.kill9()
        alice.fill("#text", text)
        alice.press("#text", "Enter")
        expected.append(text)
        if number in (5, 10):
            alice.wait_for_selector("#banner.offline")
            alice.fill("#text", "half a sen")
            people.server.start()
            assert alice.input_value("#text") == "half a sen"
    stored(alice, 12)
    shows(bob, *expected)
    shows(alice, *expected)
    assert not alice.is_visible("#banner")
    say(bob, "all twelve, each once")
    shows(alice, *expected, "all twelve, each once")


def test_what_could_not_be_sent_outlives_the_page(people: People) -> None:
    context = people.context()
    alice = people.page(context)
    log_in(alice, "alice")
    with Client(people.server.address, "bob"):
        person(alice, "bob")
    people.server.kill9()
    say(alice, "one")
    say(alice, "two")
    alice.fill("#text", "and a draft")
    alice.close()
    people.server.start()
    alice = people.page(context)
    alice.wait_for_selector("#chat:not([hidden])")
    shows(alice, "one", "two")
    stored(alice, 2)
    assert alice.input_value("#text") == "and a draft"
    with Client(people.server.address, "bob") as bob:
        assert [bob.receive().text for _ in range(2)] == ["one", "two"]
        assert bob.send("got it", "alice") == wire.OK
    shows(alice, "one", "two", "got it")


HOSTILE = [
    "<img src=x onerror=alert(1)><script>alert(2)</script>",
    "</div><style>*{display:none}</style>",
    'javascript:alert(3) https://x"onmouseover=alert(4)',
    "\u202etxt.exe \u2066 zero\u200bwidth\u0000 \x1b[31mred",
    "a" * 5000,
    "many\n" * 200,
    "&lt;b&gt; &amp; {{7*7}} ${alert(5)}",
]


def test_hostile_texts_and_names(people: People) -> None:
    names = [
        "<b>eve</b>",
        '"><script>alert(9)</script>',
        "a" * 255,
        "אבג",
        "constructor",
        "e'v\"e,x",
    ]
    alice = people.enter("alice")
    for name in names:
        with Client(people.server.address, name) as eve:
            for text in HOSTILE:
                assert eve.send(text, "alice") == wire.OK
    wait_for(lambda: alice.title() == f"({len(names) * len(HOSTILE)}) Console Chat")
    for name in names:
        alice.locator("#conversations button").filter(has_text=name).first.click()
        wait_for(lambda: len(texts(alice)) == len(HOSTILE))
        shown = texts(alice)
        assert shown[0] == HOSTILE[0]
        assert "\u202e" not in shown[3]
        assert "⟨202E⟩" in shown[3]
        assert "⟨200B⟩" in shown[3]
        assert shown[5] == HOSTILE[5].rstrip("\n") + "\n" or shown[5] == HOSTILE[5]
    assert alice.locator("#chat img").count() == 1
    assert alice.locator("#scroller :is(script, style, img, b)").count() == 0
    assert alice.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for link in alice.locator("#scroller a").all():
        assert re.match(r"https?://", link.get_attribute("href"))


def test_a_phone(people: People) -> None:
    with Client(people.server.address, "bob") as bob:
        page = people.enter("alice", viewport={"width": 390, "height": 780}, has_touch=True)
        assert page.is_visible("#conversations")
        assert not page.is_visible("#text")
        person(page, "bob")
        assert page.is_visible("#text")
        assert not page.is_visible("#conversations")
        page.fill("#text", "Sent from the train, with a text that needs more than one line here.")
        page.click("#send")
        assert bob.receive().text.startswith("Sent from the train")
        assert bob.send("Then see you at the station!", "alice") == wire.OK
        wait_for(lambda: len(texts(page)) == 2)
        picture(page, "page-phone")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.click("#back")
        assert page.is_visible("#conversations")
        assert bob.send("another", "alice") == wire.OK
        wait_for(lambda: page.locator(".badge").count() == 1)


# The tab is in the background, and what would be notified of is kept.
NOTIFIED = """
  window.notified = [];
  window.Notification = class {
    static permission = "default";
    static async requestPermission() { Notification.permission = "granted"; }
    constructor(title, { body, tag }) { notified.push([title, body, tag]); }
  };
  let hidden = false;
  window.hide = () => { hidden = true; };
  Object.defineProperty(document, "visibilityState", { get: () => hidden ? "hidden" : "visible" });
"""


def test_what_waits_at_the_first_login_is_unread_and_what_comes_is_notified_of(
    people: People,
) -> None:
    with Client(people.server.address, "alice"):
        pass
    with Client(people.server.address, "bob") as bob:
        for text in ("one", "two"):
            assert bob.send(text, "alice") == wire.OK
        page = people.page(script=NOTIFIED)
        log_in(page, "alice")
        wait_for(lambda: page.title() == "(2) Console Chat", "both are counted")
        page.click("#notify")
        wait_for(lambda: page.get_attribute("#notify", "aria-pressed") == "true")
        assert bob.send("is seen", "alice") == wire.OK
        wait_for(lambda: "is seen" in page.inner_text("#announcer"), "it is said")
        assert page.evaluate("notified") == []
        page.evaluate("hide()")
        for n in range(50):
            assert bob.send(f"number {n}\n\u202e", "alice") == wire.OK
        wait_for(lambda: page.title() == "(53) Console Chat", "all are counted")
        wait_for(lambda: "number 49" in str(page.evaluate("notified")), "it is notified")
        notified = page.evaluate("notified")
        assert len(notified) < 20
        assert notified[-1] == ["bob", "number 49 \u27e8202E\u27e9", "bob"]


def test_by_keyboard_alone(people: People) -> None:
    with (
        Client(people.server.address, "bob") as bob,
        Client(people.server.address, "carol") as carol,
    ):
        page = people.page()
        page.keyboard.type("alice")
        page.keyboard.press("Enter")
        page.wait_for_selector("#chat:not([hidden])")
        page.wait_for_selector('#people [data-name="bob"]')
        page.keyboard.press("Control+k")
        page.keyboard.type("bo")
        page.keyboard.press("Enter")
        page.keyboard.type("first line")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("second line")
        page.keyboard.press("Enter")
        assert bob.receive().text == "first line\nsecond line"
        assert carol.send("psst", "alice") == wire.OK
        page.wait_for_selector('#conversations .unread[data-key="carol"]')
        page.keyboard.press("Alt+u")
        shows(page, "psst")
        page.keyboard.press("Alt+n")
        page.keyboard.type("bob, carol")
        page.keyboard.press("Enter")
        page.keyboard.type("both of you")
        page.keyboard.press("Enter")
        assert [one.receive().text for one in (bob, carol)] == ["both of you"] * 2
        page.keyboard.press("Alt+ArrowDown")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.id") == "text"


def test_who_cannot_be_written_to_is_told_and_the_text_is_kept(people: People) -> None:
    page = people.enter("alice")
    page.click("#compose")
    page.fill("#recipients", "nobody at all")
    page.click("#new-open")
    say(page, "hello?")
    page.wait_for_selector("#scroller .failed")
    assert "no user has that name" in page.inner_text("#scroller .why")
    with Client(people.server.address, "nobody at all") as found:
        page.click("text=Send again")
        assert found.receive().text == "hello?"
    stored(page, 1)


def test_a_server_that_asks_for_passwords(chromium: Any, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("alice:secret\n")
    with Server(tmp_path, ["--auth", f"file:{passwords}"]) as server:
        people = People(chromium, server)
        page = people.page()
        page.fill("#name", "alice")
        page.click("#enter")
        page.wait_for_selector("#password:visible")
        page.fill("#password", "wrong")
        page.click("#enter")
        page.wait_for_selector("text=The password is wrong.")
        page.fill("#password", "secret")
        page.click("#enter")
        page.wait_for_selector("#chat:not([hidden])")
        page.click("#logout")
        page.wait_for_selector("#entry:not([hidden])")
        people.close()


def test_nothing_stands_in_the_way_of_anybody(people: People) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=NO_CHROMIUM).Axe()

    def check(page: Any, where: str) -> None:
        found = axe.run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["target"]) for one in found] == [], where

    with Client(people.server.address, "bob") as bob:
        page = people.page()
        check(page, "the login")
        log_in(page, "alice")
        person(page, "bob")
        say(page, "to bob")
        assert bob.send("to alice", "alice") == wire.OK
        assert bob.receive().text == "to bob"
        page.click('#conversations button[data-key$="everyone"]')
        assert bob.send("once more", "alice") == wire.OK
        page.wait_for_selector(".badge")
        check(page, "a conversation that is empty, one unread")
        person(page, "bob")
        check(page, "a conversation")
        page.click("#compose")
        check(page, "a new message")
        page.keyboard.press("Escape")
        page.click("#help-button")
        check(page, "the keys")
        page.keyboard.press("Escape")
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        check(page, "in the dark")
        page.set_viewport_size({"width": 390, "height": 780})
        check(page, "on a phone")
        people.server.kill9()
        page.wait_for_selector("#banner.offline")
        say(page, "waits")
        check(page, "without a connection")
        people.server.start()
