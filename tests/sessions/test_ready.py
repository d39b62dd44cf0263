"""What makes an instance ready, whose key is believed, and what is said of its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from pydantic import SecretStr

from gpusess.errors import BadRequest, HostKeyMismatch, RemoteError, Unreachable
from gpusess.providers.base import Abilities, EndCommand, Endpoint, HostKey, Instance, LeaseEnd
from gpusess.remote.keys import mint_keypair
from gpusess.sessions import host_keys, lease, promises, readiness, renting
from gpusess.sessions.context import Context
from gpusess.sessions.states import State
from gpusess.spec import Resources

from .cloud import SPEC, Cloud, context

GPUS = SPEC.replace("max_price: 2.0", 'gpu: "H100:2"')


class FakeAgent:
    """Answers what it was told to, one answer a question; the last one stays."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, ...]] = []
        self.inputs: list[bytes | None] = []

    async def use_python(self, python: str) -> dict[str, Any]:
        return {"executable": python}

    async def ask(self, *args: str, input: bytes | None = None, timeout: float = 0) -> dict[str, Any]:
        self.asked.append(args)
        self.inputs.append(input)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def gpus(*errors: str, error: str = "", code: int = 0) -> dict[str, Any]:
    every = [
        {"index": i, "name": "NVIDIA H100 80GB HBM3", "memory": 80 << 30, "error": e, "code": 0}
        for i, e in enumerate(errors)
    ]
    return {"driver": {"error": error, "code": code, "gpus": every}, "torch": None}


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Context, Cloud]:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    cloud = Cloud(gpu="H100 SXM", gpus=2)
    ctx = context(tmp_path, cloud, spec=GPUS)
    await renting.launch(ctx)
    return ctx, cloud


# --- GPUs ---


async def test_all_paid_gpus_have_computed(world: tuple[Context, Cloud]) -> None:
    ctx, _ = world
    agent: Any = FakeAgent(gpus(error="cuInit: CUDA error 802", code=802), gpus("", ""))
    await readiness.check_gpus(ctx, agent)
    assert agent.asked == [("gpus",), ("gpus",)], "a driver that starts late is given time"
    assert ctx.row.detail == "2 GPUs have computed, 2 were paid for: NVIDIA H100 80GB HBM3"
    assert ctx.row.options["gpus"] == ["NVIDIA H100 80GB HBM3"] * 2


@pytest.mark.parametrize(
    ("answer", "message", "hint"),
    [
        (gpus(""), "2 GPUs were paid for and 1 can be used; the instance has 1", "another region or type"),
        (gpus("", "broken"), "2 GPUs were paid for and 1 can be used: GPU 1: broken", "bills until then"),
        (gpus(error="cuInit: CUDA error 802 (…)", code=802), "none can be used: cuInit: CUDA error 802", "a fault of this machine"),
        (gpus(error="no NVIDIA driver (…)"), "none can be used: no NVIDIA driver", "gives it back"),
    ],
)  # fmt: skip
async def test_what_does_not_compute_ends_in_a_clear_state(
    world: tuple[Context, Cloud], answer: dict[str, Any], message: str, hint: str
) -> None:
    ctx, cloud = world
    agent: Any = FakeAgent(answer)
    with pytest.raises(RemoteError) as caught:
        await readiness.check_gpus(ctx, agent)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert cloud.clock.now - 1000 == pytest.approx(readiness.READY_LIMIT, abs=20)


async def test_torch_must_see_them_too(world: tuple[Context, Cloud]) -> None:
    ctx, _ = world
    on_cpu: Any = FakeAgent(
        {"torch": {"version": "2.13", "error": "", "devices": [{"device": "cpu", "error": ""}]}}
    )
    with pytest.raises(
        RemoteError, match=r"torch 2\.13 does not compute on the instance: it sees 0 of 2 GPUs"
    ):
        await readiness.check_torch(ctx, on_cpu)
    both = [{"device": f"cuda:{i}", "error": ""} for i in range(2)]
    fine: Any = FakeAgent({"torch": {"version": "2.13", "error": "", "devices": both}})
    await readiness.check_torch(ctx, fine)
    assert fine.asked == [("gpus", "--torch")]


# --- host keys ---


