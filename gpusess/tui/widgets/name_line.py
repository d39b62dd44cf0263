"""One line for the name of a file that is about to be written."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from gpusess.tui.widgets.filter_line import FilterLine


class NameLine(FilterLine):
    """Hidden until `ask`; enter takes the name, esc takes it back."""

    @dataclass
    class Named(Message):
        """Write to this file."""

        name: str

    def ask(self, proposal: str) -> None:
        self.value = proposal
        self.open()
        self.refresh()

    def close(self) -> None:
        """Hide again: the name was good."""
        self.clear()

    def _accept(self) -> None:
        if self.value.strip():
            self.post_message(self.Named(self.value.strip()))

    def _change(self, text: str) -> None:
        self.value = text
        self.refresh()
