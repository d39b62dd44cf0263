"""The one table of keys. Bindings, the footer, the help screen and the command palette are all made from
it, and a user's remapping (action id → keys) changes it in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from textual.binding import Binding, BindingType

SECTIONS = {
    "app": "Everywhere",
    "list": "In lists",
    "fleet": "Fleet",
    "session": "Session",
    "run": "Run",
    "train": "Train",
    "compare": "Compare",
    "results": "Results",
    "logs": "Logs",
    "gpu": "GPU",
    "cost": "Cost",
    "wizard": "New session",
    "replay": "Replay (gpusess replay)",
}
"""Contexts that the help screen shows, with their titles. `app` holds on every screen."""


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that a key does."""

    id: str
    keys: str
    """Comma-separated, as Textual writes them; the first one is shown."""
    label: str
    """For the footer: a word or two."""
    description: str
    where: str
    """A context of SECTIONS, or the name of a dialog."""
    action: str
    """A Textual action with its namespace."""
    footer: int = 0
    """Place in the footer, lowest first; 0: not shown there."""
    destructive: bool = False


TABLE: tuple[Key, ...] = (
    Key("screen.fleet", "1", "Fleet", "All sessions", "app", "app.open('fleet')"),
    Key("screen.session", "2", "Session", "One session, whole", "app", "app.open('session')"),
    Key("screen.run", "3", "Run", "The session's run", "app", "app.open('run')"),
    Key("screen.train", "4", "Train", "The training's charts", "app", "app.open('train')"),
    Key("screen.results", "5", "Results", "Every result of the run", "app", "app.open('results')"),
    Key("screen.logs", "6", "Logs", "The session's logs", "app", "app.open('logs')"),
    Key("screen.gpu", "7", "GPU", "The session's GPUs", "app", "app.open('gpu')"),
    Key("screen.cost", "8", "Cost", "What is spent, and on what", "app", "app.open('cost')"),
    Key("screen.compare", "c", "Compare", "Marked runs, side by side", "app", "app.open('compare')"),
    Key("session.next", "right_square_bracket", "Next session", "Next session", "app", "app.session(1)"),
    Key(
        "session.previous",
        "left_square_bracket",
        "Previous session",
        "Previous session",
        "app",
        "app.session(-1)",
    ),
    Key("session.alarm", "exclamation_mark", "Alarm", "To what needs you", "app", "app.alarm"),
    Key("pane.next", "tab", "Next pane", "Next pane (zooms it too)", "app", "app.pane(1)"),
    Key("pane.previous", "shift+tab", "Previous pane", "Previous pane", "app", "app.pane(-1)"),
    Key("pane.zoom", "z", "Zoom", "One pane alone, and back", "app", "app.zoom", 6),
    Key(
        "session.terminate",
        "x",
        "Terminate…",
        "Terminate or stop (asks)",
        "app",
        "app.terminate",
        3,
        destructive=True,
    ),
    Key(
        "session.resume",
        "r",
        "Resume",
        "Drive it on (cut off)",
        "app",
        "app.resume",
        2,
    ),
    Key("session.shell", "s", "Shell", "A shell on the instance", "app", "app.shell", 4),
    Key("copy", "y", "Copy", "Copy ssh line or pane", "app", "app.copy", 7),
    Key("freeze", "F", "Freeze", "Freeze the display", "app", "app.freeze"),
    Key("theme", "T", "Theme", "Dark, light, terminal's", "app", "app.next_theme"),
    Key("back", "escape", "Back", "Back; clears a filter", "app", "app.back"),
    Key("palette", "colon,ctrl+p", "Commands", "Find a command", "app", "app.command_palette", 8),
    Key("help", "question_mark,f1", "Help", "These keys", "app", "app.help", 9),
    Key("quit", "q,ctrl+q", "Quit", "Leave; sessions go on", "app", "app.leave", 10),
    Key("list.down", "j,down", "Down", "One row down", "list", "focused.move(1)"),
    Key("list.up", "k,up", "Up", "One row up", "list", "focused.move(-1)"),
    Key("list.page_down", "ctrl+d,pagedown", "Page down", "Half a page down", "list", "focused.page(1)"),
    Key("list.page_up", "ctrl+u,pageup", "Page up", "Half a page up", "list", "focused.page(-1)"),
    Key("list.top", "g,home", "Top", "To the top", "list", "focused.top"),
    Key("list.end", "G,end", "End", "To the end; logs follow", "list", "focused.bottom"),
    Key("fleet.open", "enter", "Open", "The run of this session", "fleet", "screen.open_row", 1),
    Key("fleet.mark", "space", "Mark", "Mark: to copy, to compare", "fleet", "screen.mark"),
    Key(
        "fleet.filter",
        "slash",
        "Filter",
        "Filter; !word: without",
        "fleet",
        "screen.filter",
        5,
    ),
    Key("fleet.launch", "n", "New…", "Launch a session (asks)", "fleet", "app.launch", 2),
    Key("fleet.unknown", "u", "Unknown…", "What to do with an unknown one", "fleet", "app.stranger", 3),
    Key("run.band", "b", "Band", "The 95% band on or off", "run", "screen.band", 5),
    Key("compare.base", "o", "Base", "The next run is the base", "compare", "screen.base", 1),
    Key("train.steer", "a", "Act…", "Pause, roll back… (asks)", "train", "screen.steer", 1),
    Key("train.more", "n", "More", "The next figures", "train", "screen.more", 2),
    Key("train.smooth", "m", "Smooth", "Smoothed curves or raw", "train", "screen.smooth", 5),
    Key("results.open", "enter", "Open", "The result in full", "results", "screen.open_row", 1),
    Key("results.filter", "slash", "Filter", "Filter: wrong tok>400 !skip …", "results", "screen.filter", 2),
    Key("results.all", "a", "All", "Of every verdict", "results", "screen.chip('')"),
    Key("results.right", "o", "Right", "The right ones (ok)", "results", "screen.chip('right')"),
    Key("results.wrong", "w", "Wrong", "The wrong ones", "results", "screen.chip('wrong')", 3),
    Key("results.none", "n", "No answer", "Those without an answer", "results", "screen.chip('no-answer')"),
    Key(
        "results.other", "d", "Other run…", "Another run beside; again: without", "results", "screen.other", 4
    ),
    Key("results.run", "v", "Run…", "Which run is shown", "results", "screen.run"),
    Key("results.flips", "f", "Flips", "Flips, lost, gained, all", "results", "screen.flips", 5),
    Key("results.export", "e", "Export…", "The shown ones into a file", "results", "screen.export", 6),
    Key("results.next", "J", "Next", "Next result, from anywhere", "results", "screen.step(1)"),
    Key("results.previous", "K", "Previous", "Previous result", "results", "screen.step(-1)"),
    Key("logs.find", "slash", "Find", "Find text", "logs", "screen.filter", 1),
    Key("logs.next", "n", "Next match", "Next match", "logs", "screen.match(1)"),
    Key("logs.previous", "N", "Previous match", "Previous match", "logs", "screen.match(-1)"),
    Key("logs.level", "l", "Level", "Lowest level shown", "logs", "screen.level", 2),
    Key("logs.source", "o", "Source", "One source, or all", "logs", "screen.source", 3),
    Key("gpu.grid", "v", "Grid", "All next to each other, or one", "gpu", "screen.grid", 5),
    Key("cost.open", "enter", "Open", "The session of this row", "cost", "screen.open_row", 1),
    Key("cost.by", "v", "By…", "By session, provider, day…", "cost", "screen.by", 2),
    Key("cost.period", "p", "Period", "All, today, 7 or 30 days", "cost", "screen.period", 3),
    Key("cost.ask", "u", "Ask", "Ask what bills beside", "cost", "screen.ask", 4),
    Key("wizard.next", "enter", "Next", "Take it; launch at the end", "wizard", "screen.next", 1),
    Key("wizard.less", "left,h", "Less", "A lower limit", "wizard", "screen.adjust(-1)"),
    Key("wizard.more", "right,l", "Change", "A higher limit", "wizard", "screen.adjust(1)", 2),
    Key("wizard.every", "a", "All", "Offers that do not fit too", "wizard", "screen.every", 3),
    Key("wizard.ask", "u", "Ask again", "Ask the providers again", "wizard", "screen.ask", 4),
    Key("wizard.filter", "slash", "Filter", "Filter; !word: without", "wizard", "screen.filter", 5),
    Key("replay.pause", "p", "Pause", "Stand still, or go on", "replay", "app.replay_pause", 1),
    Key("replay.faster", "plus,equals_sign", "Faster", "Faster", "replay", "app.replay_speed(1)", 1),
    Key("replay.slower", "minus", "Slower", "Slower", "replay", "app.replay_speed(-1)", 1),
    Key("replay.back", "comma", "Back", "A twentieth back", "replay", "app.replay_jump(-1)", 1),
    Key("replay.on", "full_stop", "On", "A twentieth on", "replay", "app.replay_jump(1)", 1),
    Key("replay.skip", "e", "Skip", "To the next record", "replay", "app.replay_skip", 1),
    Key("terminate.pull", "p", "Pull, then terminate", "", "terminate", "choose('pull')", destructive=True),
    Key("terminate.now", "y", "Terminate now", "", "terminate", "choose('now')", destructive=True),
    Key("terminate.stop", "s", "Only stop the run", "", "terminate", "choose('stop')", destructive=True),
    Key("terminate.no", "n,escape", "No", "", "terminate", "choose('no')"),
    Key("stranger.adopt", "a", "Adopt", "", "stranger", "choose('adopt')"),
    Key("stranger.terminate", "y", "Terminate", "", "stranger", "choose('terminate')", destructive=True),
    Key("stranger.ignore", "i", "Ignore", "", "stranger", "choose('ignore')"),
    Key("stranger.no", "n,escape", "No", "", "stranger", "choose('no')"),
    Key("steer.ignore", "i", "Ignore alarms", "", "steer", "choose('ignore')"),
    Key("steer.pause", "p", "Pause", "", "steer", "choose('pause')", destructive=True),
    Key("steer.rollback", "b", "Roll back", "", "steer", "choose('rollback')", destructive=True),
    Key("steer.stop", "s", "Stop", "", "steer", "choose('stop')", destructive=True),
    Key("steer.no", "n,escape", "No", "", "steer", "choose('no')"),
    Key("quit.stay", "n,escape", "Stay", "", "quit", "choose('stay')"),
    Key("quit.leave", "y,q,ctrl+q", "Leave", "", "quit", "choose('leave')"),
)

