"""Key bindings, with prompt_toolkit but without a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from chat_protocol.cli.screen.keys import MAX_PASTED, Keyboard
from chat_protocol.cli.screen.view import View, color_depth
from chat_protocol.cli.terminal import Interrupted
from chat_protocol.testing import MemoryServer
from tests.cli.screen.screen_user import ScreenUser
from tests.cli.screen.tmux import PATIENCE

UP, DOWN, LEFT = "\x1b[A", "\x1b[B", "\x1b[D"
PAGE_UP, PAGE_DOWN, HOME, END = "\x1b[5~", "\x1b[6~", "\x1b[H", "\x1b[F"
ALT_RIGHT, ALT_LEFT = "\x1b[1;3C", "\x1b[1;3D"
CTRL_C, CTRL_D, CTRL_N, CTRL_P = "\x03", "\x04", "\x0e", "\x10"


def paste(text: str) -> str:
    return f"\x1b[200~{text}\x1b[201~"


class Desk(ScreenUser):
    """A user with a keyboard."""

    def __init__(self, server: MemoryServer, name: str, keys: PipeInput) -> None:
        super().__init__(server, name)
        self._keys = keys
        keyboard = Keyboard(self.model, self.actions)
        self.view = View(self.model, keyboard.bindings, {}, keys, DummyOutput())
        keyboard.view = self.view

    @property
    def line(self) -> str:
        """The text typed but not sent."""
        return self.view.typed.text

    async def remember(self, count: int) -> None:
        """Wait until the line history has ``count`` lines, which prompt_toolkit loads
        asynchronously."""
        await self.press("", lambda: len(self.view.typed._working_lines) == count + 1)

    async def press(self, keys: str, until: Callable[[], bool]) -> None:
        """Press keys and wait until a condition is true."""
        self._keys.send_text(keys)
        for _ in range(int(PATIENCE * 100)):
            self.server.flush()
            if until():
                return
            await asyncio.sleep(0.01)
        raise AssertionError((keys, self.line, self.model.hint, self.shown))


def at_desk(work: Callable[[Desk, ScreenUser], Coroutine[Any, Any, None]]) -> None:
    """Run a test at the screen of alice; bob is another user."""

    async def run() -> None:
        server = MemoryServer()
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            bob = ScreenUser(server, "bob")
            desk = Desk(server, "alice", keys)
            app = desk.view.app
            faults: list[object] = []
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda loop, context: faults.append(context))
            running = asyncio.ensure_future(
                app.run_async(handle_sigint=False, set_exception_handler=False)
            )
            await asyncio.sleep(0)
            await work(desk, bob)
            if app.is_running and not app.is_done:
                app.exit()
            with suppress(Interrupted):
                await running
            assert faults == []

    asyncio.run(run())


def test_typing_completing_and_sending() -> None:
    async def work(alice: Desk, bob: ScreenUser) -> None:
        await alice.press("/query b\t", lambda: alice.line == "/query bob ")
        await alice.press("\r", lambda: alice.line == "")
        assert alice.model.current.partners == ("bob",)
        await alice.press("hello\r", lambda: alice.shown == ["alice ✓ hello"])
        await alice.press("one\x1b\rtwo\r", lambda: alice.shown[1:] == ["alice ✓ one", "two"])
        assert [one.text for one in bob.model.conversations[2].entries] == ["hello", "one\ntwo"]

    at_desk(work)


def test_the_conversations() -> None:
    async def work(alice: Desk, bob: ScreenUser) -> None:
        alice.type("/query bob")
        at = lambda number: lambda: alice.model.current is alice.model.conversations[number - 1]  # noqa: E731
        await alice.press("half a", lambda: alice.line == "half a")
        await alice.press(CTRL_P, at(2))
        # The draft stays with its conversation.
        assert alice.line == ""
        await alice.press(CTRL_N, at(3))
        assert alice.line == "half a"
        await alice.press("\x1b1", at(1))
        await alice.press(ALT_LEFT, at(3))
        await alice.press(ALT_RIGHT, at(1))
        await alice.press("\x1b2", at(2))
        bob.type("alice: hi")
        await alice.press("\x1ba", at(3))
        assert alice.line == "half a"
        await alice.press("\x1b9", at(3))
        # The draft is used once.
        await alice.press(CTRL_C, lambda: alice.line == "")
        await alice.press("/query carol\r", lambda: len(alice.model.conversations) == 4)
        await alice.press("\x1b3", at(3))
        assert alice.line == ""

    at_desk(work)


def test_earlier_lines_are_recalled() -> None:
    async def work(alice: Desk, bob: ScreenUser) -> None:
        await alice.press("bob: one\r", lambda: alice.shown == ["alice ✓ one"])
        await alice.press("two\r", lambda: len(alice.shown) == 2)
        await alice.remember(2)
        await alice.press(UP, lambda: alice.line == "two")
        await alice.press(UP, lambda: alice.line == "bob: one")
        await alice.press(DOWN, lambda: alice.line == "two")

    at_desk(work)


def test_the_page_keys() -> None:
    async def work(alice: Desk, bob: ScreenUser) -> None:
        for number in range(300):
            bob.actions.handle_line(f"alice: n{number}")
        alice.server.flush()
        conversation = alice.model.conversations[2]
        alice.actions.show(conversation)
        alice.server.flush()
        await asyncio.sleep(0.1)
        await alice.press(PAGE_UP, lambda: not conversation.at_end)
        await alice.press(PAGE_DOWN, lambda: conversation.at_end)
        await alice.press(
            HOME, lambda: conversation.bottom is not None and conversation.bottom.text < "n5"
        )
        await alice.press(END, lambda: conversation.at_end)
        # In a line with text, Home and End move the cursor.
        await alice.press(f"abc{HOME}x", lambda: alice.line == "xabc")
        assert conversation.at_end

    at_desk(work)


def test_older_messages_are_loaded_at_the_top() -> None:
    async def work(alice: Desk, bob: ScreenUser) -> None:
        for number in range(400):
            alice.actions.handle_line(f"bob: n{number}")
        alice.server.flush()
        bob.actions.show(bob.model.conversations[2])
        # As if loaded in an earlier run.
        alice.model.close(alice.model.current)
        conversation = alice.model.open(("bob",))
        alice.actions.show(conversation)
        alice.server.flush()
        have = len(conversation.entries)
        assert have < 400
        await alice.press(PAGE_UP * 30, lambda: len(conversation.entries) > have)

    at_desk(work)


@pytest.mark.parametrize(
    ("answer", "line", "sent"),
    [
        ("o", "say one\n\ntwo", []),
        ("S", "say ", ["one", "two"]),
        ("n", "say ", []),
        ("\r", "say ", []),
        (CTRL_C, "say ", []),
    ],
)
def test_a_paste_of_several_lines_asks_what_to_do(answer: str, line: str, sent: list[str]) -> None:
    async def work(alice: Desk, bob: ScreenUser) -> None:
        alice.type("/query bob")
        await alice.press(
            "say " + paste("one\r\n\r\ntwo\r\n"), lambda: alice.model.paste is not None
        )
        await alice.press("xq", lambda: alice.line == "say ")
        await alice.press(answer, lambda: alice.model.paste is None)
        await alice.press("", lambda: alice.line == line)
        assert [one.text for one in alice.model.current.entries] == sent

    at_desk(work)


def test_a_paste_of_one_line_is_inserted() -> None:
    async def work(alice: Desk, bob: ScreenUser) -> None:
        await alice.press(paste("one line\n"), lambda: alice.line == "one line")
        assert alice.model.paste is None

    at_desk(work)


def test_a_paste_of_too_many_lines() -> None:
    async def work(alice: Desk, bob: ScreenUser) -> None:
        alice.type("/query bob")
        text = "line\n" * (MAX_PASTED + 1)
        await alice.press(paste(text), lambda: alice.model.paste is not None)
        await alice.press("s", lambda: alice.model.paste is None)
        assert "chatclient send" in alice.model.hint
        assert alice.model.current.entries == []

    at_desk(work)


def test_ctrl_c_clears_the_line_and_then_quits() -> None:
    async def work(alice: Desk, bob: ScreenUser) -> None:
        await alice.press("half", lambda: alice.line == "half")
        await alice.press(CTRL_C, lambda: alice.line == "")
        assert alice.view.app.is_running
        await alice.remember(1)
        await alice.press(UP, lambda: alice.line == "half")
        await alice.press(3 * CTRL_C, lambda: not alice.view.app.is_running)

    at_desk(work)


def test_ctrl_d_quits_if_the_line_is_empty() -> None:
    async def work(alice: Desk, bob: ScreenUser) -> None:
        await alice.press(f"half{LEFT}{CTRL_D}", lambda: alice.line == "hal")
        assert not alice.actions.left.called
        await alice.press(CTRL_C + CTRL_D, lambda: alice.actions.left.called)

    at_desk(work)


def test_no_color() -> None:
    depth = color_depth({"NO_COLOR": "1"})
    assert depth is not None
    assert depth.value == "DEPTH_1_BIT"
    assert color_depth({"NO_COLOR": ""}) is None
    assert color_depth({}) is None
