"""A container's start script: run for real, as root with OpenSSH's server, in namespaces of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusess.providers import container
from gpusess.providers.base import LaunchRequest, Offer
from gpusess.remote.keys import mint_keypair

OFFER = Offer("test", "t", "r", 1.0, "", 0, 1, 1.0, True)


def _request(deadline: float | None = None) -> tuple[LaunchRequest, str]:
    """A request, and the client's private key."""
    private, public = mint_keypair("client")
    host_private, host_public = mint_keypair("host")
    request = LaunchRequest(
        "n", OFFER, public, host_private, {"a": "b"}, 0.0, deadline=deadline, host_public_key=host_public
    )
    return request, private


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=60), max_size=5))
def test_tags_come_back_as_they_went(tags: dict[str, str]) -> None:
    packed = container.packed_tags(tags)
    assert packed.isascii()
    assert packed.split() == [packed]
    assert container.unpacked_tags(packed) == tags


@given(st.text() | st.none())
def test_anybodys_text_is_no_error(text: str | None) -> None:
    assert all(isinstance(v, str) for v in container.unpacked_tags(text).values())


def test_the_key_stands_in_no_command_line() -> None:
    request, _ = _request()
    assert request.host_private_key.split("\n")[1] in container.container_script(request, [])
    assert "PRIVATE" not in container.COMMAND
    assert "'" not in container.COMMAND
    assert '"' not in container.COMMAND


def _can_be_root_in_namespaces() -> bool:
    if (
        shutil.which("unshare") is None
        or shutil.which("sshd", path="/usr/sbin:/usr/bin") is None
        or os.getuid()
    ):
        return False
    return subprocess.run(["unshare", "-mnp", "--fork", "true"], capture_output=True).returncode == 0


DRIVE = """set -e
ip link set lo up 2>/dev/null || ifconfig lo up
mount -t tmpfs none "$WHERE/layers"
for folder in /etc /root /run /usr/local; do
  name=$(echo $folder | tr / _); mkdir -p "$WHERE/layers/up$name" "$WHERE/layers/work$name"
  mount -t overlay none -o "lowerdir=$folder,upperdir=$WHERE/layers/up$name,workdir=$WHERE/layers/work$name" $folder
done
sh -c "$COMMAND" > "$WHERE/said" 2>&1 & started=$!
for try in $(seq 100); do ssh-keyscan -T 2 -t ed25519 127.0.0.1 2>/dev/null | grep -q ssh-ed25519 && break; sleep 0.1; done
ssh-keyscan -t ed25519,rsa,ecdsa 127.0.0.1 2>/dev/null > "$WHERE/scanned"
cp "$WHERE/scanned" "$WHERE/known"
ssh -F none -i "$WHERE/client" -o IdentitiesOnly=yes -o UserKnownHostsFile="$WHERE/known" -o StrictHostKeyChecking=yes \
  root@127.0.0.1 'env; stat -c %a /etc/gpusess/end /usr/local/sbin/gpusess-end; umask' > "$WHERE/session"
cp /etc/gpusess/end "$WHERE/end"
tr '\\0' '\\n' < /proc/$started/environ | grep -c '^CLOUD_KEY=' > "$WHERE/environ" || true
kill -TERM $started; wait $started || true
"""


@pytest.mark.slow
@pytest.mark.sample
@pytest.mark.skipif(not _can_be_root_in_namespaces(), reason="needs root, unshare and sshd")
def test_the_script_for_real(tmp_path: Path) -> None:
    """As a container runs it: the SSH server has the minted key and no other, lets the client in, gives sessions
    the image's paths and not the container's key, and the first process keeps that key for the watch."""
    request, client_key = _request(deadline=time.time() + 3600)
    (tmp_path / "layers").mkdir()
    (tmp_path / "client").write_text(client_key)
    (tmp_path / "client").chmod(0o600)
    ends = [container.EndCall("DELETE", "https://cloud.example/pods/${POD:-}", "${CLOUD_KEY:-}")]
    done = subprocess.run(
        ["unshare", "-mnp", "--fork", "--mount-proc", "bash", "-c", DRIVE],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "WHERE": str(tmp_path), "CLOUD_KEY": "k3y", "POD": "p0d",
            "CUDA_VERSION": "12.8", "LD_LIBRARY_PATH": "/usr/local/cuda/lib64", "COMMAND": container.COMMAND,
            container.START_VARIABLE: container.packed(container.container_script(request, ends)),
        },
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    said = (tmp_path / "said").read_text() if (tmp_path / "said").exists() else ""
    assert done.returncode == 0, done.stdout + done.stderr + said
    keys = [line.split()[1:3] for line in (tmp_path / "scanned").read_text().splitlines()]
    assert keys == [request.host_public_key.split()[:2]]
    session = (tmp_path / "session").read_text().split("\n")
    assert {"CUDA_VERSION=12.8", "LD_LIBRARY_PATH=/usr/local/cuda/lib64", "600", "700", "0022"} <= set(
        session
    )
    assert "k3y" not in "\n".join(session)
    assert (tmp_path / "end").read_text() == "DELETE\thttps://cloud.example/pods/p0d\tk3y\t\n"
    assert (tmp_path / "environ").read_text().strip() == "1"


def test_the_tool_tries_one_way_after_the_other(tmp_path: Path) -> None:
    """Against servers that refuse, that say no with status 200, and that agree."""
    from tests.cloud.canned import canned
    from tests.cloud.http import Reply

    tool = tmp_path / "end"
    with canned() as no, canned() as half, canned() as yes:
        no.reply = Reply(403, {"detail": "no"})
        half.reply = Reply(200, {"errors": [{"message": "no"}]})
        yes.reply = Reply(200, {"success": True})
        values = tmp_path / "values"
        values.write_text("".join(f"POST\t{s.url}/x\tk3y\t{json.dumps({'a': 1})}\n" for s in (no, half, yes)))
        tool.write_text(container._TOOL.replace("/etc/gpusess/end", str(values)))
        assert subprocess.run(["python3", tool], capture_output=True, timeout=30).returncode == 0
        assert [len(s.asked) for s in (no, half, yes)] == [1, 1, 1]
        assert yes.asked[0].headers["authorization"] == "Bearer k3y"
        yes.reply = Reply(200, {"success": False})
        failed = subprocess.run(["python3", tool], capture_output=True, text=True, timeout=30)
        assert failed.returncode != 0
        assert "k3y" not in failed.stdout + failed.stderr
