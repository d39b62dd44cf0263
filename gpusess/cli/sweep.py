"""`gpusess sweep`: every checkpoint of a training on the same samples, the base model included."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpusess.cli.complete import session_names

if TYPE_CHECKING:
    from gpusess.sessions.find_runs import RunPlace
    from gpusess.sessions.store import SessionRow, Store
    from gpusess.sessions.sweep_start import Wanted


@click.command("sweep")
@click.argument("training", shell_complete=session_names)
@click.option(
    "--spec",
    type=click.Path(path_type=Path),
    help="For a folder of checkpoints: the spec whose training made them.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Samples (default: those of the training's task).")
@click.option("--base/--no-base", default=True, help="Evaluate the base model too (default: yes).")
@click.option("--headless", is_flag=True, help="Progress lines on stderr, the result on stdout.")
@click.option("--detach", is_flag=True, help="Start it and return at once.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object (implies --headless).")
def command(
    training: str,
    spec: Path | None,
    limit: int | None,
    base: bool,
    headless: bool,
    detach: bool,
    as_json: bool,
) -> int:
    """Evaluate every checkpoint of TRAINING, and print its accuracy over the steps.

    TRAINING is SESSION or SESSION/RUN, or a folder of checkpoints together with --spec. Of a session that has
    a sweep already, that one is printed; SESSION/RUN of a training always begins a new one.
    """
    from gpusess.cli.up import show, usable_provider
    from gpusess.sessions.start import open_store
    from gpusess.sessions.sweep_start import begin

    store = open_store()
    done = None if spec else _done(store, training)
    if done is not None:
        return print_sweep(done, as_json=as_json)
    wanted, row = _wanted(store, training, spec, limit, base)
    begun = begin(store, wanted, row, usable_provider)
    name = store.session(begun.session).name
    if begun.there_already:
        click.echo(f"{name} is alive: its run {begun.run} evaluates the checkpoints there", err=True)
    if detach:
        click.echo(f"{name}/{begun.run}")
        return 0
    status = show(store, begun.session, headless=headless or as_json, as_json=False, quiet=True)
    found = _done(store, f"{name}/{begun.run}")
    if found is None:
        return status or 1
    print_sweep(found, as_json=as_json)
    return status


def _wanted(
    store: Store, training: str, spec: Path | None, limit: int | None, base: bool
) -> tuple[Wanted, SessionRow | None]:
    from gpusess.errors import SessionError
    from gpusess.sessions.sweep_start import Wanted, training_of
    from gpusess.spec import load_spec
    from gpusess.spec.loading import read_text

    folder = Path(training).expanduser()
    if spec is None and folder.is_dir():
        raise SessionError(
            f"{training} is a folder: how it is evaluated is not known",
            "give the spec whose training made it: `gpusess sweep FOLDER --spec FILE`",
        )
    if spec is None:
        row, run = training_of(store, training)
        text, path = row.spec, Path(row.spec_path)
        return Wanted(text, path, run, f"{row.name}/{run}", limit, base), row
    if not folder.is_dir():
        raise SessionError(f"{training} is no folder", "without --spec a session is meant")
    runs = load_spec(spec).runs
    entry = next((run for run in runs if run.train), runs[0])
    return Wanted(read_text(spec), spec.resolve(), entry.name, str(folder.resolve()), limit, base), None


def _done(store: Store, name: str) -> RunPlace | None:
    """The sweep that a name means, if it is one."""
    from gpusess.errors import SessionError
    from gpusess.sessions.sweep_start import find_sweep

    try:
        return find_sweep(store, name)
    except SessionError as exc:
        if "several" in exc.message:
            raise
        return None


def print_sweep(place: RunPlace, *, as_json: bool) -> int:
    """The table and the chart of a sweep, or its facts; 0 where it is complete."""
    from gpusess.analysis.compare import Side
    from gpusess.analysis.sweep import facts, swept
    from gpusess.cli.sweep_text import sweep_lines
    from gpusess.sessions.answers import read_runs
    from gpusess.sessions.find_runs import arms_of
    from gpusess.sessions.mirror import RunMirror

    sides = [Side(run.state.arm or run.label, run.state, run.answers) for run in read_runs(arms_of(place))]
    mirror = RunMirror(place.folder)
    while mirror.refresh():
        pass
    state, found = mirror.state, swept(sides)
    assert state.sweep is not None
    complete = state.outcome == "complete"
    if as_json:
        said = {
            "run": place.label,
            "outcome": state.outcome,
            "message": state.message,
            "against": found.against,
            "points": [facts(point) for point in found.points],
            "passed_over": [passed._asdict() for passed in state.sweep.passed_over],
            "warnings": found.comparison.warnings,
            "results": str(place.folder),
        }
        click.echo(json.dumps(said))
        return 0 if complete else 1
    ascii_only = "utf" not in (sys.stdout.encoding or "").lower()
    width = shutil.get_terminal_size((80, 24)).columns
    for line in sweep_lines(found, state.sweep, width=width, ascii_only=ascii_only):
        click.echo(line)
    if not complete:
        click.echo(
            f"not complete: {state.done} of {state.total} results. `gpusess resume` goes on.", err=True
        )
    return 0 if complete else 1
