"""Trainings with TRL on a model of hardly any weights: to the end, killed and resumed, refused, collapsed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from remote_agent import checkpoints
from remote_agent.manifest import MANIFEST
from tests.training.runs import kill_when, losses, of_kind, order_into, records, work

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, rows_file: Path) -> Path:
    """A training that nothing happened to. It is only looked at."""
    run = order_into(tmp_path_factory.mktemp("undisturbed") / "run", tiny_model, rows_file)
    assert work(run) == 0
    return run


def test_a_training_journals_its_steps_evaluations_and_checkpoints(undisturbed: Path) -> None:
    run = undisturbed
    assert list(losses(run)) == list(range(1, 9))
    assert [r["step"] for r in of_kind(run, "evaluated")] == [0, 4, 8]
    assert [r["step"] for r in of_kind(run, "saved")] == [3, 6, 8]
    assert checkpoints.whole(run)[-1].step == 8
    (planned,) = of_kind(run, "train_planned")
    assert planned["rows"] == 80
    assert 0 < planned["counted"] < planned["tokens"]
    assert planned["trainable"] == planned["parameters"]
    shown = of_kind(run, "seen")
    assert len(shown) == 3
    counted = "".join(text for text, counts in shown[0]["pieces"] if counts)
    assert counted.endswith("<|im_end|>")
    assert "####" in counted
    assert records(run)[-1]["kind"] == "finished"


@pytest.mark.parametrize("lora", [{"r": 4}, pytest.param(None, marks=pytest.mark.slow)], ids=["lora", "full"])
def test_killed_after_a_checkpoint_and_resumed_the_losses_are_the_same(
    tmp_path: Path, tiny_model: Path, rows_file: Path, lora: dict[str, int] | None
) -> None:
    settings = {"lora": lora, "eval_every": None}
    quiet = order_into(tmp_path / "quiet", tiny_model, rows_file, **settings)
    assert work(quiet) == 0
    killed = order_into(tmp_path / "killed", tiny_model, rows_file, **settings)
    kill_when(killed, lambda found: any(r["kind"] == "step" and r["step"] == 5 for r in found))
    assert work(killed) == 0
    assert of_kind(killed, "continued")[-1]["step"] == 3
    assert losses(killed) == pytest.approx(losses(quiet), abs=1e-6)


def test_a_torn_or_incomplete_checkpoint_is_not_resumed_from(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    run = order_into(tmp_path / "run", tiny_model, rows_file, eval_every=None)
    kill_when(run, lambda found: any(r["kind"] == "saved" and r["step"] == 6 for r in found))
    newest = checkpoints.folder(run) / "step-000006"
    (newest / "optimizer.pt").write_bytes(b"torn")
    (checkpoints.folder(run) / "step-000009").mkdir()
    assert work(run) == 0
    continued = of_kind(run, "continued")[-1]
    assert continued["step"] == 3
    assert "step-000006" in continued["refused"][0]
    assert list(losses(run)) == list(range(1, 9))


def test_resuming_counts_tokens_on_and_evaluates_only_where_it_was_asked_to(
    tmp_path: Path, tiny_model: Path, rows_file: Path, undisturbed: Path
) -> None:
    run = order_into(tmp_path / "run", tiny_model, rows_file)
    kill_when(run, lambda found: any(r["kind"] == "step" and r["step"] == 5 for r in found))
    assert work(run) == 0
    tokens = {r["step"]: r["tokens"] for r in of_kind(run, "step")}
    assert tokens == {r["step"]: r["tokens"] for r in of_kind(undisturbed, "step")}
    assert {r["step"] for r in of_kind(run, "evaluated")} == {0, 4, 8}


def cut(run: Path, before: str) -> None:
    """As if the worker had been killed right before its last record of that kind."""
    path = run / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    last = max(at for at, line in enumerate(lines) if f'"kind":"{before}"'.encode() in line)
    path.write_bytes(b"".join(lines[:last]))
    (run / "journal.jsonl.ack").unlink()


def test_what_a_killed_worker_left_of_checkpoints_is_taken_up_or_removed(
    tmp_path: Path, tiny_model: Path, rows_file: Path, undisturbed: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    # As if it had been killed between the last checkpoint's name and its record, and once before in another.
    cut(run, before="saved")
    folder = checkpoints.folder(run)
    for left in (".step-000003.gone", ".step-000007.part", ".step-000007.part.trainer/checkpoint-7"):
        (folder / left).mkdir(parents=True)
    assert work(run) == 0
    assert of_kind(run, "continued")[-1]["step"] == 8
    assert [r["step"] for r in of_kind(run, "saved")] == [3, 6, 8]
    assert of_kind(run, "saved")[-1]["sha"] == of_kind(undisturbed, "saved")[-1]["sha"]
    assert {path.name for path in folder.iterdir()} == {"step-000006", "step-000008"}


def test_a_training_that_was_killed_after_its_last_step_does_no_more_and_exports(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    run = order_into(
        tmp_path / "run", tiny_model, rows_file, steps=4, lora={"r": 4}, eval_every=None, export="merged",
        save_every=2,
    )  # fmt: skip
    assert work(run) == 0
    cut(run, before="exported")
    checkpoints.discard(run, "merged")
    assert work(run) == 0
    assert [r["step"] for r in of_kind(run, "step")] == [1, 2, 3, 4]
    assert of_kind(run, "exported")[-1]["difference"] < 0.01
    trained = load_file(checkpoints.folder(run) / "step-000004" / "adapter_model.safetensors")
    whole = load_file(checkpoints.folder(run) / "merged" / "model.safetensors")
    before = load_file(tiny_model / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj"
    down, up = (trained[f"base_model.model.{name}.lora_{side}.weight"] for side in "AB")
    change = whole[f"{name}.weight"] - before[f"{name}.weight"]
    assert float((change - 8.0 * up @ down).abs().max()) < 1e-5  # alpha 32 over r 4
    assert float(change.abs().max()) > 1e-4


def test_a_checkpoint_without_its_random_numbers_is_not_resumed_from(
    tmp_path: Path, tiny_model: Path, rows_file: Path, undisturbed: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    cut(run, before="finished")
    aside = checkpoints.aside_of(run, "step-000008")
    (checkpoints.folder(run) / "step-000008").rename(aside)
    for name in ("rng_state.pth", MANIFEST):
        (aside / name).unlink()
    checkpoints.publish(run, "step-000008", 8)
    assert work(run) == 0
    continued = of_kind(run, "continued")[-1]
    assert (continued["step"], continued["refused"]) == (6, ["step-000008: rng_state missing"])


def test_another_learning_rate_is_another_training(tmp_path: Path, tiny_model: Path, rows_file: Path) -> None:
    run = order_into(tmp_path / "run", tiny_model, rows_file)
    kill_when(run, lambda found: any(r["kind"] == "step" for r in found))
    order_into(run, tiny_model, rows_file, lr=2e-3)
    assert work(run) == 3
    assert "plan" in of_kind(run, "finished")[-1]["message"]


def test_an_absurd_learning_rate_is_caught_and_the_run_stopped(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    run = order_into(
        tmp_path / "run", tiny_model, rows_file, steps=60, lr=1.0, max_grad_norm=0, eval_every=None,
        save_every=50, warmup=0.4, guard={"patience": 2, "loss": 1.5},
    )  # fmt: skip
    assert work(run) == 4
    (guarded,) = of_kind(run, "guarded")
    assert guarded["action"] == "stop"
    assert guarded["step"] < 60
    assert of_kind(run, "finished")[-1]["outcome"] == "stopped"
    assert any("lr 1" in r["message"] for r in of_kind(run, "check") if r["status"] == "warn")


def test_a_rollback_goes_on_from_the_last_good_checkpoint_with_a_lower_rate(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    # No step of a sound training has always the usual gradient: some are above its median.
    guard = {"patience": 1, "grad_norm": 1.001, "action": "rollback", "rollbacks": 1, "loss": None}
    run = order_into(
        tmp_path / "run", tiny_model, rows_file, steps=12, lr=1e-3, schedule="constant", warmup=0.0,
        eval_every=None, save_every=2, keep=9, guard=guard,
    )  # fmt: skip
    work(run)
    rollback = next(r for r in of_kind(run, "guarded") if r["action"] == "rollback")
    assert rollback["to_step"] < rollback["step"]
    assert rollback["lr_factor"] == 0.5
    at = records(run).index(rollback)
    after = [r for r in records(run)[at:] if r["kind"] == "step"]
    assert after[0]["step"] == rollback["to_step"] + 1
    assert after[0]["figures"]["lr"] == pytest.approx(5e-4)


def write_rows(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("rows", "settings", "said"),
    [
        ([{"question": "1 + 1?", "answer": "\\boxed{2}"}] * 8, {}, "hashes"),
        ([{"messages": [{"role": "user", "content": "hi"}]}] * 8, {}, "no answer to learn from"),
        ([{"prompt": "<|system|> be good", "completion": "yes\n#### 1"}] * 8, {}, "<|system|>"),
        ([{"question": "1 + 1?", "answer": "2\n#### 2"}] * 8, {"max_length": 20}, "max_length"),
        ([{"text": "once"}], {}, "`messages`"),
        ([{"question": "1 + 1?", "answer": ""}], {}, "no text in `answer`"),
    ],
    ids=["format", "nothing-to-learn", "marker", "too-long", "shape", "empty"],
)
def test_what_would_be_paid_for_in_vain_is_refused_before_the_first_step(
    tmp_path: Path, tiny_model: Path, rows: list[dict[str, object]], settings: dict[str, object], said: str
) -> None:
    data = write_rows(tmp_path / "rows.jsonl", *rows)
    run = order_into(tmp_path / "run", tiny_model, data, **settings)
    assert work(run) == 3
    assert said in of_kind(run, "finished")[-1]["message"]
    assert not of_kind(run, "step")


REWARD = """
def reward(prompts, completions, row, **_):
    assert len(prompts) == len(completions) == len(row)
    return [float(len(set(turns[-1]["content"]))) for turns in completions]
