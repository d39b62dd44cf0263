"""Lambda Cloud: our client against the simulated cloud, call by call, and every error code in our words."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from gpusess.errors import (
    AuthRefused,
    BadRequest,
    ConfigError,
    NoCapacity,
    ProviderError,
    ProviderFault,
    QuotaExceeded,
    RateLimited,
    SpecError,
)
from gpusess.providers import open_provider
from gpusess.providers.base import EndsItself, HasLeftovers, InstanceStatus, Offer
from gpusess.providers.lambda_cloud import LambdaProvider
from gpusess.providers.pacing import Pace

from .conftest import Start
from .requests import launch_request


@pytest.fixture(autouse=True)
def unpaced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Turns are noted and not waited for."""
    turns: list[str] = []

    async def turn(self: Pace) -> None:
        turns.append(self._path.name.split("-", 2)[-1] if self._path.name.count("-") > 1 else "call")

    monkeypatch.setattr(Pace, "turn", turn)
    return turns


def lambda_provider(options: dict[str, Any] | None = None) -> LambdaProvider:
    made = open_provider("lambda", options)
    assert isinstance(made, LambdaProvider)
    return made


async def offer(provider: LambdaProvider, name: str = "gpu_1x_a10") -> Offer:
    return next(o for o in await provider.offers() if o.name == name)


async def test_a_life_from_launch_to_end(start_cloud: Start, unpaced: list[str]) -> None:
    sim = start_cloud("lambda")
    sim.control("set", boot=0.0, end=30.0)
    provider = lambda_provider()
    request = launch_request(await offer(provider))
    made = await provider.launch(request)
    assert (made.name, made.status, made.region, made.price) == (
        request.name,
        InstanceStatus.BOOTING,
        "us-west-1",
        0.75,
    )
    assert unpaced[-2:] == ["call", "launch"], "a launch waits for both limits"
    shown = await provider.get(made.id)
    assert shown
    assert (shown.status, shown.name, shown.tags) == (InstanceStatus.RUNNING, request.name, request.tags)
    assert shown.endpoint
    assert (shown.endpoint.port, shown.endpoint.user) == (22, "ubuntu")
    assert made.id in {i.id for i in await provider.list()}
    await provider.restart(made.id)
    await provider.terminate(made.id)
    await provider.terminate(made.id)
    ending = await provider.get(made.id)
    assert ending
    assert ending.status is InstanceStatus.TERMINATING
    sim.control("advance", seconds=30)
    ended = await provider.get(made.id)
    assert ended
    assert ended.status is InstanceStatus.TERMINATED
    sim.control("advance", seconds=3600)
    assert await provider.get(made.id) is None
    await provider.terminate(made.id)
    assert sim.billing() == []
    assert sim.control("keys") == [], "the launch's SSH key went with its instance"
    await provider.close()


async def test_no_secret_is_kept(start_cloud: Start, caplog: pytest.LogCaptureFixture) -> None:
    sim = start_cloud("lambda")
    sim.control("set", boot=0.0)
    provider = lambda_provider()
    request = launch_request(await offer(provider))
    with caplog.at_level("DEBUG"):
        made = await provider.launch(request)
        seen = [repr(await provider.get(made.id)), repr(await provider.list()), repr(provider.__dict__)]
    text = "".join(seen) + caplog.text + provider.account
    for secret in ("jupyter", sim.cloud.key, request.host_private_key.splitlines()[2]):
        assert secret not in text
    await provider.terminate(made.id)
    await provider.close()


async def test_what_else_the_account_holds(start_cloud: Start) -> None:
    start_cloud("lambda")
    provider = lambda_provider()
    assert "us-south-1" in await provider.regions()
    assert {i.architecture for i in await provider.images()} == {"x86_64", "arm64"}
    assert isinstance(provider, HasLeftovers)
    (system,) = await provider.leftovers()
    assert (system.kind, system.name, system.size_gib, system.ours) == (
        "file system",
        "shared-data",
        3.0,
        False,
    )
    gpu, sold_out = await offer(provider, "gpu_1x_h100_pcie"), await offer(provider, "gpu_8x_a100")
    assert (gpu.gpu, gpu.gpus, gpu.gpu_memory_gib, gpu.price) == ("H100 PCIe", 1, 80.0, 2.49)
    assert (sold_out.available, sold_out.gpus, sold_out.price) == (False, 8, 10.32)
    cpu = await offer(provider, "cpu_4x_general")
    assert (cpu.gpu, cpu.gpus, cpu.gpu_memory_gib) == ("", 0, 0.0)
    await provider.close()


async def test_options_reach_the_launch(start_cloud: Start) -> None:
    sim = start_cloud("lambda")
    options = {
        "file_systems": ["shared-data"],
        "firewall_rulesets": ["open"],
        "image_family": "lambda-stack-24-04",
    }
    provider = lambda_provider(options)
    made = await provider.launch(launch_request(await offer(provider)))
    sent = json.loads(sim.calls("launch")[0]["body"])
    assert (sent["file_system_names"], sent["firewall_rulesets"]) == (["shared-data"], [{"id": "rs1"}])
    assert sent["image"] == {"family": "lambda-stack-24-04"}
    await provider.terminate(made.id)
    elsewhere = await offer(provider, "gpu_1x_gh200")
    with pytest.raises(BadRequest, match="no firewall ruleset open in us-east-1"):
        await provider.launch(launch_request(elsewhere))
    with pytest.raises(SpecError, match="no option file_system"):
        lambda_provider({"file_system": ["x"]})
    await provider.close()


