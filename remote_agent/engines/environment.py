"""Environment variables that libraries read when they are first imported, set before anything imports them.

What the user has set stays.
"""

from __future__ import annotations

import os
from pathlib import Path

from remote_agent.protocol import Order

COMMON = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
VLLM = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_CONFIGURE_LOGGING": "1"}
VLLM_CPU = {"TORCH_COMPILE_DISABLE": "1"}
"""Without a GPU compiling takes longer than it saves, and needs a C++ compiler."""


def settle(order: Order) -> None:
    """Set what the order's engine needs. To be called before any of its libraries is imported."""
    wanted = dict(COMMON)
    if order.engine.name == "vllm":
        wanted |= VLLM
        if not has_gpu():
            wanted |= VLLM_CPU
            if order.engine.threads:
                wanted |= {"OMP_NUM_THREADS": str(order.engine.threads)}
                cores = sorted(os.sched_getaffinity(0))[: order.engine.threads]
                wanted |= {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores))}
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


def has_gpu() -> bool:
    """Whether an NVIDIA or AMD GPU's device file is here; asked without importing anything."""
    return Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()
