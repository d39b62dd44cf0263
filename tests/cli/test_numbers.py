"""`compare`, `report` and `regrade` as their users meet them: whole processes on mirrors that lie on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpusess.sessions import traffic
from gpusess.sessions.driver_lock import DriverLock
from gpusess.sessions.store import Store
from remote_agent import protocol
from remote_agent.journal import encode


class Cli:
    """Runs `gpusess` as a process, in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "config.toml").touch()
        self._env = {**os.environ, "GPUSESS_HOME": str(home), "GPUSESS_CONFIG": str(home / "config.toml")}

    def __call__(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gpusess", *args],
            capture_output=True, text=True, env=self._env, cwd=self.home, timeout=60, check=False,
        )  # fmt: skip


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A session of two runs, `base` and `tuned`, whose mirrors are at home."""
    store = Store(tmp_path / "gpusess.db")
    store.add_session(
        id="abc1", name="amber-finch", job="j", provider="local", spec="", spec_path="x.yaml", options={},
        runs=[("abc1-base", "base"), ("abc1-tuned", "tuned")],
    )  # fmt: skip
    for run, right, wrong in (
        ("abc1-base", "#### 6", "#### 7"),
        ("abc1-tuned", "\\boxed{6}\n#### 6", "#### 8"),
    ):
        store.update_run(run, status="complete", started=1.0)
        folder = tmp_path / "sessions" / "abc1" / "runs" / run
        folder.mkdir(parents=True)
        _write(folder / "journal.jsonl", run, right, wrong)
    store.close()
    return Cli(tmp_path)


def _write(path: Path, run: str, right: str, wrong: str) -> None:
    few = "2" if run.endswith("tuned") else "none"
    planned = protocol.Planned(
        task="word_problems", samples=60, candidates=1, total=60, plan_sha="s", data="d", model="org/m",
        engine="e", dtype="float32", headline="hashes", settings={"few-shots": few},
    )  # fmt: skip
    records: list[dict[str, object]] = [protocol.payload(planned)]
    for i in range(60):
        good = i % 3 > 0 or (run.endswith("tuned") and i % 2 == 0)
        result = protocol.Result(
            task="word_problems", sample=f"s{i}", verdict="right" if good else "wrong", reason="parsed",
            extracted="6" if good else "7", rule="hashes", gold="6", completion=right if good else wrong,
            prompt_sha="p", tokens_in=9, tokens_out=3, finish="stop", seconds=0.5,
        )  # fmt: skip
        records.append(protocol.payload(result))
    path.write_bytes(b"".join(encode(record, seq, 1000.0 + seq) for seq, record in enumerate(records)))


def test_compare_prints_the_test_the_differences_and_the_warnings(cli: Cli) -> None:
    done = cli("compare", "amber-finch")
    assert done.returncode == 0, done.stderr
    assert "amber-finch/tuned against amber-finch/base, accuracy: +16.7 points" in done.stdout
    assert "10 gained, 0 lost; p = 0.002 (McNemar, exact)" in done.stdout
    assert "Not only the model differs:" in done.stdout
    assert any(line.split() == ["few-shots", "none", "2"] for line in done.stdout.splitlines())


def test_compare_as_json(cli: Cli) -> None:
    done = cli("compare", "amber-finch/base", "amber-finch/tuned", "--json")
    found = json.loads(done.stdout)
    assert [arm["label"] for arm in found["arms"]] == ["amber-finch/base", "amber-finch/tuned"]
    assert found["against"][0]["paired"]["gained"] == 10
    assert found["differences"] == [{"name": "few-shots", "values": ["none", "2"]}]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("compare", "amber-finch/base"), "amber-finch/base is one run"),
        (("compare", "amber-finch/none", "amber-finch"), "no run 'none' in amber-finch"),
        (("compare", "nobody"), "no session 'nobody'"),
        (("regrade", "amber-finch"), "amber-finch has several runs"),
        (("regrade", "amber-finch/base", "--extractor", "boxd"), "there is no rule 'boxd'"),
    ],
)
def test_what_cannot_be_done_is_one_message(cli: Cli, args: tuple[str, ...], said: str) -> None:
    done = cli(*args)
    assert done.returncode == 6
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_regrade_leaves_the_journal_alone_and_writes_beside_it(cli: Cli) -> None:
    journal = cli.home / "sessions/abc1/runs/abc1-tuned/journal.jsonl"
    before = journal.read_bytes()
    done = cli("regrade", "amber-finch/tuned", "--extractor", "boxed", "--flips", "2")
    assert done.returncode == 0, done.stderr
    assert "10 from wrong to unparsed" in done.stdout
    assert "… and 8 more (--flips 10)" in done.stdout
    assert journal.read_bytes() == before
    (written,) = journal.parent.glob("regraded-*.jsonl")
    head, *rows = [json.loads(line) for line in written.read_text().splitlines()]
    assert head["rules"] == ["boxed"]
    assert len(rows) == 60
    again = cli("regrade", "amber-finch/tuned", "--json")
    assert json.loads(again.stdout)["flipped"] == 0
    assert len(list(journal.parent.glob("regraded-*.jsonl"))) == 2


def test_report_writes_markdown_and_html(cli: Cli) -> None:
    done = cli("report", "amber-finch", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["out.md", "out.html"]
    assert "## Against amber-finch/base" in (cli.home / "out.md").read_text()
    assert "<svg" in (cli.home / "out.html").read_text()
    one = cli("report", "amber-finch/base", "-o", "one.html", "--title", "Mine")
    assert one.stdout.split() == ["one.html"]
    assert "<title>Mine</title>" in (cli.home / "one.html").read_text()


def test_status_says_what_was_sent_what_came_and_what_is_on_its_way(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUSESS_HOME", str(cli.home))
    traffic.note("abc1", traffic.Sent(1.0, "code", 7, 2500, 2, 900, 0.1))
    how = "1 file as what differs from step-100, 2 not sent: step-100 has it too"
    traffic.note(
        "abc1", traffic.Received(1.0, "abc1-base", "step-200", 200, 274_100_000, 24_200_000, 2.0, how)
    )
    coming = {"run": "abc1-base", "name": "step-300", "step": 300, "bytes": 274_100_000, "done": 137_000_000}
    note = cli.home / "sessions/abc1/runs/abc1-base" / traffic.COMING
    note.write_text(json.dumps({**coming, "rate": 1e7, "at": time.time()}))

    def said() -> list[str]:
        lines = cli("status", "abc1").stdout.splitlines()
        return [line for line in lines if line.split()[0] in ("sent", "came", "coming")]

    before = ["sent      code: 900 B of 2.5 kB"]
    before += [f"came      checkpoint step-200: 24.2 MB for 274.1 MB in 0:02, 12.1 MB/s; {how}"]
    assert said() == [
        *before,
        "coming    checkpoint step-300: 137.0 MB of 274.1 MB; cut off: nobody drives it",
    ]
    driver = DriverLock("abc1")
    assert said()[-1] == "coming    checkpoint step-300: 137.0 MB of 274.1 MB, 10.0 MB/s, 0:14 to go"
    note.write_text(json.dumps({**coming, "rate": 1e7, "at": time.time() - 125}))
    assert said()[-1].startswith("coming    checkpoint step-300: 137.0 MB of 274.1 MB; nothing came for 2:0")
    driver.release()
    facts = json.loads(cli("status", "abc1", "--json").stdout)
    assert [one["name"] for one in facts["received"]] == ["step-200"]
    assert facts["coming"][0]["done"] == 137_000_000
