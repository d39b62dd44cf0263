"""What a spec says of an endpoint, and of engines' own settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpusess.errors import SpecError
from gpusess.spec import Spec, order_for, parse_spec

SPEC = """\
name: baseline
resources: {{provider: local}}
secrets: [MY_KEY]
runs:
  - name: a
    model: gpt-4o-mini
    task: {{name: gsm8k}}
    engine: {engine}
"""


def parse(engine: str) -> Spec:
    return parse_spec(SPEC.format(engine=engine), "x.yaml", Path())


def said(engine: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse(engine)
    return str(caught.value)


def test_an_endpoint_with_its_key_by_name() -> None:
    run = parse("{name: openai, base_url: 'https://h/v1', api_key: MY_KEY, price_in: 0.15}").runs[0]
    order = order_for(run, "r", model=run.model, model_id=run.model, data_path=None)
    assert (order.engine.api_key, order.engine.price_in, order.model) == ("MY_KEY", 0.15, "gpt-4o-mini")


def test_an_endpoint_needs_its_address() -> None:
    assert "runs[0].engine: the engine openai without `base_url`" in said("{name: openai}")


def test_what_may_be_the_key_itself_is_not_shown() -> None:
    text = said("{name: openai, base_url: 'https://h/v1', api_key: sk-live-4711}")
    assert "sk-live" not in text
    assert "12 characters that are not under `secrets`" in text


def test_the_batch_size_is_a_number_or_auto() -> None:
    assert parse("{batch_size: auto}").runs[0].engine.batch_size == "auto"
    for wrong in ("0", "many", "1.5", "true", '"16"'):
        assert "allowed: a whole number ≥ 1, or auto" in said(f"{{batch_size: {wrong}}}")
