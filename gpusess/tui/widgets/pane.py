"""The base of all panes: it asks a pure function for its lines, and sends only those rows to the terminal
that have changed.
"""

from __future__ import annotations

from collections.abc import Hashable

from textual.geometry import Region

from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, difference, plain
from gpusess.tui.widgets.inked import Inked


class Pane(Inked, can_focus=True):
    """A titled area with lines. Subclasses say what they show (`key`) and how (`draw`)."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Line] = []
        self._shown: Hashable = None
        self._scene: Scene | None = None
        self.redrawn = 0
        """Rows that were sent to the terminal: what tests count."""

    @property
    def text(self) -> str:
        """What the pane says, as plain text."""
        return "\n".join(plain(line).rstrip() for line in self._lines).rstrip()

    @property
    def strips_kept(self) -> int:
        return 2 * len(self._lines) + 2  # what it said before is seldom said again

    def key(self, scene: Scene) -> Hashable:
        """Two scenes with equal keys look the same. Default: redraw once a second and on every change."""
        session = scene.session.row.id if scene.session else None
        return scene.fleet.version, scene.second, session

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        """The lines for a content area of that size."""
        raise NotImplementedError

    def show(self, scene: Scene) -> None:
        """Take a new scene; costs next to nothing where nothing has changed."""
        self._scene = scene
        size = self.size if self.display else None
        if not size:
            return
        key = (self.key(scene), size)
        if key != self._shown:
            self._shown = key
            self._replace(self.draw(scene, *size))

    def redraw(self) -> None:
        """Draw again although the scene is the same (a setting of the pane has changed)."""
        self._shown = None
        if self._scene:
            self.show(self._scene)

    def forget(self) -> None:
        """Draw every row anew: the theme has changed."""
        self._lines = []
        self.redraw()
        self.refresh()

    def claim(self, rows: int) -> None:
        """Be so many rows high, the title not counted; a zoomed pane has the whole body."""
        self.styles.height = "1fr" if self.has_class("-kept") else rows

    def on_resize(self) -> None:
        self._scene = self._scene or self.cockpit.scene
        self.redraw()

    def line_at(self, y: int) -> tuple[Line, str]:
        return _at(self._lines, y) or [], ""

    def _replace(self, lines: list[Line]) -> None:
        old, self._lines = self._lines, lines
        rows = max(len(old), len(lines))
        changed = [y for y in range(rows) if _at(old, y) != _at(lines, y)]
        self.redrawn += len(changed)
        if changed:
            self.refresh(*(self._changed(old, lines, y) for y in changed))

    def _changed(self, old: list[Line], lines: list[Line], y: int) -> Region:
        """Of a row what looks different now."""
        x, wide = difference(_at(old, y) or [], _at(lines, y) or [], self.size.width)
        return Region(x, y, wide, 1)


def _at(lines: list[Line], y: int) -> Line | None:
    return lines[y] if y < len(lines) else None
