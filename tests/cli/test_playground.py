"""`gpusess complete`: what it sends, what it shows of any answer, and what it says when the far end dies."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from gpusess.cli import cli
from gpusess.cli.side_by_side import GAP, Column, fits, table, wrapped

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"

FAKE = """#!{python}
import json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    if os.environ.get("FAKE_DIES"):
        print("MemoryError: no room", file=sys.stderr)
        os._exit(9)
    for number, model in enumerate(asked["models"]):
        def say(**event):
            print(json.dumps({{"model": number, **event}}), flush=True)
        say(event="loading")
        if model == "bad":
            say(event="error", message="no model folder bad\\x1b[31m here")
            continue
        for at, seed in enumerate(asked["seeds"]):
            text = f"{{asked['prompt']}} \\x1b]0;title\\x07\\x1b[2Janswer {{seed}} of {{model}}"
            say(event="text", answer=at, text=text[:9])
            say(event="done", answer=at, text=text, finish="length", tokens_in=3, tokens_out=4, logprob=-1.5, seconds=2.0)
    with open(os.environ["FAKE_SEEN"], "a") as file:
        file.write(line)
    print(json.dumps({{"event": "end"}}), flush=True)
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / "python"
    path.write_text(FAKE.format(python=sys.executable))
    path.chmod(0o700)
    monkeypatch.setenv("FAKE_SEEN", str(tmp_path / "seen"))
    return str(path)


def run(*args: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["complete", *args], input=text, standalone_mode=False)


def test_what_is_asked_is_what_the_options_say(fake: str, tmp_path: Path) -> None:
    args = [
        "m1",
        "m2",
        "-p",
        "hello",
        "--system",
        "terse",
        "--temperature",
        "0.7",
        "--top-k",
        "5",
        "--top-p",
        "0.9",
        "--seed",
        "3",
        "--seed",
        "4",
    ]
    assert run(*args, "--max-tokens", "7", "--stop", "\n", "--python", fake).exit_code == 0
    asked = json.loads((tmp_path / "seen").read_text())
    assert asked == {
        "models": ["m1", "m2"], "system": "terse", "raw": False, "stop": ["\n"], "seeds": [3, 4], "prompt": "hello",
        "engine": {"name": "transformers", "dtype": "auto", "base_url": None, "api_key": None},
        "generate": {"max_tokens": 7, "temperature": 0.7, "top_k": 5, "top_p": 0.9}, "env": {},
    }  # fmt: skip


def test_answers_are_shown_harmless_one_after_another(fake: str) -> None:
    shown = run("m1", "-p", "hi", "--seed", "1", "--seed", "2", "--python", fake).output
    assert "\x1b" not in shown
    assert shown == (
        "m1 · seed 1\nhi answer 1 of m1\n(4 tokens, cut off, 2 tok/s)\n\n"
        "m1 · seed 2\nhi answer 2 of m1\n(4 tokens, cut off, 2 tok/s)\n\n"
    )


def test_as_json_one_object_an_answer(fake: str) -> None:
    done = run("m1", "bad", "-p", "hi", "--json", "--python", fake)
    rows = [json.loads(line) for line in done.output.splitlines()]
    assert [(row["model"], row.get("seed")) for row in rows] == [("m1", 0), ("bad", None)]
    assert rows[0]["text"].endswith("answer 0 of m1")
    assert done.return_value == 1


def test_a_model_that_cannot_answer_leaves_the_others_theirs(fake: str) -> None:
    done = run("bad", "m1", "-p", "hi", "--python", fake)
    assert "no model folder bad here\n(no answer)" in done.output
    assert "answer 0 of m1" in done.output
    assert done.return_value == 1


def test_each_line_of_a_pipe_is_a_prompt(fake: str) -> None:
    shown = run("m1", "--python", fake, text="one\ntwo\n").output
    assert "one answer" in shown
    assert "two answer" in shown


def test_a_far_end_that_dies_says_its_last_words(fake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_DIES", "1")
    error = run("m1", "-p", "hi", "--python", fake).exception
    assert str(error) == "the agent ended: MemoryError: no room"


def test_what_is_missing_is_said_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    error = run("m1", "-p", "hi").exception
    assert "this Python has no torch" in str(error)
    assert "--session" in error.hint  # type: ignore[union-attr]
    assert "there is no program /none" in str(run("m1", "-p", "hi", "--python", "/none").exception)


def test_on_a_terminal_the_answers_stand_side_by_side(fake: str) -> None:
    master, slave = pty.openpty()
    argv = [sys.executable, "-m", "gpusess", "complete", "m1", "m2", "-p", "hi", "--python", fake]
    env = {**os.environ, "COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env) as process:
        os.close(slave)
        shown, deadline = b"", time.monotonic() + 30
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 0.5)[0]:
                continue
            try:
                shown += os.read(master, 1 << 16)
            except OSError:
                break
    os.close(master)
    assert process.returncode == 0
    last = shown.decode().rpartition("\x1b[J")[2].replace("\r", "").splitlines()
    assert [cell.strip() for cell in last[0].split("│")] == ["m1", "m2"]
    assert [cell.strip() for cell in last[2].split("│")] == ["hi answer 0 of m1", "hi answer 0 of m2"]


@given(st.text(max_size=200), st.integers(2, 40))
def test_wrapped_lines_fit_and_lose_no_word(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_columns_share_the_width() -> None:
    columns = [Column("a", "one two three " * 4, "(x)"), Column("b", "日本語 " * 8)]
    lines = table(columns, 64)
    assert all(cell_len(line) <= 64 for line in lines)
    assert {line.index(GAP.strip()) for line in lines[:2]} == {lines[0].index("│")}
    assert not fits(4, 80)
    assert fits(2, 80)


@pytest.mark.model
def test_a_real_model_answers_and_its_text_grows() -> None:
    asked = {
        "models": [MODEL],
        "prompt": "What is 2+3?",
        "generate": {"max_tokens": 12},
        "engine": {"threads": 1},
        "seeds": [0, 1],
    }
    done = subprocess.run(
        [sys.executable, "-m", "remote_agent", "complete"], input=json.dumps(asked) + "\n{}\n",
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    events = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "loading"
    assert kinds[-2:] == ["end", "error"]
    answers = [event for event in events if event["event"] == "done"]
    assert answers[0]["text"] == answers[1]["text"] == "2 + 3 = 5"
    grown = [event["text"] for event in events if event["event"] == "text" and event["answer"] == 0]
    assert grown
    assert all(answers[0]["text"].startswith(text) for text in grown)
