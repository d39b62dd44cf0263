"""A process in the driver's place: rents a local instance, starts the writer there, and follows it home.

python -m benchmarks.stream_driver TOTAL RATE BATCH OUT: OUT becomes one JSON object with what the writer
printed (`moments`), when which length of the mirror was reached (`arrivals`), and our CPU seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from benchmarks import worlds
from gpusess import paths
from gpusess.providers.base import LaunchRequest
from gpusess.providers.local import LocalProvider
from gpusess.remote.agent import ROOT, Agent, run_folder
from gpusess.remote.follow import Mirror, follow
from gpusess.remote.ssh import Connection, Target, connect, mint_keypair
from gpusess.sessions.mirror import RunMirror
from gpusess.sessions.running import SYNC_EVERY
from remote_agent.protocol import JOURNAL

PATIENCE = 60.0


async def main(total: int, rate: float, batch: int, out: Path) -> None:
    """Rent, write and follow, give back."""
    provider = LocalProvider()
    host_private, host_public = mint_keypair("host")
    client_private, client_public = mint_keypair("client")
    key = paths.home() / "bench_key"
    with os.fdopen(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        file.write(client_private)
    offer = (await provider.offers())[0]
    request = LaunchRequest("gpusess-bench", offer, client_public, host_private, {}, lease_seconds=0.0)
    instance = await provider.launch(request)
    try:
        assert instance.endpoint
        async with await connect(Target(instance.endpoint, [host_public], [key])) as connection:
            found = await _follow_writer(connection, total, rate, batch)
    finally:
        await provider.terminate(instance.id)
    out.write_text(json.dumps(found))


async def _follow_writer(
    connection: Connection, total: int, rate: float, batch: int
) -> dict[str, list[list[float]] | float]:
    agent = Agent(connection, lambda _: None)
    await agent.install()
    await agent.use_python("python3")
    folder = run_folder(worlds.RUN)
    templates = {
        "opening": worlds.opening(total),
        "result": worlds.result(1),
        "heartbeat": worlds.heartbeat(1),
    }
    await connection.check(
        f"mkdir -p {folder} && cat > {folder}/templates.json", input=json.dumps(templates).encode()
    )
    mirror = Mirror(worlds.mirror(JOURNAL).parent)
    view = RunMirror(mirror.folder)
    arrivals: list[list[float]] = []
    all_here = asyncio.Event()
    synced = time.monotonic()

    def on_bytes() -> None:
        # What the driver does at each frame, after the moment is noted.
        nonlocal synced
        arrivals.append([mirror.length(JOURNAL), time.time()])
        view.refresh()
        if view.state.done >= total:
            all_here.set()
        if time.monotonic() - synced > SYNC_EVERY:
            synced = time.monotonic()
            mirror.sync()

    following = asyncio.create_task(follow(connection, agent, worlds.RUN, mirror, on_bytes))
    writer = Path(__file__).with_name("stream_writer.py").read_bytes()
    agent_file = f'"$(ls -d "$HOME"/{ROOT}/agents/*.pyz)"'
    command = f"PYTHONPATH={agent_file} python3 - {folder} {total} {rate} {batch}"
    before = time.process_time()
    try:
        said = await connection.check(command, input=writer, timeout=total / rate * 3 + PATIENCE)
        await asyncio.wait_for(all_here.wait(), PATIENCE)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        mirror.close()
    moments = [json.loads(line) for line in said.splitlines()]
    return {"moments": moments, "arrivals": arrivals, "cpu": time.process_time() - before}


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
