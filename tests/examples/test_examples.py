"""Every example parses, and every one runs to the end that its comment promises."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpusess.errors import SpecError
from gpusess.remote.keys import mint_keypair
from gpusess.spec import load_spec

from .conftest import EXAMPLES, Bench, recorded

ROWS = [(f"What is {n} plus {n}?", f"{n} + {n} = {2 * n}\n#### {2 * n}") for n in range(1, 9)]
"""Rows in the form of GSM8K's, written for this test."""


def put_data(folder: Path) -> None:
    (folder / "gsm8k").mkdir()
    text = "".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in ROWS)
    (folder / "gsm8k" / "test.jsonl").write_text(text)
    for shipped in (*EXAMPLES.glob("*.jsonl"), *EXAMPLES.glob("*.csv"), *EXAMPLES.glob("*.py")):
        shutil.copy(shipped, folder)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.name)
def test_it_parses(path: Path, tmp_path: Path) -> None:
    put_data(tmp_path)
    spec = load_spec(Path(shutil.copy(path, tmp_path)))
    assert spec.name == path.stem.replace("_", "-")
    assert spec.resources.provider[0] in ("local", "ssh")


def test_gsm8k_says_which_file_is_missing(tmp_path: Path) -> None:
    path = Path(shutil.copy(EXAMPLES / "gsm8k.yaml", tmp_path))
    with pytest.raises(SpecError, match=r"'gsm8k/test\.jsonl', which does not exist"):
        load_spec(path)


@pytest.mark.parametrize("name", ["word_problems.yaml", "gsm8k.yaml"])
def test_it_runs(bench: Bench, name: str) -> None:
    put_data(bench.folder)
    status, facts = bench.up(name, lambda spec: recorded(spec, bench.folder, limit=4))
    assert status == 0, facts
    assert (facts["state"], facts["bills"]) == ("terminated", False)
    (run,) = facts["runs"]
    assert (run["status"], run["total"], run["right"], run["wrong"]) == ("complete", 4, 2, 2)
    results = bench.gpusess("results", facts["id"], "--json").stdout.splitlines()
    assert len({json.loads(line)["sample"] for line in results}) == len(results) == 4


def test_the_budget_ends_the_session(bench: Bench) -> None:
    def adapt(spec: dict[str, Any]) -> None:
        spec["resources"]["budget"] = 0.10  # 6 s at the pretended $60/h
        recorded(spec, bench.folder, limit=300, pace=0.5)

    status, facts = bench.up("rehearse-budget.yaml", adapt)
    (run,) = facts["runs"]
    assert (status, facts["state"], facts["bills"]) == (1, "terminated", False)
    assert (run["status"], run["done"] < 300) == ("stopped", True)
    assert 0.10 <= facts["spent"] < 0.10 + 60 / 3600 * 15, "the end comes within seconds"


@pytest.mark.model
def test_word_problems_with_the_real_model(bench: Bench) -> None:
    def adapt(spec: dict[str, Any]) -> None:
        spec["runs"][0]["task"]["limit"] = 4

    status, facts = bench.up("word_problems.yaml", adapt)
    assert status == 0, facts
    assert facts["runs"][0]["done"] == 4


# --- a machine of the user's own: an OpenSSH server of this user ----------------------------------------

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
SSH = shutil.which("ssh")


