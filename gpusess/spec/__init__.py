"""The YAML spec: what a session rents and what its runs do.

`load_spec` reads a file, `parse_spec` a text; both raise one `SpecError` that lists everything that is
wrong, a line each. Nothing here rents, sends or runs.
"""

from __future__ import annotations

from gpusess.spec.loading import load_spec, parse_spec
from gpusess.spec.models import Push, Resources, RunEntry, Setup, Spec, Sync, order_for

__all__ = [
    "Push",
    "Resources",
    "RunEntry",
    "Setup",
    "Spec",
    "Sync",
    "load_spec",
    "order_for",
    "parse_spec",
]
