"""What a user may set of the cockpit. Plain data: whoever reads the config file fills it in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ThemeName = Literal["auto", "dark", "light", "ansi"]

_LIGHT_BACKGROUNDS = {"7", "15"}


@dataclass(frozen=True, slots=True)
class TuiSettings:
    """How the cockpit looks and which keys it listens to."""

    theme: ThemeName = "auto"
    """`auto`: what the terminal says of its background (COLORFGBG), else dark; `ansi` with NO_COLOR."""
    ascii: bool = False
    """No braille, no box drawing, no symbols: for terminals and fonts that lack them."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Action id → key(s), comma-separated: replaces the key of the table in `keys.py`."""
    day_budget: float | None = None
    """US dollars a day that the status bar measures against. None: no limit is shown."""

    def theme_name(self, environ: Mapping[str, str] = os.environ) -> str:
        """The registered theme to begin with."""
        if self.theme != "auto":
            return f"gpusess-{self.theme}"
        if "NO_COLOR" in environ:
            return "gpusess-ansi"
        background = environ.get("COLORFGBG", "").rpartition(";")[2]
        return "gpusess-light" if background in _LIGHT_BACKGROUNDS else "gpusess-dark"
