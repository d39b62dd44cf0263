"""What the Run screen shows of a training: its newest figures, and rows as the model sees them."""

from __future__ import annotations

from collections.abc import Hashable

from rich.cells import cell_len

from gpusess.analysis.text import clean
from gpusess.analysis.training_state import Shown, TrainState
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line
from gpusess.tui.widgets.pane import Pane

FIGURES = {
    "loss": "loss",
    "reward": "reward",
    "kl": "KL",
    "ratio": "ratio",
    "entropy": "entropy",
    "grad_norm": "grad norm",
    "lr": "lr",
    "tokens_per_second": "tok/s",
}
_LABEL = 12


def training_lines(train: TrainState) -> list[Line]:
    """The newest figures, those that the method has; a collapse before them."""
    lines: list[Line] = []
    if train.collapses:
        last = train.collapses[-1]
        lines += [[("▲ COLLAPSE  ", "err"), (f"{clean(last.rule)}, step {last.step}: {last.action}", "err")]]
    for name, label in FIGURES.items():
        if train.figures.get(name):
            value = train.latest(name)
            text = ("not finite", "err") if value is None else (f"{value:.4g}", "")
            lines.append([(f"{label:<{_LABEL}}", "dim"), text])
    if train.best is not None:
        best = f"{train.best.right} of {train.best.samples} at step {train.best.step}"
        lines.append([(f"{'best':<{_LABEL}}", "dim"), (best, "")])
    if train.checkpoints:
        lines.append([(f"{'saved':<{_LABEL}}", "dim"), (clean(train.checkpoints[-1].name), "")])
    return lines


def shown_lines(shown: list[Shown], width: int) -> list[Line]:
    """Rows as the model sees them: what counts for the loss is bright, the rest is dim."""
    lines: list[Line] = []
    for row in shown:
        counted = sum(counts for _, counts in row.pieces)
        lines.append([(clean(row.row), "bold"), (f"  {counted} of {len(row.pieces)} tokens count", "dim")])
        lines += _flow(row, width)
    return lines


class SampleRows(Pane):
    """The rows token by token; takes no room where there are none."""

    def on_mount(self) -> None:
        self.entitle("As the model sees it: what counts for the loss is coloured")

    def show(self, scene: Scene) -> None:
        train = scene.run.state.train if scene.run else None
        self.set_class(not (train and train.shown), "-none")
        super().show(scene)

    def key(self, scene: Scene) -> Hashable:
        train = scene.run.state.train if scene.run else None
        return (scene.run.row.id, len(train.shown)) if scene.run and train else None

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        train = scene.run.state.train if scene.run else None
        return shown_lines(train.shown, width)[:height] if train else []


def _flow(row: Shown, width: int) -> list[Line]:
    """The tokens one after the other, over as many lines as it takes."""
    lines: list[Line] = [[]]
    cells = 0
    for piece, counts in [*row.pieces, *([("…", False)] if row.truncated else [])]:
        text = _visible(piece)
        if lines[-1] and cells + cell_len(text) > width:
            lines.append([])
            cells = 0
        lines[-1].append((text, "ok" if counts else "dim"))
        cells += cell_len(text)
        if "\n" in piece:
            lines.append([])
            cells = 0
    return [line for line in lines if line]


def _visible(text: str) -> str:
    """A line end is drawn, and not obeyed."""
    return clean(text.replace("\n", "⏎"))
