"""The start of a rented container: keys in place, an SSH server in front, and a tool with which the container
can end itself. For clouds that run an image without cloud-init; how the script gets there is each cloud's.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from gpusess.providers.base import LaunchRequest
from gpusess.providers.user_data import start_script

END = "/usr/local/sbin/gpusess-end"
"""Ends the instance that it runs on; for root only, without arguments, safe to run again."""

START_VARIABLE = "GPUSESS_START"
"""The environment variable that carries the start script, packed."""

TAGS_VARIABLE = "GPUSESS_TAGS"
"""The environment variable that carries the launch request's tags, packed."""

_FILE = "/root/.gpusess-start"
COMMAND = f"umask 077; printf %s ${START_VARIABLE} | base64 -d > {_FILE} && exec sh {_FILE}"
"""What the container's shell is told to run; free of quotes."""

_WATCH_SECONDS = 30


@dataclass(frozen=True, slots=True)
class EndCall:
    """A call to the cloud's API by which a container ends itself, with a key that can end nothing else.

    `url`, `key` and `body` are text of a shell's here-document: they may name variables of the container
    (`${NAME:-}`), and hold neither tabs nor lines.
    """

    method: str
    url: str
    key: str
    body: str = ""


def container_script(request: LaunchRequest, ends: list[EndCall]) -> str:
    """The whole script, run as root by the container's first process, which it stays. Ends with the server.

    ends: ways to end the container, tried in this order.
    """
    return "\n".join(
        [
            "#!/bin/sh",
            "export PATH=${PATH:-/bin}:/usr/sbin:/usr/bin",
            "command -v sshd > /dev/null ||",
            "  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y openssh-server; }",
            start_script(request),
            _environment(),
            _end_tool(ends),
            _server(request.deadline),
        ]
    )


def packed(text: str) -> str:
    """Fit for an environment variable: base64, one line."""
    return base64.b64encode(text.encode()).decode()


def packed_tags(tags: dict[str, str]) -> str:
    return packed(json.dumps(tags, separators=(",", ":")))


def unpacked_tags(text: str | None) -> dict[str, str]:
    """The tags of `packed_tags`; empty where the text is something else."""
    try:
        tags = json.loads(base64.b64decode(text or "", validate=True))
    except ValueError:
        return {}
    if not isinstance(tags, dict):
        return {}
    return {k: v for k, v in tags.items() if isinstance(v, str)}


def _environment() -> str:
    """What the image sets for its programs; an SSH server passes none of it on. No keys among it."""
    names = "PATH|LD_LIBRARY_PATH|LIBRARY_PATH|CUDA_[A-Z_]+|NVIDIA_[A-Z_]+|NCCL_[A-Z_]+|HF_HOME|LANG|LC_ALL"
    return f"env | grep -E '^({names})=' > /root/.ssh/environment || true"


def _end_tool(ends: list[EndCall]) -> str:
    """The keys go into a file of root's: SSH sessions, and with them the runs, do not inherit them."""
    values = "\n".join(f"{end.method}\t{end.url}\t{end.key}\t{end.body}" for end in ends)
    return f"""mkdir -p /usr/local/sbin /etc/gpusess
cat > /etc/gpusess/end <<GPUSESS_VALUES
{values}
GPUSESS_VALUES
echo "#!$(command -v python3 || echo /usr/bin/python3)" > {END}
cat >> {END} <<'GPUSESS_TOOL'
{_TOOL}GPUSESS_TOOL
chmod 700 {END}
"""


_TOOL = '''\
"""Ends this instance. Exit status 0: its cloud has agreed."""
import sys
import urllib.request

failed = "no way is known"
for line in open("/etc/gpusess/end"):
    method, url, key, body = line.rstrip("\\n").split("\\t")
    headers = {"Authorization": "Bearer " + key, "User-Agent": "gpusess", "Content-Type": "application/json"}
    request = urllib.request.Request(url, body.encode() or None, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            said = answer.read(65536)
    except OSError as error:
        failed = f"{method} {url}: {error}"
        continue
    if b'"errors"' not in said and b'"success":false' not in said.replace(b" ", b""):
        sys.exit(0)
    failed = f"{method} {url}: {said[:300]!r}"
sys.exit(failed)
'''


def _server(deadline: float | None) -> str:
    """The shell stays process 1: an SSH server would wipe that one's environment, where the keys are."""
    watch = "watch="
    if deadline is not None:
        watch = (
            f"{{ while sleep {_WATCH_SECONDS}; do [ $(date +%s) -lt {deadline:.0f} ] || {END}; done; }}"
            " > /dev/null 2>&1 & watch=$!"
        )
    return f"""umask 022
"$(command -v sshd)" -D -e -o HostKey=/etc/ssh/ssh_host_ed25519_key -o PasswordAuthentication=no \\
  -o PermitRootLogin=prohibit-password -o PermitUserEnvironment=yes & server=$!
trap 'kill $server' TERM INT
{watch}
wait $server || true
[ -z "$watch" ] || kill $watch
"""
