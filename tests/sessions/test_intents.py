"""What the cockpit asks for, asked as it asks: from within a running loop."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpusess.remote.keys import mint_keypair
from gpusess.sessions import host_keys, renting
from gpusess.sessions.intents import DriverIntents
from gpusess.sessions.store import Store

from .cloud import Cloud, context


async def test_the_ssh_line_of_a_rented_instance_has_its_pinned_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    cloud = Cloud()
    monkeypatch.setattr("gpusess.sessions.context.open_provider", lambda *_: cloud)
    ctx = context(tmp_path, cloud)
    intents = DriverIntents(ctx.store)
    assert intents.ssh_argv("s") is None
    await renting.launch(ctx)
    await renting.boot(ctx)
    argv = intents.ssh_argv("s")
    assert argv is not None
    assert argv[-1] == "u@127.0.0.1"
    assert (ctx.folder / host_keys.FILE).read_text().split()[1] in (ctx.folder / "known_hosts").read_text()
    (ctx.folder / host_keys.FILE).unlink()
    assert intents.ssh_argv("s") is None, "no key is known: nobody connects"


async def test_the_ssh_line_of_an_own_machine_goes_by_known_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    spec = (
        "name: x\nresources: {provider: ssh, options: {host: box.example}}\n"
        "runs: [{name: r, model: org/m, task: {name: word_problems}}]\n"
    )
    key = mint_keypair("box")[1]

    async def known_host_keys(*_: object) -> list[str]:
        return [key]

    monkeypatch.setattr("gpusess.providers.ssh.SshProvider.known_host_keys", known_host_keys)
    store = Store(tmp_path / "s.db")
    store.add_session(
        id="s", name="n", job="x", provider="ssh", spec=spec, spec_path="x", options={}, runs=[]
    )
    endpoint = {"host": "box.example", "port": 22, "user": "me"}
    store.update("s", endpoint=endpoint, instance_id="ssh-1")
    argv = DriverIntents(store).ssh_argv("s")
    assert argv is not None
    assert argv[-1] == "me@box.example"
