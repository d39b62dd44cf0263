"""One line of typed text for a filter or a search. Smaller than a general input, and nothing in it blinks."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.message import Message
from textual.widget import Widget

from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line
from gpusess.tui.widgets.pane import Pane


class FilterLine(Pane):
    """Hidden until `open`. While it has the focus it takes every printable key."""

    @dataclass
    class Changed(Message):
        """The text is another one; empty: no filter."""

        text: str

    @dataclass
    class Done(Message):
        """The focus goes back to the list; the filter stays."""

    def __init__(self, prompt: str, hint: str, *, id: str = "filter") -> None:
        super().__init__(id=id, classes="-none")
        self.value = ""
        self._prompt = prompt
        self._hint = hint
        self._back_to: Widget | None = None
        self._bad: int | None = None
        # Textual moves the focus on when what had it is hidden: never here, where letters would become text.
        self.can_focus = False

    def open(self) -> None:
        self._back_to = self.screen.focused if self.screen.focused is not self else self._back_to
        self.remove_class("-none")
        self.can_focus = True
        self.focus()

    def clear(self) -> bool:
        """Drop the filter; False where there was none."""
        if self.has_class("-none"):
            return False
        self._change("")
        self.add_class("-none")
        if self._back_to:
            self._back_to.focus()
        return True

    def put(self, text: str) -> None:
        """Set the text from elsewhere than the keyboard; none hides the line."""
        self.set_class(not text and not self.has_focus, "-none")
        self._change(text)

    def complain(self, at: int | None) -> None:
        """Mark the text from a character on as wrong; None: nothing is."""
        self._bad = at
        self.refresh()

    def show(self, scene: Scene) -> None:
        self._scene = scene

    def line_at(self, y: int) -> tuple[Line, str]:
        cursor = [("█", "data")] if self.has_focus else []
        hint = "" if self.value else f" {self._hint}"
        good = len(self.value) if self._bad is None else self._bad
        typed: Line = [(self.value[:good], "bold"), (self.value[good:], "err bold")]
        line: Line = [(f" {self._prompt} ", "data bold"), *typed, *cursor, (hint, "dim")]
        self._lines = [line]
        return super().line_at(y)

    def on_blur(self) -> None:
        self.can_focus = False
        self.refresh()

    def on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            self._accept()
        elif event.key == "escape":
            self.clear()
        elif event.key == "backspace":
            self._change(self.value[:-1])
        elif event.key == "ctrl+u":
            self._change("")
        elif event.is_printable and event.character:
            self._change(self.value + event.character)
        else:
            return
        event.stop()
        event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        self._change(self.value + " ".join(event.text.split()))
        event.stop()

    def _accept(self) -> None:
        if not self.value:
            self.clear()
        elif self._back_to:
            self._back_to.focus()
        self.post_message(self.Done())

    def _change(self, text: str) -> None:
        if text != self.value:
            self.value = text
            self.post_message(self.Changed(text))
        self.refresh()
