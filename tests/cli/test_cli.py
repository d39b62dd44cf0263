"""The command line as its users meet it: whole processes, exit statuses, messages, and what is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpusess.cli import COMMANDS
from gpusess.sessions.ledger import Rental
from gpusess.sessions.states import State
from gpusess.sessions.store import Store


class Cli:
    """Runs `gpusess` as a process, in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "config.toml").touch()
        self.env = {**os.environ, "GPUSESS_HOME": str(home), "GPUSESS_CONFIG": str(home / "config.toml")}

    def __call__(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gpusess", *args],
            input=stdin, capture_output=True, text=True, env=self.env, timeout=60, check=False,
        )  # fmt: skip


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "gpusess.db")
    store.add_session(
        id="abc1", name="amber-finch", job="gsm8k", provider="local", spec="", spec_path="x.yaml", options={},
        runs=[("abc1-r", "r")],
    )  # fmt: skip
    return store


def rented(store: Store, price: float, asked: float) -> None:
    """The session abc1 has an instance that bills."""
    store.update("abc1", price=price, launched=asked, launch_name="gpusess-abc1-1", instance_id="i-1")
    store.ledger.add(Rental("gpusess-abc1-1", "abc1", "local", "", asked, price, outcome="launched"))


HEAVY = ["textual", "httpx", "asyncssh", "pydantic", "torch", "yaml", "rich"]


def imported(statement: str, env: dict[str, str] | None = None) -> set[str]:
    code = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy() -> None:
    run = "from gpusess.cli import cli\ntry:\n    cli(['--help'])\nexcept SystemExit:\n    pass"
    assert imported(run) & set(HEAVY) == set()


def test_status_imports_nothing_heavy(cli: Cli, store: Store) -> None:
    run = "from gpusess.cli import cli\ncli(['status'], standalone_mode=False)"
    assert imported(run, cli.env) & set(HEAVY) == set()


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("gpusess.tui.app", {"asyncssh", "httpx", "pydantic", "torch"}),
        ("gpusess.sessions.driver", {"textual", "torch", "transformers"}),
        ("remote_agent.follow", {"pydantic", "torch", "psutil", "asyncio"}),
        ("remote_agent.journal", {"pydantic", "torch"}),
        ("remote_agent.worker", {"torch", "transformers", "asyncssh", "textual"}),
        ("remote_agent.supervisor", {"torch", "transformers"}),
    ],
)
def test_light_rooms_stay_light(module: str, forbidden: set[str]) -> None:
    assert imported(f"import {module}") & forbidden == set()


def test_every_command_has_help_and_its_line(cli: Cli) -> None:
    top = cli("--help").stdout
    for name, (_, line) in COMMANDS.items():
        assert (f"  {name} " in top) == bool(line)
        answer = cli(name, "--help")
        assert answer.returncode == 0, answer.stderr
        assert "Usage:" in answer.stdout


def test_a_typing_error_is_met_with_the_nearest_command(cli: Cli) -> None:
    answer = cli("statsu")
    assert answer.returncode == 2
    assert "Did you mean 'status'?" in answer.stderr


def test_an_error_sends_no_commands_to_the_terminal(cli: Cli, store: Store) -> None:
    done = cli("status", "\x1b[31mnope\x07\u202e")
    assert done.returncode == 6
    assert "nope" in done.stderr
    assert done.stderr.replace("\n", "").isprintable()


def test_without_a_terminal_and_command_the_help_is_printed(cli: Cli) -> None:
    answer = cli()
    assert answer.returncode == 0
    assert "Usage:" in answer.stdout


def test_no_sessions_says_what_to_do(cli: Cli) -> None:
    assert "`gpusess demo`" in cli("status").stdout
    for command in (["logs"], ["results"], ["resume"], ["pull"], ["ssh", "x"], ["status", "x"]):
        answer = cli(*command)
        assert answer.returncode == 6, command
        assert answer.stderr.startswith("gpusess: no session")
        assert "next: `gpusess up SPEC`" in answer.stderr
        assert "Traceback" not in answer.stderr


