"""`gpusess offers`: what can be rented now, at all configured providers at once."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gpusess.providers.base import Offer
    from gpusess.sessions.offers import Answer

ROWS = 40


@click.command("offers")
@click.option("--gpu", multiple=True, metavar="MODEL[:COUNT]", help="Only this GPU (several times: these).")
@click.option("--count", type=click.IntRange(0), help="Only with that many GPUs; 0: without a GPU.")
@click.option("--vram", type=click.FloatRange(0), default=0.0, help="GiB of one GPU, at least.")
@click.option("--region", multiple=True, help="Only this region (several times: these).")
@click.option("--max-price", type=click.FloatRange(0, min_open=True), help="$/h for the whole instance.")
@click.option(
    "--spot",
    type=click.Choice(["no", "allow", "only"]),
    default="allow",
    show_default=True,
    help="Instances that may be taken away.",
)
@click.option("--available", is_flag=True, help="Only what can be had now.")
@click.option("--provider", "providers", multiple=True, help="Only this provider (several times: these).")
@click.option("--cached", is_flag=True, help="What was said last; nobody is asked.")
@click.option("--all", "everything", is_flag=True, help=f"All rows, not only the cheapest {ROWS}.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    gpu: tuple[str, ...],
    count: int | None,
    vram: float,
    region: tuple[str, ...],
    max_price: float | None,
    spot: str,
    available: bool,
    providers: tuple[str, ...],
    cached: bool,
    everything: bool,
    as_json: bool,
) -> int:
    """List what can be rented now and what it costs, cheapest first.

    All providers for which there is a key are asked at once. One that does not answer is shown with what it
    said last, and how long ago that was.
    """
    from gpusess.errors import AuthRefused
    from gpusess.sessions import choosing, offers

    wanted = choosing.Wanted(
        gpus=[_gpu(name) for name in gpu],
        count=count,
        vram=vram,
        regions=region,
        max_price=max_price,
        spot=spot,
        available=available,
    )
    names = _known(providers)
    answers = offers.last_answers(names) if cached else asyncio.run(offers.ask_all(names))
    if not answers:
        raise AuthRefused(*_NOBODY)
    now = time.time()
    if as_json:
        click.echo(json.dumps(offers.facts(answers, lambda o: choosing.fits(o, wanted), now)))
    else:
        found = [(o, a) for a in answers for o in a.offers if choosing.fits(o, wanted)]
        _table(found, now, everything)
        _ages(answers, now)
    return 0 if any(not a.error for a in answers) else 3


_NOBODY = (
    "no provider to ask: there is no key for any of them",
    "docs/providers/README.md says how to get one; `gpusess offers --provider local` shows this machine",
)


def _gpu(name: str) -> tuple[str, int | None]:
    model, _, count = name.partition(":")
    if count and not count.isdigit():
        raise click.BadParameter(f"'{name}': MODEL or MODEL:COUNT", param_hint="--gpu")
    return model, int(count) if count else None


def _known(names: tuple[str, ...]) -> tuple[str, ...] | None:
    from gpusess.providers import PROVIDERS

    for name in names:
        if name not in PROVIDERS:
            known = ", ".join(sorted(PROVIDERS))
            raise click.BadParameter(f"'{name}' is none of {known}", param_hint="--provider")
    return names or None


def _table(found: list[tuple[Offer, Answer]], now: float, everything: bool) -> None:
    from gpusess.analysis.text import clean

    found.sort(key=lambda pair: (not pair[0].available, pair[0].price, pair[0].provider, pair[0].name))
    if not found:
        click.echo("no offer fits")
        return
    rows = [("PROVIDER", "TYPE", "GPU", "VRAM", "REGION", "$/H", "NOW", "AS OF")]
    for offer, answer in found if everything else found[:ROWS]:
        rows.append(
            (
                offer.provider,
                clean(offer.name),
                clean(f"{offer.gpus}x {offer.gpu}" if offer.gpus else "-"),
                f"{offer.gpu_memory_gib:.0f}" if offer.gpu_memory_gib else "-",
                clean(offer.region),
                f"{offer.price:.2f}" + (" spot" if offer.spot else ""),
                "yes" if offer.available else "no",
                _age(now - answer.at),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if len(found) > ROWS and not everything:
        click.echo(f"… and {len(found) - ROWS} more (--all)")


def _ages(answers: list[Answer], now: float) -> None:
    """Who said it, when, and who did not answer."""
    from gpusess.analysis.text import clean

    for answer in answers:
        if not answer.error:
            continue
        kept = f"shown as of {_age(now - answer.at)}" if answer.at else "nothing is known of its offers"
        click.echo(f"{answer.provider}: {clean(answer.error)}; {kept}", err=True)
        if answer.hint:
            click.echo(f"  next: {clean(answer.hint)}", err=True)


def _age(seconds: float) -> str:
    if seconds < 10:
        return "now"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
