"""The worker end to end over recorded answers: it completes, survives its deaths, and blames the right sample."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import zipapp
from pathlib import Path

import pytest

from remote_agent import worker
from remote_agent.evaluation import PatientWriter
from remote_agent.journal import Journal, NoSpace, read_ack
from remote_agent.protocol import Phase

from .conftest import REPOSITORY, Run, make_run

DEADLY = """
import os, signal
from remote_agent.engines import recorded
calm = recorded.RecordedEngine.generate
def generate(self, prompts):
    if any(p.sample == "{sample}" for p in prompts):
        {act}
    return calm(self, prompts)
recorded.RecordedEngine.generate = generate
"""


def victim(run: Run) -> str:
    from remote_agent.tasks.word_problems import WordProblems

    return WordProblems().load(run.order.task).samples[3].id


def test_a_run_completes_and_is_complete_once(run: Run) -> None:
    assert worker.main(run.folder) == 0
    kinds = [r["kind"] for r in run.records()]
    assert kinds[0] == "opened"
    assert kinds[-1] == "finished"
    planned = run.records("planned")[0]
    assert (planned["total"], sum(planned["categories"].values())) == (8, 8)
    results = run.records("result")
    assert [r["verdict"] for r in results].count("wrong") == 2
    assert all(r["reason"] == "parsed" and r["rule"] == "hashes" for r in results)
    before = run.journal.read_bytes()
    assert worker.main(run.folder) == 0
    assert run.journal.read_bytes() == before


def test_every_candidate_of_every_sample(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r", samples=3, candidates=3)
    assert worker.main(run.folder) == 0
    assert len(set(run.keys())) == len(run.keys()) == 9


def test_a_batch_is_begun_before_and_recorded_whole(run: Run) -> None:
    worker.main(run.folder)
    kinds = [r["kind"] for r in run.records()]
    at = kinds.index("begin")
    assert kinds[at : at + 6] == ["begin", *["result"] * 4, "begin"]


def test_killed_in_the_middle_it_goes_on_where_it_was(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r", samples=12, batch=2, pace=0.2)
    process = run.start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (read_ack(run.journal) and len(run.records("result")) >= 4):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = run.keys()
    assert 4 <= len(done) < 12
    assert worker.main(run.folder, after="SIGKILL", blamed=False) == 0
    assert run.keys()[: len(done)] == done
    assert len(set(run.keys())) == len(run.keys()) == 12
    (crash,) = run.records("crash")
    assert (crash["cause"], crash["blamed"]) == ("SIGKILL", False)
    assert [r["attempt"] for r in run.records("opened")] == [1, 2]
    assert len(run.records("planned")) == 1
    assert all(len(r["keys"]) == 2 for r in run.records("begin"))


def test_a_sample_that_kills_its_worker_is_found_and_the_others_are_kept(run: Run) -> None:
    bad = victim(run)
    code = DEADLY.format(sample=bad, act="os.kill(os.getpid(), signal.SIGSEGV)")
    ends, args = [], []
    for _ in range(8):
        process = run.start(*args, code=code)
        process.communicate()
        ends.append(process.returncode)
        args = ["--after", "SIGSEGV", "--blamed"]
        if process.returncode == 0:
            break
    # Once in its batch, three times alone; then it is settled and the run is complete.
    assert ends == [-signal.SIGSEGV] * 4 + [0]
    (lost,) = run.records("failed")
    assert (lost["sample"], lost["crashes"]) == (bad, 3)
    assert "SIGSEGV" in lost["error"]
    assert len(set(run.keys())) == len(run.keys()) == 8


def test_a_sample_that_raises_costs_only_itself(run: Run) -> None:
    process = run.start(code=DEADLY.format(sample=victim(run), act="raise ValueError('odd input')"))
    assert "Traceback" in process.communicate()[1]
    assert process.returncode == 0
    (lost,) = run.records("failed")
    assert (lost["sample"], lost["error"]) == (victim(run), "ValueError: odd input")
    assert len(run.records("result")) == 7


def test_where_each_sample_fails_nothing_is_settled(run: Run) -> None:
    (run.folder / "recorded.jsonl").write_text(
        '{"prompt_sha": "0", "completion": "", "tokens_in": 1, "tokens_out": 0, "finish": "stop"}\n'
    )
    assert worker.main(run.folder) == 3
    assert run.keys() == []
    (end,) = run.records("finished")
    assert end["outcome"] == "failed"
    assert "no completion for the prompt" in end["message"]


def test_another_plan_is_refused_on_resume(run: Run) -> None:
    process = run.start(code=DEADLY.format(sample=victim(run), act="os.kill(os.getpid(), signal.SIGKILL)"))
    process.communicate()
    run.order = run.order.model_copy(update={"model_id": "another"})
    run.save()
    assert worker.main(run.folder, after="SIGKILL") == 3
    assert "not those that this run began with" in run.records("finished")[0]["message"]


def test_failed_checks_end_the_run_before_any_computing(run: Run) -> None:
    (run.folder / "recorded.jsonl").unlink()
    assert worker.main(run.folder) == 3
    assert [(r["name"], r["status"]) for r in run.records("check")][-1] == ("model", "fail")
    assert run.records("begin") == []


def test_a_bad_order_and_a_corrupt_journal_are_final(run: Run) -> None:
    (run.folder / "order.json").write_text('{"v": 1}')
    assert worker.main(run.folder) == 3
    assert "order.json" in run.records("finished")[0]["message"]
    data = bytearray(run.journal.read_bytes())
    data[5] ^= 1
    run.journal.write_bytes(data)
    assert worker.main(run.folder) == 3
    assert run.journal.read_bytes() == data


def test_a_second_worker_is_told_to_come_again(run: Run) -> None:
    with Journal(run.journal):
        assert worker.main(run.folder) == 1


class FullDisk:
    """Stands in for a journal's append: no room for a while, then room again."""

    def __init__(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.ballast_free = False
        append, restore, release = journal.append, journal.restore_ballast, journal.release_ballast

        def checked_append(records: list[dict[str, object]]) -> None:
            if self.full and not (self.ballast_free and len(records) == 1):
                raise NoSpace("full")
            append(records)

        def checked_release() -> None:
            release()
            self.ballast_free = True

        monkeypatch.setattr(journal, "append", checked_append)
        monkeypatch.setattr(journal, "release_ballast", checked_release)
        monkeypatch.setattr(journal, "restore_ballast", lambda: not self.full and restore())


def test_a_full_disk_makes_the_run_wait_and_loses_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []
    with Journal(run.journal) as journal:
        disk = FullDisk(journal, monkeypatch)

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            disk.full = len(slept) < 3

        writer = PatientWriter(journal, sleep)
        disk.full = True
        writer.write(Phase(name="model", detail="1"), Phase(name="evaluate", detail="2"))
    kinds = [(r["kind"], r.get("detail")) for r in run.records()]
    assert kinds == [("paused", None), ("unpaused", None), ("phase", "1"), ("phase", "2")]
    assert len(slept) == 3


def test_it_runs_from_one_file(tmp_path: Path) -> None:
    archive = tmp_path / "agent.pyz"
    source = tmp_path / "source"
    shutil.copytree(REPOSITORY / "remote_agent", source / "remote_agent")
    (source / "__main__.py").write_text(
        "import sys\nfrom remote_agent.__main__ import main\nsys.exit(main())\n"
    )
    zipapp.create_archive(source, archive)
    run = make_run(tmp_path / "r", samples=4)
    command = [sys.executable, str(archive), "work", str(run.folder)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(run.keys()) == 4
    assert run.records("opened")[0]["agent"] != "source"


def test_log_lines_are_dated_in_utc(run: Run) -> None:
    lines = run.start(TZ="Asia/Tokyo").communicate()[1].splitlines()
    stamp = time.strftime("%Y-%m-%dT%H:", time.gmtime())
    assert lines
    assert all(line.startswith(stamp) and "Z INFO " in line for line in lines), lines


@pytest.mark.model
def test_a_real_model_killed_in_the_middle_gives_the_texts_of_an_undisturbed_run(tmp_path: Path) -> None:
    engine = {"name": "transformers", "batch_size": 2, "threads": 1, "path": None}
    runs = [make_run(tmp_path / name, samples=8) for name in ("calm", "killed")]
    for run in runs:
        run.order = run.order.model_copy(
            update={
                "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
                "engine": run.order.engine.model_copy(update=engine),
            }
        )
        run.save()
    calm, killed = runs
    assert calm.start().wait(180) == 0
    process = killed.start()
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and not killed.keys():
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert 0 < len(killed.keys()) < 8
    assert killed.start("--after", "SIGKILL").wait(180) == 0
    assert len(set(killed.keys())) == len(killed.keys()) == 8

    def texts(run: Run) -> dict[str, str]:
        return {r["sample"]: r["completion"] for r in run.records("result")}

    assert texts(killed) == texts(calm)
    assert all(r["status"] != "fail" for r in calm.records("check"))
