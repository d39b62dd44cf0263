"""Rerankers: what they see, that scores survive a crash and are never mixed, and what stops a run."""

from __future__ import annotations

import dataclasses
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from remote_agent.journal import DuplicateKey, Journal
from remote_agent.protocol import RerankSpec
from remote_agent.reranking import reranker
from remote_agent.reranking.base import Candidate, RerankError

from .conftest import Run, make_run

SCORER = """\
import json, pathlib, time

def scorer(checkpoint):
    weights = json.loads(pathlib.Path(checkpoint).read_text())
    def score(candidates):
        time.sleep(weights.get("pace", 0))
        assert not any("gold" in c for c in candidates)
        return [weights["sign"] * len(c["completion"]) + c["candidate"] for c in candidates]
    return score
"""

ASKED = [{"role": "user", "content": "How many?"}]


def candidate(completion: str = "18", number: int = 0, logprob: float | None = -2.0) -> Candidate:
    return Candidate("s", number, ASKED, completion, 4, logprob)


@pytest.fixture
def ranked(tmp_path: Path) -> Run:
    """A run of 3 answers a sample with the user's own reranker."""
    run = make_run(tmp_path / "r-1", samples=8, candidates=3)
    work = run.folder / "work" / "code"
    work.mkdir(parents=True)
    (work / "energy.py").write_text(SCORER)
    (run.folder / "work" / "ckpt.pt").write_text(json.dumps({"sign": -1.0}))
    own = RerankSpec(name="energy", by="module", module="code/energy.py", checkpoint="ckpt.pt", batch_size=4)
    run.order = run.order.model_copy(update={"rerank": [own]})
    run.save()
    return run


def work(run: Run, *args: str, code: str | None = None) -> tuple[int, str]:
    """One worker in the session's folder, as the supervisor starts it."""
    inside = f"import os; os.chdir({str(run.folder / 'work')!r})\n{code or ''}"
    process = run.start(*args, code=inside)
    said = process.communicate(timeout=60)[1]
    return process.returncode, said


def scores(run: Run) -> dict[tuple[str, int], float]:
    found = run.records("scored")
    by_key = {(r["sample"], r["candidate"]): r["score"] for r in found}
    assert len(by_key) == len(found)
    return by_key


def test_every_answer_is_scored_once_after_all_are_there(ranked: Run) -> None:
    code, said = work(ranked)
    assert code == 0, said
    results = {(r["sample"], r["candidate"]): r["completion"] for r in ranked.records("result")}
    assert scores(ranked) == {key: -len(text) + key[1] for key, text in results.items()}
    kinds = [r["kind"] for r in ranked.records()]
    assert kinds.index("reranking") > len(kinds) - 1 - kinds[::-1].index("result")
    assert kinds[-1] == "finished"
    (planned,) = ranked.records("planned")
    assert planned["rerankers"] == ["energy"]
    assert [r["detail"] for r in ranked.records("phase") if r["name"] == "rerank"] == ["24 scores to compute"]


def test_killed_while_scoring_it_goes_on_with_what_is_missing(ranked: Run) -> None:
    (ranked.folder / "work" / "ckpt.pt").write_text(json.dumps({"sign": -1.0, "pace": 0.4}))
    inside = f"import os; os.chdir({str(ranked.folder / 'work')!r})"
    process = ranked.start(code=inside)
    deadline = time.monotonic() + 30
    while len(ranked.records("scored")) < 8 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = len(ranked.records("scored"))
    assert 8 <= done < 24
    code, said = work(ranked, "--after", "SIGKILL")
    assert code == 0, said
    assert len(scores(ranked)) == 24
    assert len(ranked.records("reranking")) == 1
    assert len(ranked.records("result")) == 24


def test_scores_of_another_checkpoint_are_not_mixed_in(ranked: Run) -> None:
    failing = SCORER.replace(
        "return [",
        "if len(calls := globals().setdefault('C', [])) > 1: raise OSError('x')\n        calls.append(1)\n        return [",
    )
    (ranked.folder / "work" / "code" / "energy.py").write_text(failing)
    code, said = work(ranked)
    assert code == 3
    assert "resuming goes on with the scores" in said
    assert len(scores(ranked)) == 8
    (ranked.folder / "work" / "code" / "energy.py").write_text(SCORER)
    code, said = work(ranked)
    assert code == 3
    assert "is not the one that has begun to score" in said
    assert len(scores(ranked)) == 8


@pytest.mark.parametrize(
    ("spec", "code", "said"),
    [
        ({"module": "code/none.py"}, SCORER, "needs the file code/none.py"),
        ({"checkpoint": "none.pt"}, SCORER, "needs the file none.pt"),
        ({"function": "rank"}, SCORER, "has no function `rank`"),
        ({}, "import no_such_package", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_what_cannot_score_ends_the_run_before_the_answers(
    ranked: Run, spec: dict[str, Any], code: str, said: str
) -> None:
    (ranked.folder / "work" / "code" / "energy.py").write_text(code)
    ranked.order = ranked.order.model_copy(
        update={"rerank": [ranked.order.rerank[0].model_copy(update=spec)]}
    )
    ranked.save()
    status, _ = work(ranked)
    assert status == 3
    (check,) = [c for c in ranked.records("check") if c["name"] == "reranker energy"]
    assert check["status"] == "fail"
    assert said in check["message"]
    assert ranked.records("result") == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return lambda found: [float('nan') for c in found]", "gave nan for answer"),
        ("return lambda found: [1.0]", "gave 1 scores for 4 answers"),
        ("return 5", "returned no function, but int"),
        ("raise ValueError('no weights')", "failed with ValueError: no weights"),
    ],
)
def test_a_scorer_that_gives_no_scores_is_named(ranked: Run, body: str, said: str) -> None:
    (ranked.folder / "work" / "code" / "energy.py").write_text(f"def scorer(checkpoint):\n    {body}\n")
    status, log = work(ranked)
    assert status == 3
    assert said in log
    assert len(ranked.records("result")) == 24
    assert scores(ranked) == {}


def test_log_probability_whole_or_by_token() -> None:
    whole, mean = (reranker(RerankSpec(name="l", by="logprob", normalise=n)) for n in (False, True))
    assert whole.score([candidate(logprob=-6.0)]) == [-6.0]
    assert mean.score([candidate(logprob=-6.0)]) == [-1.5]
    with pytest.raises(RerankError, match="recorded no log-probability for s"):
        whole.score([candidate(logprob=None)])


def test_the_journal_refuses_a_score_twice(tmp_path: Path) -> None:
    score = {"kind": "scored", "task": "t", "sample": "s", "candidate": 0, "reranker": "r", "score": 1.0}
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append([score, {**score, "reranker": "other"}, {**score, "candidate": 1}])
        with pytest.raises(DuplicateKey):
            journal.append([score])
        assert journal.keys == frozenset()
    with Journal(tmp_path / "journal.jsonl") as journal, pytest.raises(DuplicateKey):
        journal.append([score])


def test_candidates_are_plain_to_a_users_function() -> None:
    assert set(dataclasses.asdict(candidate())) == {
        "sample", "candidate", "context", "completion", "tokens", "logprob",
    }  # fmt: skip
