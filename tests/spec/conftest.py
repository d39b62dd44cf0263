from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gpusess.errors import SpecError
from gpusess.spec import parse_spec

GOOD = """\
name: math-eval
resources:
  provider: local
  gpu: "H100:2"
  max_price: 4.5
  budget: 20
  max_hours: 6
  lease: 1h30m
sync:
  code: code
  push:
    - from: weights
      to: models/w
setup:
  requirements: [numpy]
env:
  LEVEL: "3"
secrets: [HF_TOKEN]
runs:
  - name: base
    model: org/model
    task:
      name: gsm8k
      path: data.jsonl
      limit: 5
    engine:
      name: recorded
      path: data.jsonl
      batch_size: 8
    generate:
      temperature: 0.7
  - name: tuned
    model: ./weights
    task: {name: gsm8k}
after: keep
"""

Lines = Callable[..., list[str]]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with everything that GOOD names."""
    (tmp_path / "code").mkdir()
    (tmp_path / "weights").mkdir()
    (tmp_path / "data.jsonl").write_text("{}\n")
    return tmp_path


@pytest.fixture
def lines(base: Path) -> Lines:
    """What parse_spec says of a text, a problem each."""

    def refuse(text: str, *, files: bool = True) -> list[str]:
        with pytest.raises(SpecError) as caught:
            parse_spec(text, "x.yaml", base, files=files)
        return caught.value.message.split("\n")

    return refuse