@pytest.fixture
def own_machine(bench: Bench) -> Iterator[None]:
    """`gpu-box` in the settings of an `ssh` that reads this test's settings file. What the login runs, it runs
    in a home folder of the test's own."""
    if SSHD is None or SSH is None:
        pytest.skip("needs OpenSSH's ssh and sshd")
    folder = bench.folder / "machine"
    home = folder / "home"
    home.mkdir(parents=True)
    host_private, host_public = mint_keypair("host")
    client_private, client_public = mint_keypair("client")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    _private(folder / "host_key", host_private)
    _private(folder / "client_key", client_private)
    _private(folder / "authorized_keys", client_public + "\n")
    _private(folder / "known_hosts", f"[127.0.0.1]:{port} {host_public}\n")
    script = f'#!/bin/sh\nexport HOME={home}\ncd "$HOME" && exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
    _program(folder / "in_home", script)
    _private(
        folder / "sshd_config",
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nForceCommand {folder}/in_home\n",
    )
    settings = f"Host gpu-box\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n"
    _private(folder / "config", f"{settings} UserKnownHostsFile {folder}/known_hosts\n")
    (folder / "bin").mkdir()
    _program(folder / "bin" / "ssh", f'#!/bin/sh\nexec {SSH} -F {folder}/config "$@"\n')
    bench.env["PATH"] = f"{folder}/bin:/usr/bin:/bin"
    if getpass.getuser() == "root":
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    server = subprocess.Popen([SSHD, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")])
    try:
        _wait_for(port, server)
        yield
    finally:
        server.terminate()
        server.wait()


def _private(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        if server.poll() is not None:
            pytest.skip("sshd does not start here")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.skip("sshd does not answer here")


def test_own_machine_runs(bench: Bench, own_machine: None) -> None:
    machine = bench.folder / "machine"

    def adapt(spec: dict[str, Any]) -> None:
        settings = (machine / "config").read_text().split()
        port = settings[settings.index("Port") + 1]
        # The alias itself is read from ~/.ssh/config by the connection, which a test must not touch.
        spec["resources"]["options"] = {
            "host": f"{getpass.getuser()}@127.0.0.1:{port}",
            "identity": str(machine / "client_key"),
        }
        spec["setup"] = {"python": sys.executable}
        recorded(spec, bench.folder, limit=4)

    config = (machine / "config").read_text().replace("Host gpu-box", "Host 127.0.0.1 gpu-box")
    (machine / "config").write_text(config)
    status, facts = bench.up("own-machine.yaml", adapt)
    assert status == 0, facts
    assert (facts["state"], facts["runs"][0]["done"]) == ("terminated", 4)
    assert not (machine / "home" / ".ssh").exists(), "the machine is left as it is"


def test_own_machine_with_an_unknown_host_key(bench: Bench, own_machine: None) -> None:
    machine = bench.folder / "machine"
    port = (machine / "config").read_text().split("Port ")[1].split()[0]
    (machine / "known_hosts").write_text("")

    def adapt(spec: dict[str, Any]) -> None:
        spec["resources"]["options"] = {"host": f"{getpass.getuser()}@127.0.0.1:{port}"}
        recorded(spec, bench.folder, limit=4)

    config = (machine / "config").read_text().replace("Host gpu-box", "Host 127.0.0.1 gpu-box")
    (machine / "config").write_text(config)
    status, facts = bench.up("own-machine.yaml", adapt)
    assert status == 1
    assert facts["state"] == "failed"
    assert "is known: nothing was sent" in facts["error"]
    assert not (machine / "home" / ".gpusess").exists()


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.sample
def test_train_with_the_real_model(bench: Bench) -> None:
    def adapt(spec: dict[str, Any]) -> None:
        run = spec["runs"][0]
        run["task"]["limit"] = 2
        run["train"] |= {"steps": 2, "save_every": 2, "eval_every": 2}

    put_data(bench.folder)
    status, facts = bench.up("train.yaml", adapt)
    assert status == 0, facts
    (run,) = facts["runs"]
    training = run["training"]
    assert (run["status"], training["step"]) == ("complete", 2)
    assert [evaluation["step"] for evaluation in training["evaluations"]] == [0, 2]
    at_home = Path(run["results"]).parent / "checkpoints" / training["checkpoints"][-1]
    assert {"adapter_model.safetensors", "optimizer.pt", "gpusess-contract.json"} <= {
        path.name for path in at_home.iterdir()
    }