_SHOWN = {
    "plus": "+",
    "minus": "-",
    "comma": ",",
    "full_stop": ".",
    "equals_sign": "=",
    "right_square_bracket": "]",
    "left_square_bracket": "[",
    "question_mark": "?",
    "exclamation_mark": "!",
    "slash": "/",
    "colon": ":",
    "escape": "esc",
    "left": "←",
    "right": "→",
    "enter": "⏎",
    "pagedown": "pgdn",
    "pageup": "pgup",
}


class Keys:
    """The table with a user's remapping applied."""

    def __init__(self, remapped: Mapping[str, str] | None = None) -> None:
        self.keymap = {k: v for k, v in (remapped or {}).items() if any(key.id == k for key in TABLE)}
        self.table = tuple(replace(key, keys=self.keymap.get(key.id, key.keys)) for key in TABLE)
        self.unknown = sorted(set(remapped or {}) - set(self.keymap))
        """Ids of the remapping that no action has."""

    @property
    def clashes(self) -> list[str]:
        """What a remapping lets mean two things in one place: `n: session.next, fleet.launch (Fleet)`."""
        found: dict[str, str] = {}
        for context in dict.fromkeys(key.where for key in self.table):
            place = SECTIONS.get(context, f"the dialog `{context}`")
            for name, ids in _meanings(self.of(*_beside(context))).items():
                if len(ids) > 1 and any(id in self.keymap for id in ids):
                    found.setdefault(f"{name}: {', '.join(ids)}", place)
        return [f"{what} ({place})" for what, place in found.items()]

    def of(self, *contexts: str) -> list[Key]:
        return [key for key in self.table if key.where in contexts]

    def footer(self, screen: str) -> list[Key]:
        """What the footer of a screen may show, in its order."""
        return sorted(
            (k for k in self.of("app", screen) if k.footer), key=lambda k: (k.footer, k.where == "app")
        )


def _beside(context: str) -> tuple[str, ...]:
    """The contexts whose keys hold where this one's do. Those of a replay stand in the place of others."""
    return (context, "app", "list") if context in SECTIONS and context != "replay" else (context,)


def _meanings(keys: list[Key]) -> dict[str, list[str]]:
    """Key, as a person would name it → the ids of its actions."""
    found: dict[str, list[str]] = {}
    for key in keys:
        for name in dict.fromkeys(shown(key.keys, every=True).split()):
            found.setdefault(name, []).append(key.id)
    return found


def bindings(context: str) -> list[BindingType]:
    """Textual's bindings of one context; `App.set_keymap` applies the remapping by id."""
    return [
        Binding(key.keys, key.action, key.label, id=key.id, show=False, tooltip=key.description)
        for key in TABLE
        if key.where == context
    ]


def shown(keys: str, every: bool = False) -> str:
    """A key, or every key, as a person would name it."""
    names = [_SHOWN.get(name.strip(), name.strip()) for name in keys.split(",")]
    return " ".join(names) if every else names[0]
