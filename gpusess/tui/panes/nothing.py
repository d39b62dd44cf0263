"""What stands where there is nothing to draw: why, and what leads on. Never an empty pane."""

from __future__ import annotations

from gpusess.sessions.board import SessionView
from gpusess.tui import hints
from gpusess.tui.panes.progress import waiting_lines
from gpusess.tui.spans import Line, wrapped


def no_session(cells: int) -> list[Line]:
    """There is no session at all."""
    launch, fleet = hints.key("fleet.launch"), hints.key("screen.fleet")
    new = f"{launch} in Fleet ({fleet}) launches one. " if hints.acts() else ""
    text = f"No session yet. {new}`gpusess demo` shows the whole way on this computer."
    return wrapped(text, "dim", cells, 4)


def no_results(session: SessionView | None, cells: int) -> list[Line]:
    """Why a run has no results so far, and where one sees more. How long that takes is said elsewhere."""
    if session is None:
        return no_session(cells)
    run = session.run
    if run is None:
        return [[("This session has no runs.", "dim")]]
    lines = waiting_lines(session, {}, cells)[1:]
    if session.kind == "starting":
        what = f"{run.row.name} begins when the instance is ready"
    elif session.kind == "failed":
        what = "No result: the session has failed"
    elif run.state.outcome or session.kind == "done" or run.row.status not in ("pending", "running"):
        what = f"The run ended without a result: {run.state.message or run.row.detail or run.row.status}"
    elif run.state.train:
        what = "No evaluation so far"
        return wrapped(f"{what} ({hints.listed(('screen.train', 'the curves'))}).", "dim", cells, 2)
    elif run.row.status == "pending":
        what = f"{run.row.name} waits for its turn"
    else:
        lines = [[(run.state.phase or "starting", "info"), (f"  {run.state.phase_detail}", "dim")]]
        what = "No result yet"
    where = hints.listed(("screen.session", "the way"), ("screen.logs", "the log"))
    return [*lines, *wrapped(f"{what} ({where}).", "dim", cells, 3)]
