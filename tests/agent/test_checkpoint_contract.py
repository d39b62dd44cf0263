"""The contract of a checkpoint, and the run that it stops: asked for one format, trained on another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agent import checkpoint_contract
from remote_agent.checkpoint_contract import FILE, Contract, ContractBroken, read, text_sha, write
from remote_agent.preflight import formats
from remote_agent.protocol import TaskSpec
from remote_agent.tasks.word_problems import WordProblems

from .conftest import Run

SPEC = TaskSpec(name="word_problems")
HASHES = ["7 + 2 = 9\n#### 9", "10 - 4 = 6\n#### 6"]
BOXED = ["7 + 2 = \\boxed{9}", "so \\boxed{6}"]


@given(st.lists(st.text(max_size=30), max_size=5), st.text(max_size=20), st.none() | st.text(max_size=20))
def test_a_contract_comes_back_as_it_was_written(answers: list[str], line: str, system: str | None) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        contract = Contract(line=line, answers=answers, system=system, markers=["<|x|>"])
        write(Path(folder), contract)
        assert read(Path(folder)) == contract
        assert [path.name for path in Path(folder).iterdir()] == [FILE]


def test_no_contract_is_none_and_a_broken_one_says_so(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    assert read(tmp_path / "model.safetensors") is None
    (tmp_path / FILE).write_text("{")
    with pytest.raises(ContractBroken, match=r"gpusess-contract\.json is no contract"):
        read(tmp_path)
    (tmp_path / FILE).write_text('{"v": 2, "of_a_later_version": true, "line": "#### {}"}')
    found = read(tmp_path)
    assert found is not None
    assert found.line == "#### {}"


def test_what_was_trained_is_what_is_asked_for() -> None:
    task = WordProblems()
    assert formats.trained_format(task, SPEC, [], Contract(line="#### {}", answers=HASHES)).status == "ok"


def test_boxed_trained_and_hashes_asked_is_one_clear_sentence() -> None:
    found = formats.trained_format(WordProblems(), SPEC, [], Contract(line="\\boxed{{}}", answers=BOXED))
    assert found.status == "fail"
    assert found.message.startswith("`#### N` is asked for, `\\boxed{N}` was trained")
    assert "force it (`force: true`)" in found.message


def test_trained_answers_that_the_rule_does_not_read() -> None:
    found = formats.trained_format(WordProblems(), SPEC, [], Contract(answers=BOXED))
    assert found.status == "fail"
    assert "the rule `hashes` reads 0 of 2 answers that the model was trained on" in found.message
    assert "most of them are read by `boxed`" in found.message


def test_a_forced_mismatch_is_a_warning_that_says_so() -> None:
    broken = formats.trained_format(WordProblems(), SPEC, [], Contract(answers=BOXED))
    forced = formats.unless_forced(broken, force=True)
    assert (forced.status, forced.forced) == ("warn", True)
    assert forced.message.startswith("Forced: the rule `hashes` reads 0 of 2")
    assert formats.unless_forced(broken, force=False) == broken


class Template:
    chat_template = "{{ messages }}"


def test_asked_in_plain_text_what_was_trained_through_a_template() -> None:
    trained = Contract(template_sha=text_sha(Template.chat_template))
    found = formats.trained_prompt(Template(), SPEC, trained, plain=True)
    assert found.status == "warn"
    assert "it is asked in plain text, without the chat template" in found.message
    assert formats.trained_prompt(Template(), SPEC, trained).status == "ok"


def test_another_template_or_system_prompt_than_in_training() -> None:
    same = Contract(template_sha=text_sha(Template.chat_template))
    assert formats.trained_prompt(Template(), SPEC, same).status == "ok"
    other = Contract(template_sha=text_sha("other"), system="Be brief.")
    found = formats.trained_prompt(Template(), SPEC, other)
    assert found.status == "warn"
    assert (
        "its chat template is another one and its system prompt was 'Be brief.', now it is None"
        in found.message
    )


@pytest.mark.parametrize("force", [False, True])
def test_a_run_stops_at_a_broken_format_or_records_that_it_was_forced(run: Run, force: bool) -> None:
    """The task's own prompt asks for `####`; the spec lets `boxed` decide."""
    run.order = run.order.model_copy(
        update={"task": run.order.task.model_copy(update={"extractors": ["boxed"]}), "force": force}
    )
    run.save()
    said = run.start()
    log = said.communicate(timeout=60)[1]
    (check,) = [c for c in run.records("check") if c["name"] == "answer format"]
    if not force:
        assert said.returncode == 3, log
        assert check["status"] == "fail"
        assert run.records("result") == []
        return
    assert said.returncode == 0, log
    assert (check["status"], check["forced"]) == ("warn", True)
    (planned,) = run.records("planned")
    assert planned["forced"] == [check["message"]]
    assert len(run.records("result")) == 8


def test_forced_numbers_are_marked_wherever_they_are_shown(run: Run) -> None:
    from gpusess.analysis.run_state import RunState, fold
    from gpusess.sessions.summary import accuracy_text

    run.order = run.order.model_copy(
        update={"task": run.order.task.model_copy(update={"extractors": ["boxed"]}), "force": True}
    )
    run.save()
    run.start().communicate(timeout=60)
    state = RunState()
    for record in run.records():
        fold(state, record)
    assert accuracy_text(state).endswith("FORCED")


def test_the_contract_is_read_beside_the_tokenizer(tmp_path: Path) -> None:
    from remote_agent import preflight
    from remote_agent.preflight import Prompts
    from remote_agent.tasks.base import Sample

    class Tokens:
        name_or_path = str(tmp_path)
        chat_template = "t"

        def __call__(self, text: str, **_: Any) -> dict[str, Any]:
            return {"input_ids": [1] if text == "<|x|>" else [1, 2]}

        def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
            return [str(i) for i in ids]

    rendered = Prompts([Sample("s", "q", "1")], ["q"], [1])
    task = WordProblems()
    assert list(preflight._trained(Tokens(), task, SPEC, rendered, False)) == []
    checkpoint_contract.write(tmp_path, Contract(line="#### {}", answers=HASHES, markers=["<|x|>", "<|y|>"]))
    found = {c.name: c.status for c in preflight._trained(Tokens(), task, SPEC, rendered, False)}
    assert found == {"trained markers": "fail", "trained format": "ok", "trained prompt": "ok"}