def test_status_as_json_is_one_object(cli: Cli, store: Store) -> None:
    rented(store, price=2.0, asked=store.session("abc1").created)
    facts: dict[str, Any] = json.loads(cli("status", "--json").stdout)
    assert facts["burn"] == 2.0
    (session,) = facts["sessions"]
    assert (session["name"], session["state"], session["bills"], session["driven"]) == (
        "amber-finch", "requested", True, False,
    )  # fmt: skip
    assert json.loads(cli("status", "amber", "--json").stdout)["id"] == "abc1"


def test_a_cut_off_session_says_so_with_the_next_step(cli: Cli, store: Store) -> None:
    assert "requested (cut off)" in cli("status").stdout
    assert "`gpusess resume amber-finch`" in cli("status", "amber-finch").stdout


def test_terminate_asks_and_no_is_the_default(cli: Cli, store: Store) -> None:
    answer = cli("terminate", stdin="\n")
    assert answer.returncode == 1
    assert "amber-finch (gsm8k, $0.00/h): bring its results home, then give it back? [y/N]" in answer.stdout
    assert store.open_requests("abc1") == []


def test_terminate_without_a_name_refuses_to_guess(cli: Cli, store: Store) -> None:
    store.add_session(
        id="abc2", name="blue-heron", job="j", provider="local", spec="", spec_path="", options={}, runs=[]
    )
    answer = cli("terminate", "--yes")
    assert answer.returncode == 6
    assert "2 sessions live: blue-heron, amber-finch" in answer.stderr


def test_resume_of_a_complete_session_says_so(cli: Cli, store: Store) -> None:
    for state in (State.LAUNCHING, State.BOOTING, State.TERMINATING, State.TERMINATED):
        store.move("abc1", state)
    store.update_run("abc1-r", status="complete")
    answer = cli("resume")
    assert answer.returncode == 6
    assert "amber-finch is complete: nothing is missing" in answer.stderr


def test_a_missing_or_broken_spec_is_a_usage_error(cli: Cli, tmp_path: Path) -> None:
    answer = cli("up", str(tmp_path / "none.yaml"), "--headless")
    assert answer.returncode == 2
    assert "none.yaml" in answer.stderr
    (tmp_path / "bad.yaml").write_text("name: x\nresources: {provider: locl}\nruns: []\n")
    answer = cli("up", str(tmp_path / "bad.yaml"))
    assert answer.returncode == 2
    assert "bad.yaml:2: resources.provider" in answer.stderr
    assert Store(tmp_path / "gpusess.db").sessions() == [], "nothing was started"


def test_doctor_finds_nothing_wrong_here_and_speaks_json(cli: Cli) -> None:
    answer = cli("doctor", "--json")
    findings = {f["name"]: f["status"] for f in json.loads(answer.stdout)}
    assert answer.returncode == 0, answer.stdout
    assert findings["python"] == findings["data folder"] == findings["agent"] == "ok"
    assert findings["provider local"] == "ok"


def test_doctor_names_what_bills_without_a_driver(cli: Cli, store: Store) -> None:
    rented(store, price=2.0, asked=1.0)
    said = cli("doctor").stdout
    assert "warn  session amber-finch: requested, and nobody drives it; it bills $2.00/h" in said
    assert "`gpusess terminate amber-finch`" in said


def test_doctor_fails_on_bad_settings(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('thme = "dark"\n')
    answer = cli("doctor")
    assert answer.returncode == 1
    assert "fail  settings:" in answer.stdout
    assert "theme" in answer.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cli: Cli, shell: str) -> None:
    answer = cli("completion", shell)
    assert answer.returncode == 0
    assert "_GPUSESS_COMPLETE" in answer.stdout


def test_a_closed_pipe_is_no_error(cli: Cli, store: Store) -> None:
    command = f"{sys.executable} -m gpusess --help | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=cli.env, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
