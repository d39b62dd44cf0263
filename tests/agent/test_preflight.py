"""The preflight finds the runs that would be invalid, and says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from remote_agent import models, worker
from remote_agent.engines.recorded import RecordedEngine
from remote_agent.preflight import Prompts, formats, host, sizes, tokens
from remote_agent.protocol import TaskSpec
from remote_agent.registry import ENGINE_NEEDS
from remote_agent.tasks.base import AnswerFormat, Sample
from remote_agent.tasks.word_problems import WordProblems

from .conftest import Run


class Tokens:
    """A tokenizer of words: known markers are single tokens, all else falls into characters."""

    def __init__(
        self, known: Sequence[str], begin: int | None = None, adds: bool = False, cue: str = "A:"
    ) -> None:
        self.known, self.bos_token_id, self.bos_token, self._adds, self._cue = known, begin, "<s>", adds, cue
        self.pad_token_id: int | None = 0
        self.pad_token = "<pad>"
        self.padding_side = "left"

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, Any]:
        ids = [self.known.index(text) + 100] if text in self.known else [ord(c) for c in text]
        return {"input_ids": [self.bos_token_id, *ids] if add_special_tokens and self._adds else ids}

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return [chr(i) for i in ids]

    def apply_chat_template(self, turns: Any, tokenize: bool, add_generation_prompt: bool) -> str:
        return f"U: {turns[0]['content']}\n" + (self._cue if add_generation_prompt else "")


def rendered(text: str, question: str = "q", length: int = 10) -> Prompts:
    return Prompts([Sample("s-1", question, "1")], [text], [length])


def test_markers_in_pieces_end_the_run_and_are_named() -> None:
    text = "<|user|>q<|end|>"
    assert tokens.markers(Tokens(["<|user|>", "<|end|>"]), rendered(text)).status == "ok"
    found = tokens.markers(Tokens(["<|user|>"]), rendered(text))
    assert found.status == "fail"
    assert "<|end|> is no token" in found.message
    assert "7 pieces (< | e n d | >)" in found.message
    assert tokens.markers(Tokens([]), rendered("[INST] q [/INST]")).status == "warn"
    assert tokens.markers(Tokens([]), rendered("what is <|x|>?", question="what is <|x|>?")).status == "warn"


def test_a_doubled_or_missing_begin_token() -> None:
    begin = ord("^")
    assert tokens.begin_token(Tokens([], begin), "^^U: q").status == "fail"
    assert tokens.begin_token(Tokens([], begin), "^U: q").status == "ok"
    assert tokens.begin_token(Tokens([], begin, adds=True), "U: q").status == "warn"
    assert tokens.begin_token(Tokens([], None), "U: q").status == "ok"


def test_a_template_without_a_cue() -> None:
    assert tokens.cue(Tokens([]), rendered("U: q\nA:")).status == "ok"
    assert tokens.cue(Tokens([], cue=""), rendered("U: q\n")).status == "warn"


def test_padding_vocabulary_and_context() -> None:
    right = Tokens([])
    right.padding_side = "right"
    assert tokens.padding(right).status == "fail"
    none = Tokens([])
    none.pad_token_id = None
    assert tokens.padding(none).status == "fail"
    assert tokens.vocabulary(101, 100).status == "fail"
    assert tokens.vocabulary(100, 128).status == "ok"
    assert sizes.context_window(rendered("q", length=90), 10, 100).status == "ok"
    long = sizes.context_window(rendered("q", length=91), 10, 100)
    assert long.status == "fail"
    assert "s-1 needs 101 tokens" in long.message


def test_memory_and_disk() -> None:
    gib = 1 << 30
    assert [sizes.memory(w * gib, 10 * gib).status for w in (1, 9, 11)] == ["ok", "warn", "fail"]
    assert sizes.memory(None, gib).status == "ok"
    assert [host.disk(f).status for f in (gib * 2, gib // 2, 1 << 20)] == ["ok", "warn", "fail"]


def test_few_samples_are_warned_of_with_the_band_to_expect() -> None:
    few = formats.sample_size(30)
    assert few.status == "warn"
    assert "±18 points" in few.message
    assert formats.sample_size(100).status == "ok"


def test_a_format_that_is_asked_for_but_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    format = AnswerFormat("End with ####", "#### {}", ("boxed",))
    monkeypatch.setattr(WordProblems, "asks_for", lambda *_: format)
    assert formats.answer_format(WordProblems(), TaskSpec(name="word_problems")).status == "fail"


def test_a_template_that_drops_the_question() -> None:
    task, spec = WordProblems(), TaskSpec(name="word_problems")
    asked = f"q {task.answer_format(spec).instruction}"
    assert sizes.asked(task, spec, rendered(asked)).status == "ok"
    dropped = sizes.asked(task, spec, rendered("U: hello", question="How many?"))
    assert dropped.status == "fail"
    assert "s-1 lacks 'How many?'" in dropped.message


def test_missing_packages_name_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINE_NEEDS, "transformers", ("no_such_package>=1",))
    found = host.packages("transformers")
    assert found.status == "fail"
    assert "pip install 'no_such_package>=1'" in found.message


def test_models_are_found_or_the_tries_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUSESS_CACHE", str(tmp_path))
    monkeypatch.setattr(models, "hub_within_reach", lambda: False)
    with pytest.raises(models.ModelUnavailable, match=r"Tried: the model hub: .*Next: sync a model folder"):
        models.resolve("org/name")
    with pytest.raises(models.ModelUnavailable, match="no model folder /nowhere/x"):
        models.resolve("/nowhere/x")
    folder = tmp_path / "models" / "org--name"
    folder.mkdir()
    with pytest.raises(models.ModelUnavailable, match=r"config\.json"):
        models.resolve("org/name")
    (folder / "config.json").write_text("{}")
    assert models.resolve("org/name") == folder
    assert models.resolve(str(folder)) == folder


def test_a_fetch_that_fails_leaves_nothing_that_passes_for_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUSESS_CACHE", str(tmp_path))

    def half(model: str, revision: str | None, folder: Path) -> dict[str, str]:
        (folder / "model.safetensors").write_text("half")
        raise models.ModelUnavailable("the link broke")

    monkeypatch.setattr(models, "_from_hub", half)
    with pytest.raises(models.ModelUnavailable, match="the link broke"):
        models.resolve("org/name")
    assert [p.name for p in (tmp_path / "models").iterdir()] == [".org--name.lock"]


@pytest.mark.parametrize(
    ("system", "fix"),
    [("Be brief.", "leave `task.system` out"), (None, "set `task.template: none`")],
)
def test_a_template_that_refuses_its_turns_ends_the_run_with_what_it_says(
    run: Run, monkeypatch: pytest.MonkeyPatch, system: str | None, fix: str
) -> None:
    def refuse(_engine: object, _messages: object) -> str:
        raise ValueError("System role not supported\nin template, line 3")

    monkeypatch.setattr(RecordedEngine, "render", refuse)
    run.order = run.order.model_copy(update={"task": run.order.task.model_copy(update={"system": system})})
    run.save()
    assert worker.main(run.folder) == worker.FINAL
    found = [c for c in run.records("check") if c["name"] == "chat template"][-1]
    assert found["status"] == "fail"
    assert "does not render: System role not supported. Next: " in found["message"]
    assert fix in found["message"]
    assert run.records("result") == []