@pytest.fixture
async def server() -> AsyncIterator[tuple[Endpoint, str]]:
    """A real SSH server; its fingerprint."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    async with asyncssh.listen("127.0.0.1", 0, server_host_keys=[key]) as listening:
        yield Endpoint("127.0.0.1", listening.get_port(), "u"), key.get_fingerprint()


def without_injection(cloud: Cloud, kind: HostKey) -> None:
    cloud.abilities = replace(cloud.abilities, host_key=kind)


async def test_the_providers_log_vouches_for_the_key(
    world: tuple[Context, Cloud], server: tuple[Endpoint, str]
) -> None:
    ctx, cloud = world
    endpoint, fingerprint = server
    printed: list[list[str]] = [[], ["SHA256:another"], ["SHA256:rsa", fingerprint]]

    async def host_fingerprints(_: Instance) -> list[str]:
        return printed.pop(0)

    without_injection(cloud, HostKey.LOGGED)
    cloud.host_fingerprints = host_fingerprints  # type: ignore[attr-defined]
    (ctx.folder / host_keys.FILE).unlink()
    with pytest.raises(Unreachable, match="does not show the instance's host key yet"):
        await host_keys.learn(ctx, endpoint)
    with pytest.raises(HostKeyMismatch, match="is not in the instance's log; nothing was sent"):
        await host_keys.learn(ctx, endpoint)
    assert host_keys.pinned(ctx) == []
    await host_keys.learn(ctx, endpoint)
    (line,) = host_keys.pinned(ctx)
    assert asyncssh.import_public_key(line).get_fingerprint() == fingerprint
    assert ctx.row.options["host_key"] == f"{fingerprint}, as in the provider's log"


async def test_first_use_only_by_explicit_choice_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[Endpoint, str]
) -> None:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    endpoint, fingerprint = server
    cloud = Cloud()
    without_injection(cloud, HostKey.FIRST_USE)
    with pytest.raises(BadRequest, match="no way to know an instance's SSH host key"):
        await renting.launch(context(tmp_path, cloud))
    assert cloud.launches == [], "it is said before money is spent"
    (tmp_path / "s.db").unlink()
    ctx = context(tmp_path, cloud, spec=SPEC.replace("max_price: 2.0", "trust_first_use: true"))
    await renting.launch(ctx)
    await host_keys.learn(ctx, endpoint)
    assert ctx.row.options["host_key"] == f"{fingerprint}, taken on first use"
    kept = host_keys.pinned(ctx)
    await host_keys.learn(ctx, endpoint)
    assert host_keys.pinned(ctx) == kept, "and from then on it is pinned"


async def test_without_any_key_nothing_is_sent(
    world: tuple[Context, Cloud], server: tuple[Endpoint, str]
) -> None:
    ctx, _ = world
    (ctx.folder / host_keys.FILE).unlink()
    with pytest.raises(HostKeyMismatch, match=r"no host key of .* is known: nothing was sent"):
        await host_keys.learn(ctx, server[0])


async def test_a_new_launch_forgets_the_old_key(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    (ctx.folder / host_keys.FILE).write_text(mint_keypair("old")[1])
    without_injection(cloud, HostKey.LOGGED)
    ctx.store.move("s", State.FAILED)
    await renting.launch(ctx)
    assert host_keys.pinned(ctx) == []


# --- the lease ---


@pytest.mark.parametrize(
    ("abilities", "wanted", "deadline", "said"),
    [
        (Abilities(lease_end=LeaseEnd.SHUTDOWN), {}, None, "it ends itself after 30 min without a word or a working run"),
        (Abilities(lease_end=LeaseEnd.NOTHING), {}, None, "nothing on x ends it while this machine is off; with `max_hours` or `budget` it carries a deadline"),
        (Abilities(lease_end=LeaseEnd.NOTHING), {"lease_key": "agent"}, None, "the agent on it, which holds your account's key in memory, ends it after 30 min"),
        (Abilities(rents=False), {}, None, ""),
        (Abilities(lease_end=LeaseEnd.PROVIDER), {}, None, "x ends it by itself after 30 min"),
    ],
)  # fmt: skip
def test_what_ends_it_is_said(
    abilities: Abilities, wanted: dict[str, Any], deadline: float | None, said: str
) -> None:
    text = promises.promise("x", abilities, Resources(provider=["local"], **wanted), deadline)
    assert text.startswith(said)


async def test_the_accounts_key_goes_to_the_instance_only_by_choice(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    cloud.abilities = replace(cloud.abilities, lease_end=LeaseEnd.NOTHING)
    cloud.end_command = lambda _: EndCommand("curl …", {"KEY": SecretStr("s3cret")})  # type: ignore[attr-defined]
    agent: Any = FakeAgent({"watching": 1, "able": True, "why": ""})
    await lease.start_watch(ctx, agent)
    assert agent.asked == []
    assert ctx.row.options["watched"] is False
    ctx.spec = ctx.spec.model_copy(
        update={"resources": ctx.spec.resources.model_copy(update={"lease_key": "agent"})}
    )
    await lease.start_watch(ctx, agent)
    assert agent.asked == [("lease",)]
    assert b'"KEY": "s3cret"' in (agent.inputs[0] or b""), "over stdin"
    assert "s3cret" not in repr(ctx.row.options)


async def test_a_watch_that_cannot_end_it_is_said(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    cloud.abilities = replace(cloud.abilities, lease_end=LeaseEnd.SHUTDOWN)
    agent: Any = FakeAgent({"watching": 1, "able": False, "why": "sudo: a password is required"})
    await lease.start_watch(ctx, agent)
    assert "cannot end it (sudo: a password is required)" in ctx.row.options["lease"]


async def test_a_deadline_is_moved_past_the_work_that_is_left(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    moved: list[float] = []

    async def move_deadline(_: str, deadline: float) -> None:
        moved.append(deadline)

    await lease._move_deadline(ctx, 3600.0)
    cloud.move_deadline = move_deadline  # type: ignore[attr-defined]
    await lease._move_deadline(ctx, 3600.0)
    ctx.ledger.change(ctx.row.launch_name or "", deadline=cloud.clock.now + 100)
    await lease._move_deadline(ctx, 3600.0)
    assert moved == [1000 + 1800 + 3600, 1100], "never past the latest end"