async def test_a_refused_launch_leaves_no_key(start_cloud: Start) -> None:
    sim = start_cloud("lambda")
    sim.control("set", no_capacity=True)
    provider = lambda_provider()
    with pytest.raises(NoCapacity) as caught:
        await provider.launch(launch_request(await offer(provider)))
    assert "--wait" in caught.value.hint
    assert sim.control("keys") == []
    wrong_place = lambda_provider({"file_systems": ["shared-data"]})
    with pytest.raises(BadRequest, match="file-system-in-wrong-region"):
        await wrong_place.launch(launch_request(await offer(provider, "gpu_1x_gh200")))
    assert sim.machines() == []


async def test_the_instance_can_be_ended_from_inside(start_cloud: Start) -> None:
    """The command that the agent may be given really ends it, and shows the key to nobody."""
    sim = start_cloud("lambda")
    provider = lambda_provider()
    assert isinstance(provider, EndsItself)
    made = await provider.launch(launch_request(await offer(provider)))
    end = provider.end_command(made)
    assert sim.cloud.key not in end.command + repr(end)
    values = {name: value.get_secret_value() for name, value in end.secrets.items()}
    done = subprocess.run(
        ["sh", "-c", end.command], env={"PATH": "/usr/bin:/bin", **values}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sim.billing() == [] or sim.machines()[0]["ending"]
    await provider.close()


async def test_without_a_key_the_ways_to_give_one_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMBDA_API_KEY", raising=False)
    with pytest.raises(AuthRefused, match="LAMBDA_API_KEY") as caught:
        open_provider("lambda")
    assert "cloud.lambda.ai/api-keys" in caught.value.hint
    monkeypatch.setenv("LAMBDA_API_KEY", "k")
    monkeypatch.setenv("GPUSESS_LAMBDA_URL", "http://example.org")
    with pytest.raises(ConfigError, match="unencrypted"):
        open_provider("lambda")


# --- every documented error ---

CODES: list[tuple[int, str, type[ProviderError]]] = [
    (401, "global/invalid-api-key", AuthRefused),
    (403, "global/account-inactive", AuthRefused),
    (403, "global/invalid-address", AuthRefused),
    (403, "global/forbidden", AuthRefused),
    (400, "global/invalid-parameters", BadRequest),
    (400, "global/duplicate", BadRequest),
    (404, "global/object-does-not-exist", BadRequest),
    (404, "global/not-found", BadRequest),
    (409, "global/conflict", BadRequest),
    (400, "global/quota-exceeded", QuotaExceeded),
    (400, "instance-operations/launch/insufficient-capacity", NoCapacity),
    (400, "instance-operations/launch/file-system-in-wrong-region", BadRequest),
    (400, "filesystems/filesystem-in-use", BadRequest),
    (400, "firewall-rulesets/firewall-ruleset-in-use", BadRequest),
    (500, "global/internal-error", ProviderFault),
    (409, "global/internal-error", ProviderFault),
    (400, "global/unknown", ProviderFault),
    (503, "provider/internal-unavailable", ProviderFault),
    (400, "provider/internal-unavailable", ProviderFault),
    (400, "ssh-keys/key-in-use", BadRequest),
    (418, "some/new-code", BadRequest),
    (599, "some/new-code", ProviderFault),
    (429, "global/whatever", RateLimited),
]


@pytest.fixture(scope="module")
def refusing() -> Iterator[tuple[str, dict[str, Any]]]:
    """A server that answers every call with what the test has put into the dictionary."""
    answer: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            data = answer["body"].encode()
            self.send_response(answer["status"])
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", answer
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("status", "code", "ours"), CODES)
async def test_every_code_in_our_words(
    status: int,
    code: str,
    ours: type[ProviderError],
    refusing: tuple[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    """By the code alone: the message says the opposite here, and is shown without its control characters."""
    url, answer = refusing
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    monkeypatch.setenv("GPUSESS_LAMBDA_URL", url)
    monkeypatch.setenv("LAMBDA_API_KEY", "k")
    message = "no capacity\x1b[31m, quota exceeded, unauthorized"
    answer.update(status=status, body=json.dumps({"error": {"code": code, "message": message}}))
    provider = lambda_provider()
    with pytest.raises(ProviderError) as caught:
        await provider.restart("x")
    assert type(caught.value) is ours or type(caught.value).__base__ is ours
    assert caught.value.hint
    assert "\x1b" not in str(caught.value)
    await provider.close()


@pytest.mark.parametrize(
    ("status", "body", "ours"),
    [
        (429, "API requests too frequent", RateLimited),
        (502, "<html>502 Bad Gateway</html>", ProviderFault),
        (404, "<html>not found</html>", ProviderFault),
        (403, "forbidden", AuthRefused),
        (200, "<html>welcome</html>", ProviderFault),
        (301, "", ProviderFault),
    ],
)
async def test_answers_that_are_not_lambdas(
    status: int,
    body: str,
    ours: type[ProviderError],
    refusing: tuple[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    url, answer = refusing
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    monkeypatch.setenv("GPUSESS_LAMBDA_URL", url)
    monkeypatch.setenv("LAMBDA_API_KEY", "k")
    answer.update(status=status, body=body)
    provider = lambda_provider()
    with pytest.raises(ours):
        await provider.restart("x")
    await provider.close()
