"""`gpusess compare`: runs side by side, with intervals, paired tests, and what differs beside the model."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gpusess.cli.complete import session_names

if TYPE_CHECKING:
    from gpusess.analysis.compare import Comparison


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, shell_complete=session_names)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(runs: tuple[str, ...], as_json: bool) -> int:
    """Hold the second and all further RUNS against the first.

    A run is SESSION, SESSION/RUN, or a folder with a journal; SESSION alone means all runs of it.
    """
    from gpusess.analysis.text import clean
    from gpusess.cli.comparison_text import comparison_lines

    found = compared(runs)
    if as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        for line in comparison_lines(found):
            click.echo(clean(line))
    return 0


def compared(names: tuple[str, ...]) -> Comparison:
    """Read the runs and compare them. Raises SessionError for fewer than two."""
    from gpusess.errors import SessionError
    from gpusess.sessions.comparing import compare_places
    from gpusess.sessions.find_runs import find_runs
    from gpusess.sessions.start import open_store

    store = open_store()
    places = [place for name in names for place in find_runs(store, name)]
    if len(places) < 2:
        raise SessionError(f"{places[0].label} is one run", "name at least two: `gpusess compare A B`")
    return compare_places(places)
