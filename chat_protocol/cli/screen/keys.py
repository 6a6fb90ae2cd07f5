"""Key bindings of the full screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prompt_toolkit.filters import Condition, Filter
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from chat_protocol.cli.screen.actions import Actions
from chat_protocol.cli.screen.completion import Completion
from chat_protocol.cli.screen.conversations import Conversation
from chat_protocol.cli.screen.model import Model, Paste
from chat_protocol.cli.terminal import Interrupted

if TYPE_CHECKING:
    from chat_protocol.cli.screen.view import View

__all__ = ["MAX_PASTED", "Keyboard"]

MAX_PASTED = 1_000
"""Maximum number of pasted lines that can be sent as separate messages."""


class Keyboard:
    """The key bindings.

    Args:
        model: the state of the screen.
        actions: carries out the input.
    """

    def __init__(self, model: Model, actions: Actions) -> None:
        self._model = model
        self._actions = actions
        self._view: View | None = None
        self._completion = Completion()
        self.bindings = KeyBindings()
        self._bind()

    @property
    def view(self) -> View:
        """The screen; set before the first key."""
        assert self._view is not None
        return self._view

    @view.setter
    def view(self, view: View) -> None:
        self._view = view

    def _bind(self) -> None:
        asking = Condition(lambda: self._model.paste is not None)
        empty = Condition(lambda: not self.view.typed.text)

        def key(*keys: str, when: Filter = ~asking, eager: bool = False) -> Callable[..., object]:
            return self.bindings.add(*keys, filter=when, eager=eager)

        key("enter")(self._enter)
        key("escape", "enter")(lambda event: event.current_buffer.insert_text("\n"))
        key("tab")(lambda event: self._complete(1))
        key("s-tab")(lambda event: self._complete(-1))
        key("pageup")(lambda event: self._page_up())
        key("pagedown")(lambda event: self._scroll(self.view.messages.page))
        key("end", when=~asking & empty)(lambda event: self._to_end())
        key("escape", "end")(lambda event: self._to_end())
        key("c-end")(lambda event: self._to_end())
        key("home", when=~asking & empty)(lambda event: self._to_top())
        key("escape", "home")(lambda event: self._to_top())
        key("c-home")(lambda event: self._to_top())
        for number in range(1, 10):
            key("escape", str(number))(lambda event, number=number: self._number(number))
        for keys, by in (
            (("c-n",), 1),
            (("c-p",), -1),
            (("escape", "right"), 1),
            (("escape", "left"), -1),
            (("escape", "down"), 1),
            (("escape", "up"), -1),
        ):
            key(*keys)(lambda event, by=by: self._switch(lambda: self._model.step(by)))
        key("escape", "a")(lambda event: self._switch(self._model.next_unread))
        key("c-c")(self._interrupt)
        key("c-d", when=~asking & empty)(lambda event: self._actions.leave())
        key("c-z")(lambda event: event.app.suspend_to_background())
        key(Keys.BracketedPaste)(self._paste)
        key(Keys.Any, when=asking, eager=True)(self._answer)
        for other in ("escape", "c-c", "enter"):
            key(other, when=asking, eager=True)(lambda event: self._answered(""))

    # Editing.

    def _enter(self, event: KeyPressEvent) -> None:
        typed = event.current_buffer
        text = typed.text
        if text.strip():
            typed.append_to_history()
        typed.reset()
        self._completion.reset()
        before = self._model.current
        self._actions.handle_line(text)
        if self._model.current is not before:
            self._take_draft()

    def _complete(self, by: int) -> None:
        typed = self.view.typed
        model = self._model
        line = typed.document.text_before_cursor
        completed = self._completion.next(line, by, model.names)
        if completed is not None:
            typed.delete_before_cursor(len(line))
            typed.insert_text(completed)
        model.hint = self._completion.hint(model.capabilities)
        model.changed()

    def _paste(self, event: KeyPressEvent) -> None:
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        if "\n" not in text.rstrip("\n"):
            event.current_buffer.insert_text(text.rstrip("\n"))
            return
        self._model.paste = Paste(text.strip("\n"))
        self._model.changed()

    def _answer(self, event: KeyPressEvent) -> None:
        if event.data.lower() in ("o", "s", "n"):
            self._answered(event.data.lower())

    def _answered(self, answer: str) -> None:
        model, paste = self._model, self._model.paste
        assert paste is not None
        model.paste = None
        if answer == "o":
            # The text stays in the line for review; Enter sends it.
            self.view.typed.insert_text(paste.text)
        elif answer == "s" and len(paste.lines) > MAX_PASTED:
            model.hint = f"more than {MAX_PASTED:,} lines; use 'chatclient send' to send a file"
        elif answer == "s":
            self._actions.send_pasted(paste.lines)
        model.changed()

    def _interrupt(self, event: KeyPressEvent) -> None:
        if event.current_buffer.text and not self._actions.leaving:
            event.current_buffer.append_to_history()
            event.current_buffer.reset()
        else:
            event.app.exit(exception=Interrupted())

    # Navigation.

    def _switch(self, how: Callable[[], object]) -> None:
        """Show another conversation; the unsent text stays with the previous one as its draft."""
        before = self._model.current
        typed = self.view.typed.text
        how()
        if self._model.current is not before:
            before.draft = typed
            self._actions.show(self._model.current)
            self._take_draft()

    def _take_draft(self) -> None:
        typed, conversation = self.view.typed, self._model.current
        typed.reset()
        typed.insert_text(conversation.draft)
        conversation.draft = ""
        self._completion.reset()

    def _number(self, number: int) -> None:
        self._switch(lambda: self._model.show_number(number))

    def _scroll(self, rows: int) -> bool:
        top = self.view.messages.viewport.scroll(rows)
        self._model.changed()
        return top

    def _page_up(self) -> None:
        """Scroll up one page; at the top, load older messages first."""
        rows = self.view.messages.page
        if self._scroll(-rows):
            conversation = self._model.current
            older = self._actions.load_older(conversation)
            older.addCallback(lambda _: self._loaded(conversation, rows))

    def _loaded(self, conversation: Conversation, rows: int) -> None:
        if conversation is self._model.current:
            self._scroll(-rows)

    def _to_top(self) -> None:
        self.view.messages.viewport.to_top()
        self._page_up()

    def _to_end(self) -> None:
        conversation = self._model.current
        conversation.bottom, conversation.rows_hidden = None, 0
        conversation.mark_read()
        self._model.changed()
