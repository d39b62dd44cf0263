"""The clouds' own commands and SDKs, unchanged: they show that a simulator is faithful. They live in an environment
of their own, since gpusess needs none of them: `GPUSESS_OTHER_CLIENTS` names its Python."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def client(name: str) -> str:
    """The command's path, beside that Python. Skips the test where it is not there."""
    python = os.environ.get("GPUSESS_OTHER_CLIENTS", "")
    path = Path(python).with_name(name) if python else None
    if path is None or not path.exists():
        pytest.skip(f"{name} is not installed beside the Python that GPUSESS_OTHER_CLIENTS names")
    return str(path)
