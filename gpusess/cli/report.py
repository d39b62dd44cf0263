"""`gpusess report`: runs as Markdown and as one HTML page with plots."""

from __future__ import annotations

import time
from pathlib import Path

import click

from gpusess.cli.complete import session_names


@click.command("report")
@click.argument("runs", nargs=-1, required=True, shell_complete=session_names)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report"),
    show_default=True,
    help="FILE.md or FILE.html; another name gives both.",
)
@click.option("--title", help="The report's title.")
def command(runs: tuple[str, ...], output: Path, title: str | None) -> int:
    """Write a report on RUNS; the first is what the others are held against.

    A run is SESSION, SESSION/RUN, or a folder with a journal; SESSION alone means all runs of it.
    """
    from gpusess import __version__
    from gpusess.analysis.compare import Side
    from gpusess.analysis.report.building import report
    from gpusess.analysis.report.writing import html, markdown
    from gpusess.sessions.answers import read_runs
    from gpusess.sessions.find_runs import find_runs
    from gpusess.sessions.start import open_store

    store = open_store()
    places = list(dict.fromkeys(place for name in runs for place in find_runs(store, name)))
    sides = [Side(run.label, run.state, run.answers) for run in read_runs(places)]
    title = title or f"Report on {', '.join(place.label for place in places)}"
    made = f"Made {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())} by gpusess {__version__}."
    blocks = report(sides, title, made)
    for target in targets(output):
        text = markdown(blocks) if target.suffix == ".md" else html(title, blocks)
        target.write_text(text, encoding="utf-8", errors="backslashreplace")
        click.echo(str(target))
    return 0


def targets(output: Path) -> list[Path]:
    """The files to write: one where the name says which, else both."""
    if output.suffix in (".md", ".html"):
        return [output]
    return [output.with_name(output.name + ending) for ending in (".md", ".html")]
