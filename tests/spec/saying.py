"""What loading a spec says of it."""

from __future__ import annotations

from pathlib import Path

from gpusess.errors import SpecError
from gpusess.spec import load_spec


def said_of(folder: Path, text: str) -> list[str]:
    """The problems of a spec with this text, without the file's name; empty: it has none."""
    path = folder / "x.yaml"
    path.write_text(text)
    try:
        load_spec(path)
    except SpecError as error:
        return [line.removeprefix(f"{path}:") for line in error.message.splitlines()]
    return []
