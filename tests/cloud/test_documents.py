"""Our client and our simulators against the providers' official documents, with judges that others wrote.

`GPUSESS_SCHEMATHESIS` and `GPUSESS_PRISM` name the programs `st` and `prism` where they are not on the PATH.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gpusess.providers import open_provider
from gpusess.providers.base import InstanceStatus, Provider
from gpusess.providers.pacing import Pace

from .client import Simulator
from .conftest import Start
from .http import Route
from .openapi import document_path, load
from .requests import launch_request
from .serve import CLOUDS, cloud_class
from .simulator import Cloud

FUZZER = os.environ.get("GPUSESS_SCHEMATHESIS") or shutil.which("st") or ""
PRISM = os.environ.get("GPUSESS_PRISM") or shutil.which("prism") or ""
DOCUMENTED = [name for name in CLOUDS if cloud_class(name).document]


@pytest.fixture(autouse=True)
def unpaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async def turn(self: Pace) -> None: ...

    monkeypatch.setattr(Pace, "turn", turn)


def routes(cloud: type[Cloud]) -> list[Route]:
    """The cloud's operations that its document has."""
    found = [r for n in dir(cloud) for r in getattr(getattr(cloud, n), "routes", ())]
    return [r for r in found if r.op not in cloud.unlisted]


def needs_document(name: str) -> Path:
    path = document_path(cloud_class(name).document)
    if not path.exists():
        pytest.skip("the official document is not there (GPUSESS_SHARED)")
    return path


async def whole_life(provider: Provider) -> None:
    """Every call that a session makes, once."""
    cheapest = min((o for o in await provider.offers() if o.available), key=lambda o: o.price)
    made = await provider.launch(launch_request(cheapest))
    shown = None
    for _ in range(50):
        shown = await provider.get(made.id)
        if shown and shown.status is InstanceStatus.RUNNING and shown.endpoint:
            break
        time.sleep(0.1)
    assert shown
    assert shown.status is InstanceStatus.RUNNING
    assert made.id in {i.id for i in await provider.list()}
    await provider.terminate(made.id)
    ended = await provider.get(made.id)
    assert ended is None or ended.status in (InstanceStatus.TERMINATING, InstanceStatus.TERMINATED)


@pytest.mark.parametrize("name", DOCUMENTED)
async def test_every_call_is_as_the_document_says(start_cloud: Start, name: str) -> None:
    """Both ways; the fixture looks at what the simulator's judge has found."""
    needs_document(name)
    sim = start_cloud(name)
    assert sim.judged
    provider = open_provider(name)
    await whole_life(provider)
    await provider.close()


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_judge_sees_what_is_wrong(name: str) -> None:
    """A judge that never complains would prove nothing."""
    cloud, judge = cloud_class(name), load(needs_document(name))
    path = next(r.path for r in routes(cloud) if r.op == "list").removeprefix(cloud.document_prefix)
    assert judge.reply_problems("GET", path, 200, {"strange": 1})
    assert judge.reply_problems("GET", path, 200, [1])
    assert judge.request_problems("GET", path, {"strange": ["1"]}, None)
    assert judge.request_problems("GET", "/no/such/path", {}, None)


# --- fuzzing ---


@pytest.mark.slow
@pytest.mark.skipif(not FUZZER, reason="schemathesis is not installed")
@pytest.mark.parametrize("name", DOCUMENTED)
def test_fuzzed_by_the_document(name: str, tmp_path: Path) -> None:
    document = needs_document(name)
    with Simulator(name, tmp_path / "sim", judge=False) as sim:
        cloud = sim.cloud
        checks = ["not_a_server_error"]
        if not cloud.contradicted:
            checks += ["response_schema_conformance", "content_type_conformance", "ignored_auth"]
        if cloud.documents_errors and not cloud.contradicted:
            checks.append("status_code_conformance")
        command = [
            FUZZER, "run", str(document), "--url", sim.origin + cloud.document_prefix,
            "--max-examples", "10", "--seed", "1", "--phases", "examples,fuzzing", "--checks", ",".join(checks),
        ]  # fmt: skip
        for header, value in cloud.auth_headers().items():
            command += ["-H", f"{header}: {value}"]
        for path in sorted({r.path.removeprefix(cloud.document_prefix) for r in routes(cloud)}):
            command += ["--include-path", path]
        told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert told.returncode == 0, told.stdout[-6000:] + told.stderr[-1000:]
        assert sim.violations() == []


# --- Prism ---


@contextmanager
def prism(*arguments: str) -> Iterator[str]:
    """A Prism server; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [PRISM, *arguments, "-p", str(port), "-h", "127.0.0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        origin = f"http://127.0.0.1:{port}"
        for _ in range(300):
            assert process.poll() is None, process.stdout and process.stdout.read()
            try:
                httpx.get(origin, timeout=2)
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield origin
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout:
            process.stdout.close()


@pytest.mark.slow
@pytest.mark.skipif(not PRISM, reason="Prism is not installed")
@pytest.mark.parametrize("name", DOCUMENTED)
async def test_through_a_proxy_that_checks_both_ways(
    start_cloud: Start, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prism refuses a request, and breaks an answer, that is not as the document says."""
    document = needs_document(name)
    if cloud_class(name).contradicted:
        pytest.skip("the vendor's own client contradicts the document in places")
    sim = start_cloud(name)
    with prism("proxy", str(document), sim.origin + sim.cloud.document_prefix, "--errors") as origin:
        rest = sim.cloud.base_path.removeprefix(sim.cloud.document_prefix)
        monkeypatch.setenv(f"GPUSESS_{name.upper()}_URL", origin + rest)
        provider = open_provider(name)
        await whole_life(provider)
        await provider.close()
