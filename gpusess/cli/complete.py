"""Completion of arguments in the shell."""

from __future__ import annotations

import click


def session_names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of sessions that begin so, newest first."""
    from gpusess.sessions.start import open_store

    return [s.name for s in open_store().sessions() if s.name.startswith(incomplete)]
