"""No child process outlives the worker: a small watcher ends the worker's whole process group with it.

The kernel ends a worker's own children only if each of them asked for it, and libraries that start processes
do not. A worker that is killed cannot clean up, so somebody else has to.
"""

from __future__ import annotations

import os
import subprocess
import sys

_WATCH = """
import os, select, signal, sys
group, worker = int(sys.argv[1]), os.pidfd_open(int(sys.argv[1]))
print("watching", flush=True)
poll = select.poll()
poll.register(worker, select.POLLIN)
poll.poll()
try:
    os.killpg(group, signal.SIGKILL)
except ProcessLookupError:
    pass
"""


def end_children_with_me() -> None:
    """Make this process the leader of a group, and have the rest of the group killed when it has ended.

    Children started before stay in their old group.
    """
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    watcher = subprocess.Popen(
        [sys.executable, "-c", _WATCH, str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert watcher.stdout is not None
    with watcher.stdout as said:
        if said.readline().strip() != b"watching":
            raise OSError("the watcher of the worker's children did not start")
    watcher.returncode = 0  # it lives longer than this process; nobody waits for it
