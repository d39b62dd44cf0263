"""What a spec says of its numbers: the expectation, the rerankers, and `force`."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpusess.errors import SpecError
from gpusess.spec import Spec, order_for, parse_spec

HEAD = """\
name: numbers
resources: {provider: local}
runs:
  - name: a
    model: org/name
    task: {name: gsm8k}
    generate: {candidates: 4, temperature: 0.7}
"""


def parse(lines: str) -> Spec:
    return parse_spec(HEAD + "".join(f"    {line}\n" for line in lines.splitlines()), "x.yaml", Path())


def said(lines: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse(lines)
    return str(caught.value)


def test_a_number_alone_is_the_expected_accuracy() -> None:
    expect = parse("expect: 0.60").runs[0].expect
    assert expect is not None
    assert (expect.value, expect.within, expect.pause) == (0.60, 0.0, False)
    whole = parse("expect: {baseline: cyan-owl/base, within: 0.02, pause: true}").runs[0].expect
    assert whole is not None
    assert (whole.baseline, whole.within, whole.pause) == ("cyan-owl/base", 0.02, True)
    assert parse("force: true").runs[0].expect is None


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("expect: 60", "runs[0].expect: found '60'; allowed: a share from 0 to 1, such as 0.60"),
        ("expect: {within: 0.1}", "runs[0].expect: found neither `value` nor `baseline`"),
        ("expect: {value: 0.5, baseline: a}", "runs[0].expect: found both `value` and `baseline`"),
        ("expect: {valu: 0.5}", "unknown key 'valu'; did you mean 'value'?"),
        ("rerank: [{name: m, by: model}]", "allowed: `by: model` together with `model`"),
        ("rerank: [logprob, logprob]", "found 'logprob' again; allowed: a name once"),
        ("rerank: [{name: x, by: magic}]", "found 'magic'; allowed: logprob, model, module"),
        ("force: maybe", "runs[0].force: found 'maybe'; allowed: true or false"),
    ],
)
def test_mistakes_are_named(lines: str, problem: str) -> None:
    assert problem in said(lines)


def test_one_answer_a_sample_has_nothing_to_rerank() -> None:
    text = HEAD.replace("    generate: {candidates: 4, temperature: 0.7}\n", "") + "    rerank: logprob\n"
    with pytest.raises(
        SpecError, match=r"given for one answer a sample; allowed: only with `generate\.candidates`"
    ):
        parse_spec(text, "x.yaml", Path())


def test_the_order_carries_them() -> None:
    spec = parse("rerank:\n  - logprob\n  - {name: energy, by: module, module: code/energy.py}\nforce: true")
    order = order_for(spec.runs[0], "r", model="org/name", model_id="org/name", data_path=None)
    assert [r.name for r in order.rerank] == ["logprob", "energy"]
    assert order.force
    assert order.expect is None