"""


@pytest.mark.parametrize("method", ["grpo", "ppo", "pg"])
def test_reinforcement_learning_journals_all_its_figures(
    tmp_path: Path, tiny_model: Path, rows_file: Path, method: str
) -> None:
    run = order_into(
        tmp_path / "run", tiny_model, rows_file, method=method, steps=4, generations=4, max_new_tokens=8,
        eval_every=None, kl=0.01, rewards=[{"by": "module", "module": "reward.py"}], save_every=4,
        iterations=2 if method == "ppo" else None,
    )  # fmt: skip
    (run / "reward.py").write_text(REWARD)
    assert work(run) == 0
    first = of_kind(run, "step")[0]["figures"]
    wanted = {"loss", "lr", "grad_norm", "reward", "reward_std", "kl", "entropy", "ratio", "clip_fraction"}
    assert wanted | {"length", "clipped", "logprob", "repetition"} <= set(first)
    assert first["ratio"] == pytest.approx(1.0, abs=1e-3)
    assert first["reward_std"] > 0


def test_killed_between_two_passes_over_the_same_answers_the_course_is_the_same(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    settings = {
        "method": "ppo", "iterations": 2, "steps": 6, "generations": 4, "max_new_tokens": 8, "kl": 0.01,
        "lr": 1e-2, "eval_every": None, "save_every": 3, "rewards": [{"by": "module", "module": "reward.py"}],
    }  # fmt: skip
    quiet, killed = (order_into(tmp_path / n, tiny_model, rows_file, **settings) for n in ("quiet", "killed"))
    for run in (quiet, killed):
        (run / "reward.py").write_text(REWARD)
    assert work(quiet) == 0
    assert [r["step"] for r in of_kind(quiet, "saved")] == [4, 6], "after whole passes"
    kill_when(killed, lambda found: any(r["kind"] == "step" and r["step"] == 5 for r in found))
    assert work(killed) == 0
    ours, theirs = (
        {r["step"]: (r["figures"]["loss"], r["figures"]["ratio"], r["tokens"]) for r in of_kind(run, "step")}
        for run in (killed, quiet)
    )
    assert ours == theirs


def test_a_reward_that_fails_ends_the_run_with_its_words(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    run = order_into(
        tmp_path / "run", tiny_model, rows_file, method="grpo", steps=2, generations=4, max_new_tokens=4,
        eval_every=None, rewards=[{"by": "module", "module": "reward.py"}],
    )  # fmt: skip
    (run / "reward.py").write_text("def reward(completions, **_):\n    return [1.0]\n")
    assert work(run) == 3
    assert "returned 1 numbers for 4 answers" in of_kind(run, "finished")[-1]["message"]


def test_the_worker_leaves_nothing_but_checkpoints_behind(undisturbed: Path) -> None:
    names = {path.name for path in checkpoints.folder(undisturbed).iterdir()}
    assert names == {"step-000006", "step-000008"}
