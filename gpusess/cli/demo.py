"""`gpusess demo`: the whole way on this machine, with nothing but this installation."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("demo")
@click.option("--headless", is_flag=True, help="Progress lines on stderr, a summary on stdout.")
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object (implies --headless).")
@click.option(
    "--limit", type=click.IntRange(1, 300), default=96, show_default=True, help="How many problems."
)
@click.option(
    "--price",
    type=click.FloatRange(0),
    default=0.0,
    help="Rehearse with a pretended price in $/h; this machine costs nothing.",
)
@click.option("--keep", is_flag=True, help="Keep the instance when the run is done.")
def command(headless: bool, as_json: bool, limit: int, price: float, keep: bool) -> int:
    """Rent an instance (on this machine), evaluate a small chat model there, watch, and give it back.

    The first time, a model of about 270 MB is fetched.
    """
    from gpusess import paths
    from gpusess.cli.up import run_session
    from gpusess.spec import parse_spec

    folder = paths.private_dir(paths.home()) / "demo"
    folder.mkdir(exist_ok=True)
    path = folder / "demo.yaml"
    path.write_text(_spec(limit, price, keep), encoding="utf-8")
    spec = parse_spec(path.read_text(encoding="utf-8"), str(path), folder)
    return run_session(spec, path, headless=headless or as_json, as_json=as_json)


def _spec(limit: int, price: float, keep: bool) -> str:
    template = Path(__file__).with_name("demo.yaml").read_text(encoding="utf-8")
    return (
        template.replace("price: 0.0", f"price: {price!r}")
        .replace("limit: 96", f"limit: {limit}")
        .replace("after: terminate", f"after: {'keep' if keep else 'terminate'}")
    )
