"""The machine: packages by importing them, GPUs by computing on them, and the disk.

Imports are tried in a process of their own with a time limit: a library of the wrong build may crash or hang,
and warnings that it prints are part of the finding.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from remote_agent.identity import command
from remote_agent.preflight.common import MIB, check
from remote_agent.protocol import Check
from remote_agent.registry import ENGINE_NEEDS

DISK_FAIL, DISK_WARN = 64 * MIB, 1024 * MIB
TRIAL_SECONDS = 300.0
"""The first import of torch from a cold network disk takes minutes."""


def trial(engine: str) -> Iterator[Check]:
    """Import what the engine needs, look for versions that exclude each other, and compute on each GPU."""
    needs = ENGINE_NEEDS[engine]
    if not needs:
        yield check("packages", "ok", f"None needed for the engine {engine}.")
        return
    names = [package_name(requirement) for requirement in needs]
    try:
        done = subprocess.run(
            command("imports", *names), capture_output=True, text=True, timeout=TRIAL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        message = f"Importing {', '.join(names)} took more than {TRIAL_SECONDS:.0f} s"
        yield check("packages", "fail", f"{message}. Next: look at the instance's disk and environment.")
        return
    facts = _answer(done.stdout)
    if facts is None:
        message = f"Importing {', '.join(names)} {_died(done)}"
        yield check("packages", "fail", f"{message}. Next: {_install(needs)}.")
        return
    yield imports(engine, facts, done.stderr)
    if facts["gpu"] is not None:
        yield gpus(facts["gpu"])


def imports(engine: str, facts: dict[str, Any], said: str) -> Check:
    """What the trial found: what is missing, was built for another NumPy, or excludes something else."""
    fix = _install(ENGINE_NEEDS[engine])
    missing = [f"{name} ({error})" for name, error in facts["errors"].items()]
    if missing:
        return check("packages", "fail", f"Cannot be imported: {'; '.join(missing)}. Next: {fix}.")
    if built := re.search(r"compiled using NumPy (\S+).*?NumPy\s+(\S+)", said, re.DOTALL):
        message = f"A package was compiled for NumPy {built[1]} and cannot work with {built[2]}"
        return check("packages", "fail", f"{message}. Next: pip install 'numpy<{int(built[2][0])}'.")
    if facts["conflicts"]:
        return check("packages", "fail", f"{'; '.join(facts['conflicts'])}. Next: {fix}.")
    found = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return check("packages", "ok", f"{found} for the engine {engine}.")


def gpus(facts: dict[str, Any]) -> Check:
    """`facts`: what `gpu_check` found by the driver and by torch."""
    driver, torch = facts["driver"], facts["torch"]
    broken = [f"GPU {gpu['index']}: {gpu['error']}" for gpu in driver["gpus"] if gpu["error"]]
    broken += [f"{device['device']}: {device['error']}" for device in torch["devices"] if device["error"]]
    broken += [torch["error"]] if torch["error"] else []
    if broken:
        return check("GPU", "fail", f"{'; '.join(broken)}. Next: another instance, or another torch.")
    if not driver["gpus"]:
        return check("GPU", "ok", "There is none: the run computes on the CPU.")
    seen = [device["device"] for device in torch["devices"] if device["device"] != "cpu"]
    if len(seen) < len(driver["gpus"]):
        message = f"torch {torch['version']} sees {len(seen)} of {len(driver['gpus'])} GPUs"
        fix = "a torch that fits the driver, or unset CUDA_VISIBLE_DEVICES"
        return check("GPU", "warn" if seen else "fail", f"{message}. Next: {fix}.")
    names = ", ".join(gpu["name"] for gpu in driver["gpus"])
    return check("GPU", "ok", f"{names}: each has computed a product.")


def packages(engine: str) -> Check:
    """The same imports in this process: for an attempt after one whose trial was fine."""
    found, missing = [], []
    for requirement in ENGINE_NEEDS[engine]:
        name = package_name(requirement)
        try:
            own = getattr(importlib.import_module(name), "__version__", None)
            found.append(f"{name} {own if isinstance(own, str) else importlib.metadata.version(name)}")
        except (ImportError, OSError) as exc:  # a wrong build of torch raises OSError for its libraries
            missing.append(f"{name} ({exc})")
    if missing:
        fix = _install(ENGINE_NEEDS[engine])
        return check("packages", "fail", f"Cannot be imported: {'; '.join(missing)}. Next: {fix}.")
    return check("packages", "ok", f"{', '.join(found) or 'none needed'} for the engine {engine}.")


def disk(free: int) -> Check:
    text = f"{free // MIB} MiB are free on the run's disk"
    if free < DISK_FAIL:
        message = f"{text}; at least {DISK_FAIL // MIB} are needed. Free some, then resume."
        return check("disk", "fail", message)
    if free < DISK_WARN:
        return check("disk", "warn", f"{text}. The run waits if it fills up; better free some now.")
    return check("disk", "ok", f"{text}.")


def package_name(requirement: str) -> str:
    """`transformers>=5.23,<6` → `transformers`."""
    return re.split(r"[<>=!~\[; ]", requirement)[0]


def _install(needs: Sequence[str]) -> str:
    return f"pip install {' '.join(repr(need) for need in needs)}"


def _answer(said: str) -> dict[str, Any] | None:
    """The JSON line that the trial ends with; libraries may print before it."""
    for line in reversed(said.splitlines()):
        if line.startswith("{"):
            try:
                found: dict[str, Any] = json.loads(line)
            except ValueError:
                return None
            return found
    return None


def _died(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    how = f"ended with signal {-done.returncode}" if done.returncode < 0 else f"ended with {done.returncode}"
    return f"{how}{f' ({lines[-1].strip()[:200]})' if lines else ''}"
