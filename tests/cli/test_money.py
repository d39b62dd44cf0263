"""Offers, instances, cost and reap as their users meet them: whole processes, and what they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gpusess.providers.base import Instance, InstanceStatus
from gpusess.sessions.ledger import Rental
from gpusess.sessions.store import Store

KEYS = (
    "LAMBDA_API_KEY",
    "RUNPOD_API_KEY",
    "VAST_API_KEY",
    "SHADEFORM_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
)
HOUR = 3600.0


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "config.toml").write_text("daily_budget = 20.0\n")
    kept = {name: value for name, value in os.environ.items() if name not in KEYS}
    return {
        **kept,
        "HOME": str(tmp_path),
        "GPUSESS_HOME": str(tmp_path / "data"),
        "GPUSESS_CACHE": str(tmp_path / "cache"),
        "GPUSESS_CONFIG": str(tmp_path / "config.toml"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }


@pytest.fixture
def store(tmp_path: Path, env: dict[str, str]) -> Store:
    store = Store(tmp_path / "data" / "gpusess.db")
    for id, name in (("ab1", "amber-finch"), ("cd2", "teal-owl")):
        store.add_session(
            id=id,
            name=name,
            job="j",
            provider="local",
            spec="x",
            spec_path="",
            options={"budget": 10.0},
            runs=[],
        )
    now = time.time()
    for name, session, asked, ended, price in (
        ("gpusess-ab1-1", "ab1", now - 60 * HOUR, now - 58 * HOUR, 2.0),
        ("gpusess-ab1-2", "ab1", now - 2 * HOUR, None, 1.5),
        ("gpusess-cd2-1", "cd2", now - 50 * HOUR, now - 49 * HOUR, 3.0),
    ):
        outcome = "launched" if ended is None else "ended"
        store.ledger.add(Rental(name, session, "local", "", asked, price, ended=ended, outcome=outcome))
    store.update("ab1", price=1.5, launched=now - 2 * HOUR, launch_name="gpusess-ab1-2")
    return store


def run(env: dict[str, str], *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpusess", *args],
        input=stdin, capture_output=True, text=True, env=env, timeout=60, check=False,
    )  # fmt: skip


def test_cost_by_session_day_and_instance(env: dict[str, str], store: Store) -> None:
    said = run(env, "cost", "--offline").stdout.splitlines()
    assert said[0].split() == ["SESSION", "INSTANCES", "SPENT", "$/H", "NOW"]
    assert said[1].split() == ["amber-finch", "2", "7.00", "1.50"]
    assert said[2].split() == ["teal-owl", "1", "3.00", "-"]
    assert said[3].startswith("burn $1.50/h, spent today $")
    assert said[3].endswith("in all $10.00")
    assert said[4].startswith("today's budget $20.00: ")
    assert said[5].startswith("amber-finch: $7.00 of $10.00: $3.00 left, spent ")
    facts: dict[str, Any] = json.loads(run(env, "cost", "--offline", "--by", "day", "--json").stdout)
    assert sum(row["spent"] for row in facts["rows"]) == pytest.approx(10.0, abs=0.01)
    recent = json.loads(run(env, "cost", "--offline", "--by", "instance", "--days", "1", "--json").stdout)
    spent = {row["instance"]: row["spent"] for row in recent["rows"]}
    assert spent["gpusess-cd2-1"] == 0
    assert 0 < spent["gpusess-ab1-2"] <= 3.01


def test_offers_as_json_import_no_tui(env: dict[str, str]) -> None:
    code = (
        "import sys\nfrom gpusess.cli import cli\n"
        "cli(['offers', '--provider', 'local', '--json'], standalone_mode=False)\n"
        "print([m for m in ('textual', 'rich', 'asyncssh') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    facts, imported = done.stdout.splitlines()
    assert imported == "[]"
    assert [o["name"] for o in json.loads(facts)["offers"]] == ["local-cpu"]


def test_offers_without_any_key_say_what_to_do(env: dict[str, str]) -> None:
    answer = run(env, "offers")
    assert answer.returncode == 3
    assert "there is no key for any of them" in answer.stderr
    assert run(env, "offers", "--provider", "lambda").returncode == 3
    assert "'nowhere' is none of" in run(env, "offers", "--provider", "nowhere").stderr
    assert run(env, "offers", "--gpu", "H100:x").returncode == 2


def test_offers_that_cannot_be_had_anew_are_shown_with_their_age(env: dict[str, str]) -> None:
    folder = Path(env["GPUSESS_CACHE"]) / "offers"
    folder.mkdir(parents=True)
    offer = {
        "provider": "lambda", "name": "gpu_1x_h100", "region": "us-1", "price": 2.49, "gpu": "H100 SXM5", "gpus": 1,
        "vcpus": 26, "memory_gib": 200.0, "available": True,
    }  # fmt: skip
    (folder / "lambda.json").write_text(json.dumps({"at": time.time() - 7200, "offers": [offer]}))
    answer = run({**env, "GPUSESS_LAMBDA_URL": "http://127.0.0.1:9"}, "offers", "--provider", "lambda")
    assert "2 h ago" in answer.stdout
    assert "LAMBDA_API_KEY: not given; shown as of 2 h ago" in answer.stderr
    assert answer.returncode == 3


def test_instances_shows_ours_and_unknown_ones(env: dict[str, str], store: Store) -> None:
    stranger = Instance("i-9", "gpusess-ffff0000-1", InstanceStatus.RUNNING, None, 2.0)
    store.ledger.saw("lambda", "", time.time() - 60, [stranger])
    store.ledger.saw("local", "", time.time(), [])
    answer = run(env, "instances", "--cached")
    assert "gpusess-ab1-2" in answer.stdout
    assert "unknown: it is in no ledger here" in answer.stdout
    assert (
        "unknown: lambda i-9 (gpusess-ffff0000-1) is in no ledger here; $2.00/h" in run(env, "status").stdout
    )
    assert [u["id"] for u in json.loads(run(env, "status", "--json").stdout)["unknown"]] == ["i-9"]
    refused = run(env, "instances", "--cached", "--adopt", "i-9", stdin="\n")
    assert refused.returncode == 1
    assert "adopt it? [y/N]" in refused.stdout
    adopted = run(env, "instances", "--cached", "--adopt", "i-9", "-y")
    assert adopted.stdout.startswith("adopted as ")
    assert "unknown" not in run(env, "instances", "--cached").stdout
    name = adopted.stdout.split()[-1]
    resumed = run(env, "resume", name, "--detach")
    assert resumed.returncode == 6
    assert "is an adopted instance: there is nothing to resume" in resumed.stderr


def test_what_has_ended_by_itself_is_said(env: dict[str, str], store: Store) -> None:
    store.ledger.change("gpusess-ab1-2", instance_id="i-1")
    store.ledger.saw("local", "", time.time(), [Instance("i-1", "x", InstanceStatus.TERMINATED, None, 1.5)])
    said = run(env, "instances", "--cached").stdout
    assert "amber-finch: has ended there; `gpusess resume` or `gpusess terminate` settles it" in said


def test_ignored_it_is_seen_no_more(env: dict[str, str], store: Store) -> None:
    store.ledger.saw(
        "lambda", "", time.time(), [Instance("i-9", "gpusess-f-1", InstanceStatus.RUNNING, None, 2.0)]
    )
    assert "goes on billing" in run(env, "instances", "--cached", "--ignore", "i-9").stdout
    assert "unknown" not in run(env, "status").stdout
    again = run(env, "instances", "--cached", "--terminate", "i-9", "-y")
    assert again.returncode == 6
    assert "no unknown instance is 'i-9'" in again.stderr


def test_reap_without_a_key_is_an_error(env: dict[str, str]) -> None:
    answer = run(env, "reap")
    assert answer.returncode == 3
    assert "there is no key for any provider" in answer.stderr


def test_doctor_names_what_bills_where_nobody_can_ask(env: dict[str, str], store: Store) -> None:
    store.ledger.add(Rental("gpusess-x-1", "ab1", "lambda", "", 1.0, 2.5, outcome="launched"))
    answer = run(env, "doctor")
    assert answer.returncode == 1
    assert (
        "fail  provider lambda: gpusess-x-1 bills $2.50/h there, and there is no key to ask with"
        in answer.stdout
    )
