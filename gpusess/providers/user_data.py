"""What a new machine is told at its first start: whose key may log in, and which host key it answers with.
Text only; how it gets there is each provider's.
"""

from __future__ import annotations

import json

from gpusess.providers.base import LaunchRequest


def cloud_config(request: LaunchRequest, *, commands: list[str] | None = None) -> str:
    """cloud-init's `#cloud-config` (its JSON is YAML): the minted host key in place of the image's own ones.

    The private host key can be read by root on the instance through its metadata; it is minted for this one
    launch and never used again.
    """
    config: dict[str, object] = {
        "ssh_deletekeys": True,
        "ssh_keys": {
            "ed25519_private": request.host_private_key,
            "ed25519_public": request.host_public_key,
        },
        "ssh_genkeytypes": [],
        "ssh_authorized_keys": [request.client_public_key],
    }
    if commands:
        config["runcmd"] = [["sh", "-c", command] for command in commands]
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"


def start_script(request: LaunchRequest) -> str:
    """A POSIX shell script for images without cloud-init: puts both keys in place, and no more.

    Run as root, before SSH's server starts. It may run again at any start of the machine.
    """
    return f"""#!/bin/sh
set -eu
umask 077
mkdir -p /etc/ssh /root/.ssh /run/sshd
rm -f /etc/ssh/ssh_host_*
cat > /etc/ssh/ssh_host_ed25519_key <<'GPUSESS_KEY'
{request.host_private_key.strip()}
GPUSESS_KEY
cat > /etc/ssh/ssh_host_ed25519_key.pub <<'GPUSESS_KEY'
{request.host_public_key.strip()}
GPUSESS_KEY
chmod 644 /etc/ssh/ssh_host_ed25519_key.pub
touch /root/.ssh/authorized_keys
grep -qxF '{request.client_public_key.strip()}' /root/.ssh/authorized_keys ||
  echo '{request.client_public_key.strip()}' >> /root/.ssh/authorized_keys
"""
