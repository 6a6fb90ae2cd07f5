"""What stands in the composer outlives conversations, reloads and refused messages."""

from __future__ import annotations

import pytest

from tests.blackbox.client import Client
from tests.web.people import People, log_in, person, say, wait_for

pytestmark = pytest.mark.timeout(180)


def test_each_conversation_keeps_its_draft_over_a_reload(people: People) -> None:
    with Client(people.server.address, "bob"), Client(people.server.address, "carol"):
        page = people.enter("alice")
        person(page, "bob")
        page.fill("#text", "for bob")
        person(page, "carol")
        assert page.input_value("#text") == ""
        page.fill("#text", "for carol")
        page.reload()
        page.wait_for_selector("#chat:not([hidden])")
        assert page.input_value("#text") == "for carol"
        person(page, "bob")
        assert page.input_value("#text") == "for bob"
        say(page, "sent now")
        page.reload()
        page.wait_for_selector("#chat:not([hidden])")
        assert page.input_value("#text") == ""


def test_a_draft_survives_a_crash_of_the_page(people: People) -> None:
    context = people.context()
    script = "addEventListener('pagehide', (e) => e.stopImmediatePropagation(), true)"
    page = people.page(context, script=script)
    log_in(page, "alice")
    page.fill("#text", "half a sentence")
    page.wait_for_timeout(1000)
    page.close()
    page = people.page(context)
    page.wait_for_selector("#chat:not([hidden])")
    wait_for(lambda: page.input_value("#text") == "half a sentence")


def test_a_draft_goes_with_the_logout(people: People) -> None:
    page = people.enter("alice")
    page.fill("#text", "half a sentence")
    page.click("#logout")
    page.wait_for_selector("#entry:not([hidden])")
    log_in(page, "alice")
    assert page.input_value("#text") == ""


def test_drafts_are_bounded(people: People) -> None:
    page = people.page()
    kept = page.evaluate("""async () => {
      const { Drafts } = await import("/js/drafts.js");
      const drafts = new Drafts("x");
      for (let n = 0; n < 300; n += 1) drafts.set(`name${n}`, `draft ${n}`);
      const again = new Drafts("x");
      drafts.set("long", "x".repeat(300000));
      return [again.of("name0"), again.of("name299"), new Drafts("x").of("long").length,
        localStorage["console-chat:drafts:x"].length];
    }""")
    assert kept[0] == ""
    assert kept[1] == "draft 299"
    assert kept[2] == 300000
    assert kept[3] < 700_000


def test_stored_drafts_of_another_shape_are_ignored(people: People) -> None:
    page = people.page()
    found = page.evaluate("""async () => {
      const { Drafts } = await import("/js/drafts.js");
      return ['7', 'null', '{"a":1}', '[[1,2],["bob"],null,["carol","kept"]]'].map((junk) => {
        localStorage["console-chat:drafts:x"] = junk;
        return new Drafts("x").of("carol");
      });
    }""")
    assert found == ["", "", "", "kept"]


def test_editing_a_refused_message_keeps_what_stands_in_the_composer(people: People) -> None:
    page = people.enter("alice")
    page.click("#compose")
    page.fill("#recipients", "nobody at all")
    page.click("#new-open")
    say(page, "hello?")
    page.wait_for_selector("#scroller .failed")
    page.fill("#text", "the next thought")
    page.click("text=Edit")
    assert page.input_value("#text") == "hello?\nthe next thought"
    page.reload()
    page.wait_for_selector("#chat:not([hidden])")
    assert page.input_value("#text") == "hello?\nthe next thought"
