"""`gpusess regrade`: grade a run's recorded answers again, without a GPU, and see which verdicts flip."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpusess.cli.complete import session_names

if TYPE_CHECKING:
    from gpusess.analysis.regrade import Flip, Regraded


@click.command("regrade")
@click.argument("run", shell_complete=session_names)
@click.option(
    "--extractor", "extractors", multiple=True, help="Read with this rule; may be given several times."
)
@click.option("--headline", help="The rule that decides; the others follow in their order.")
@click.option("--flips", "shown", default=20, show_default=True, help="How many flipped verdicts to print.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(run: str, extractors: tuple[str, ...], headline: str | None, shown: int, as_json: bool) -> int:
    """Grade the answers of RUN (SESSION, SESSION/RUN or a folder) again.

    Without options: with the same rules, by the grader of this version. The journal is not changed; the new
    verdicts are written beside it.
    """
    from gpusess.analysis.regrade import regrade, task_spec
    from gpusess.errors import SessionError
    from gpusess.sessions.answers import read_results
    from gpusess.sessions.find_runs import find_run
    from gpusess.sessions.start import open_store

    place = find_run(open_store(), run)
    planned, results = read_results(place)
    try:
        spec = task_spec(planned, list(extractors), headline)
        found, rows = regrade(results, spec)
    except (ValueError, KeyError) as exc:
        reason = str(exc).splitlines()[0]
        raise SessionError(f"{place.label} cannot be graded again: {reason}") from exc
    if not found.total:
        raise SessionError(f"{place.label} has no results to grade", "`gpusess status` shows how far it is")
    rules = spec.extractors
    target = write_rows(place.folder, rows, {"run": place.label, "rules": rules, "of": planned["headline"]})
    if as_json:
        click.echo(json.dumps(facts(found, rules, target)))
    else:
        for line in lines(found, planned["headline"], rules, target, shown):
            click.echo(line)
    return 0


def write_rows(folder: Path, rows: list[Any], head: dict[str, Any]) -> Path:
    """A JSONL file beside the mirror: what was graded, then one row a result."""
    from gpusess import __version__

    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = folder / f"regraded-{stamp}.jsonl"
    number = 1
    while target.exists():  # a second one within the same second
        number += 1
        target = folder / f"regraded-{stamp}-{number}.jsonl"
    head = {"kind": "regraded", "gpusess": __version__, "at": stamp, **head}
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in [head, *rows])
    target.write_text(text, encoding="utf-8", errors="backslashreplace")
    return target


def facts(found: Regraded, rules: list[str], target: Path) -> dict[str, Any]:
    """Plain values for --json."""
    paired = found.paired
    assert paired is not None
    return {
        "total": found.total,
        "rules": rules,
        "before": paired.first,
        "now": paired.second,
        "flipped": len(found.flips),
        "gained": paired.gained,
        "lost": paired.lost,
        "reread": found.reread,
        "other_rule": found.other_rule,
        "disagree": found.disagree,
        "moves": [{"before": old, "now": new, "results": n} for (old, new), n in found.moves.most_common()],
        "flips": [
            {"sample": f.sample, "candidate": f.candidate, "gold": f.gold, "why": f.why} for f in found.flips
        ],
        "file": str(target),
    }


def lines(found: Regraded, before: str, rules: list[str], target: Path, shown: int) -> list[str]:
    from gpusess.analysis.intervals import wilson

    paired = found.paired
    assert paired is not None
    said = []
    for name, share, rule in (("before", paired.first, before), ("now", paired.second, ", ".join(rules))):
        low, high = wilson(round(share * found.total), found.total)
        said.append(f"{name:<9} {100 * share:.1f} % (95% Wilson {100 * low:.1f} - {100 * high:.1f})  {rule}")
    flipped = f"{len(found.flips):,} verdict{'' if len(found.flips) == 1 else 's'} flipped"
    alike = f", {found.other_rule:,} read alike by another rule" if found.other_rule else ""
    said.append(f"results   {found.total:,}: {flipped}, {found.reread:,} read otherwise{alike}")
    said.append(f"disagree  {100 * found.disagree / found.total:.1f} % are read otherwise by another rule")
    said += [f"flips     {count:,} from {old} to {new}" for (old, new), count in found.moves.most_common()]
    said += flip_lines(found.flips[:shown])
    if len(found.flips) > shown:
        said.append(f"          … and {len(found.flips) - shown:,} more (--flips {len(found.flips)})")
    return [*said, f"file      {target}"]


def flip_lines(flips: list[Flip]) -> list[str]:
    """Sample, verdicts, the right answer, and why."""
    from gpusess.analysis.text import clean
    from gpusess.cli.comparison_text import table

    rows = [
        (
            f"  {clean(flip.sample, 40)}",
            f"{flip.before.verdict} → {flip.after.verdict}",
            f"right is {clean(flip.gold, 24)}",
            clean(flip.why, 120),
        )
        for flip in flips
    ]
    return table(rows) if rows else []
