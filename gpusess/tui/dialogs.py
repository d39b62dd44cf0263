"""Dialogs: what would happen, what it costs, and choices of which the harmless one has the focus."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from gpusess.sessions import spending
from gpusess.sessions.board import FleetView, SessionView
from gpusess.sessions.states import State
from gpusess.sessions.strangers import Stranger
from gpusess.tui import fmt, stakes, status
from gpusess.tui.keys import SECTIONS, Key, Keys, bindings, shown
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, fit, wrapped
from gpusess.tui.widgets.pane import Pane

_WIDTH = 64

Choice = tuple[str, str, str]
"""(key's id, label, ink)"""


class DialogPane(Pane):
    """The text and the row of choices."""

    TITLE_PAD: ClassVar[str] = ""

    def __init__(self, lines: list[Line]) -> None:
        super().__init__(id="dialog")
        self.content = lines

    def draw(self, _scene: Scene | None, _width: int, _height: int) -> list[Line]:
        return self.content

    def put(self, lines: list[Line]) -> None:
        self.content = lines
        self.styles.height = len(lines) + 4
        self.redraw()


Answer = TypeVar("Answer")


class Modal(ModalScreen[Answer], inherit_bindings=False):
    """What lies over a screen until it is answered."""

    def answer(self, found: Answer | None) -> None:
        """Answer and go, once: the key after this one may be here already."""
        if self.app.screen is self:
            self.dismiss(found)


class Dialog(Modal[str], inherit_bindings=False):
    """Answers with the last part of the chosen key's id. Arrows and tab move, enter takes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,shift+tab,h,up", "step(-1)", show=False),
        Binding("right,tab,l,down", "step(1)", show=False),
        Binding("enter", "take", show=False),
    ]

    def __init__(self, title: str, body: list[Line], choices: list[Choice], keys: Keys) -> None:
        super().__init__()
        self.chosen = 0
        self._title = title
        self._body = body
        self._choices = choices
        self._keys = {key.id: key for key in keys.table}
        self._pane = DialogPane([])

    def compose(self) -> ComposeResult:
        yield self._pane

    def on_mount(self) -> None:
        self._pane.entitle(self._title)
        self._draw()

    def action_step(self, step: int) -> None:
        self.chosen = (self.chosen + step) % len(self._choices)
        self._draw()

    def action_take(self) -> None:
        self.answer(self._choices[self.chosen][0].rpartition(".")[2])

    def action_choose(self, answer: str) -> None:
        if any(id.endswith(f".{answer}") for id, _, _ in self._choices):
            self.answer(answer)

    def _draw(self) -> None:
        lines = [*self._body, []]
        for i, (id, label, ink) in enumerate(self._choices):
            here = i == self.chosen
            key = shown(self._keys[id].keys)
            row: Line = [("▌ " if here else "  ", "data"), (f"{key:<4}", "data bold"), (label, ink or "")]
            lines.append([(t, f"{k} on-cursor".strip()) for t, k in fit(row, _WIDTH - 6)] if here else row)
        self._pane.put(lines)


class TerminateDialog(Dialog):
    BINDINGS: ClassVar[list[BindingType]] = bindings("terminate")


class StrangerDialog(Dialog):
    BINDINGS: ClassVar[list[BindingType]] = bindings("stranger")


class QuitDialog(Dialog):
    BINDINGS: ClassVar[list[BindingType]] = bindings("quit")


def terminate_dialog(
    session: SessionView, fleet: FleetView, keys: Keys, at_home: Collection[str] = ()
) -> TerminateDialog:
    """Names the session, its GPU, what would be lost, and what bills on. at_home: see stakes.at_stake."""
    row = session.row
    body: list[Line] = [[(row.name, "bold"), (f"   {status.gpu(session)} at {row.provider}", "")]]
    said = [stakes.bill(session), *stakes.at_stake(session, at_home), *stakes.bills_on(session, fleet)]
    for text, ink in said:
        body += wrapped(text, ink, _WIDTH - 6, 3)
    choices: list[Choice] = [("terminate.no", "No, leave it as it is", "bold")]
    run = session.run
    ending = row.state in (State.DRAINING, State.TERMINATING)
    if run and run.row.status == "running" and not ending:
        choices.append(("terminate.stop", "Stop the run only; the instance stays and bills", ""))
    if stakes.has_begun(session) and row.state is not State.TERMINATING:
        choices.append(("terminate.pull", "Pull what is not home, then terminate", ""))
        choices.append(("terminate.now", "Terminate now; what is not pulled is lost", "err"))
    else:
        again = "Ask for it again" if row.state is State.TERMINATING else "Terminate it"
        choices.append(("terminate.now", again, "err"))
    return TerminateDialog("Terminate?", body, choices, keys)


def quit_dialog(fleet: FleetView, keys: Keys) -> QuitDialog:
    """Leaving stops nothing: says what goes on billing."""
    billing = [s for s in fleet.sessions if s.bills]
    goes = ("bill" if fleet.burn else "go") if len(billing) != 1 else ("bills" if fleet.burn else "goes")
    cost = f"{fmt.money(fleet.burn)}/h" if fleet.burn else "at no cost"
    goes_on = f"{fmt.many(len(billing), 'session')} {goes} on, {cost}."
    body: list[Line] = [[(goes_on, "bold")], []]
    for session in billing[:6]:
        found = status.of(session)
        rate = f"{fmt.money(session.row.price)}/h"
        name = fit([(f"{found.glyph} ", found.ink), (session.row.name, "")], _WIDTH - 32)
        body.append([*name, *fit([(found.word, found.ink)], 14), *fit([(rate, "")], 12, "right")])
    if len(billing) > 6:
        body.append([(f"  and {len(billing) - 6} more", "dim")])
    if fleet.strangers:
        beside = sum(s.instance.price for s in fleet.strangers)
        many = fmt.many(len(fleet.strangers), "unknown instance")
        body.append([(f"▲ {many}, {fmt.money(beside)}/h beside that", "warn")])
    if fleet.burn:
        coming = spending.by_midnight(fleet)
        body += [[], [("today ", "dim"), (fmt.money(fleet.spent_today), ""), (", by midnight ", "dim")]]
        body[-1].append((fmt.money(coming), "bold"))
    if any(s.needs_driver for s in billing):
        body += [[], [("▲ a session that is cut off ends only when its lease does", "warn")]]
    choices: list[Choice] = [("quit.stay", "Stay", "bold"), ("quit.leave", "Leave; nothing is stopped", "")]
    return QuitDialog("Leave?", body, choices, keys)


def stranger_dialog(stranger: Stranger, keys: Keys) -> StrangerDialog:
    """Names the instance, why it is unknown, and what it bills."""
    instance = stranger.instance
    body: list[Line] = [
        [(instance.id, "bold"), (f"   {instance.type} at {stranger.provider}", "")],
        [(f"{instance.status}, {fmt.money(instance.price)}/h", "warn")],
        [],
        *wrapped(f"It {stranger.what}. Its name is {instance.name}.", "", _WIDTH - 6, 3),
    ]
    choices: list[Choice] = [
        ("stranger.no", "Leave it as it is", "bold"),
        ("stranger.adopt", "Adopt it: a session that counts and can be ended", ""),
        ("stranger.terminate", "Adopt it and terminate it; what is on it is lost", "err"),
        ("stranger.ignore", "Show it no more; it goes on billing", ""),
    ]
    return StrangerDialog("Unknown instance", body, choices, keys)


class HelpScreen(Modal[None], inherit_bindings=False):
    """All keys, made from the table, those of the screen `here` first. Where they need more than one page,
    arrows, space and tab turn it; any other key closes."""

    def __init__(self, keys: Keys, here: str) -> None:
        super().__init__()
        self._keys = keys
        self._here = here

    def compose(self) -> ComposeResult:
        yield HelpPane(self._keys, self._here)

    def on_key(self, event: events.Key) -> None:
        event.stop()  # or the key would act on the screen below as well
        pane = self.query_one(HelpPane)
        step = _TURNS.get(event.key)
        if step and pane.pages > 1:
            pane.turn(step)
        else:
            self.answer(None)


_TURNS = {
    **dict.fromkeys(("right", "down", "space", "tab", "pagedown", "j"), 1),
    **dict.fromkeys(("left", "up", "shift+tab", "pageup", "k"), -1),
}


class HelpPane(Pane):
    """Sections in as many columns as the width has, in as many pages as that needs."""

    TITLE_PAD: ClassVar[str] = ""

    def __init__(self, keys: Keys, here: str) -> None:
        super().__init__(id="help")
        self.pages = 1
        self._keys = keys
        self._here = here
        self._page = 0

    def turn(self, step: int) -> None:
        self._page = (self._page + step) % self.pages
        self.redraw()

    def draw(self, _scene: Scene, width: int, height: int) -> list[Line]:
        pages = help_pages(self._keys, width, height, self._here)
        self.pages = max(1, len(pages))
        self._page = min(self._page, self.pages - 1)
        many = f"  {self._page + 1} of {self.pages}" if self.pages > 1 else ""
        self.entitle(f"Keys{many}")
        self.border_subtitle = "space turns, another key closes" if self.pages > 1 else "any key closes"
        return pages[self._page] if pages else []


def help_pages(keys: Keys, cells: int, height: int, here: str) -> list[list[Line]]:
    """Every section, cut into columns of `height` lines and these into pages."""
    if height < 2:
        return []
    first = [context for context in ("app", here, "list") if context in SECTIONS]
    order = [*first, *(context for context in SECTIONS if context not in first)]
    columns: list[list[Line]] = [[]]
    blank: list[Line] = [[]]
    count = max(1, cells // 34)
    every = cells // count > 44
    for context in order:
        if not keys.of(context):
            continue
        section = _section(SECTIONS[context], keys.of(context), every)
        # A section that would be cut begins a new column, if it fits into one.
        if columns[-1] and len(columns[-1]) + 1 + len(section) > height >= len(section):
            columns.append([])
        for line in [*(blank if columns[-1] else []), *section]:
            if len(columns[-1]) >= height:
                columns.append([])
            columns[-1].append(line)
    wide = cells // count
    return [_beside(columns[i : i + count], wide) for i in range(0, len(columns), count)]


def _beside(columns: list[list[Line]], cells: int) -> list[Line]:
    rows = max(len(column) for column in columns)
    lines: list[Line] = []
    for y in range(rows):
        line: Line = []
        for column in columns:
            line += [*fit(column[y] if y < len(column) else [], cells - 1), (" ", "")]
        lines.append(line)
    return lines


def _section(title: str, keys: list[Key], every: bool) -> list[Line]:
    lines: list[Line] = [[(title, "bold")]]
    for key in keys:
        ink = "warn" if key.destructive else ""
        name = fit([(shown(key.keys, every), "data bold")], 13 if every else 10)
        lines.append([*name, (key.description or key.label, ink)])
    return lines
