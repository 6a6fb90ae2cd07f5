"""People at the page in a browser, and what they do there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from tests.blackbox.server import Server

PATIENCE = 30_000


PICTURES = os.environ.get("CHAT_PICTURES")
"""Where the pictures of the documents go, if they are to be made anew."""


class People:
    """Those who have the page open, and what they must never see happen."""

    def __init__(self, chromium: Any, server: Server) -> None:
        self._chromium = chromium
        self.server = server
        self._contexts: list[Any] = []
        self.problems: list[str] = []
        self.hosts: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://{self.server.address[0]}:{self.server.address[1]}/"

    def context(self, **options: Any) -> Any:
        options.setdefault("viewport", {"width": 1180, "height": 760})
        context = self._chromium.new_context(locale="en-GB", **options)
        context.set_default_timeout(PATIENCE)
        self._contexts.append(context)
        return context

    def page(self, context: Any = None, script: str = "", **options: Any) -> Any:
        page = (context or self.context(**options)).new_page()
        page.add_init_script(script)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._said)
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        page.on("dialog", lambda dialog: self.problems.append(dialog.message))
        page.goto(self.url)
        return page

    def _said(self, message: Any) -> None:
        # That a server is away is the browser's to say.
        if message.type == "error" and "/ws' failed" not in message.text:
            self.problems.append(message.text)

    def enter(self, name: str, password: str = "", **options: Any) -> Any:
        page = self.page(**options)
        log_in(page, name)
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        assert self.problems == []
        assert self.hosts <= {self.url.split("/")[2]}


def log_in(page: Any, name: str) -> None:
    page.fill("#name", name)
    page.click("#enter")
    page.wait_for_selector("#chat:not([hidden])")


def person(page: Any, name: str) -> None:
    page.click(f'#people button[data-name="{name}"]')


def say(page: Any, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def use_here(page: Any) -> None:
    # A tab in the background would take seconds to notice a click.
    page.bring_to_front()
    page.click("text=Use this tab")


def texts(page: Any) -> list[str]:
    """What is shown of the open conversation."""
    found: list[str] = page.eval_on_selector_all(
        "#scroller .text", "all => all.map((one) => one.textContent)"
    )
    return found


def wait_for(condition: Callable[[], object], what: str = "it") -> None:
    end = time.monotonic() + PATIENCE / 1000
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.03)


def shows(page: Any, *expected: str) -> None:
    """Wait until the open conversation shows just that."""
    wait_for(lambda: texts(page) == list(expected), f"{expected}, but {texts(page)},")


def stored(page: Any, count: int) -> None:
    wait_for(lambda: page.locator("#scroller .mine.stored").count() == count, f"{count} stored")


def picture(page: Any, name: str) -> None:
    if PICTURES:
        page.mouse.move(700, 200)
        page.wait_for_timeout(250)
        page.screenshot(path=f"{PICTURES}/{name}.png")
