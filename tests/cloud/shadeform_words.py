"""Shadeform's words for its simulator: what it rents, what it takes, and how it says no."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .http import Reply
from .shapes import Shape, many, one_of, table, text

NEVER = "0001-01-01T00:00:00Z"
STATUS = {
    "booting": "pending",
    "running": "active",
    "ending": "deleting",
    "ended": "deleted",
    "failed": "error",
}
# (cloud, type): (cents, GPU, GPUs, VRAM, vCPUs, GB, deployment, interconnect, {region: available})
Row = tuple[int, str, int, int, int, int, str, str, dict[str, bool]]
TYPES: dict[tuple[str, str], Row] = {
    ("hyperstack", "A6000"): (
        50,
        "A6000",
        1,
        48,
        28,
        58,
        "vm",
        "pcie",
        {"canada-1": True, "norway-1": False},
    ),
    ("lambdalabs", "H100x8"): (2392, "H100", 8, 80, 208, 1800, "vm", "sxm5", {"us-west-1": True}),
    ("verda", "H200"): (289, "H200", 1, 141, 44, 182, "vm", "sxm5", {"finland-2": False}),
    ("runpod", "A100"): (119, "A100", 1, 80, 8, 117, "container", "pcie", {"romania-1": True}),
}
LIMITS: Shape = table(date_threshold=text(), spend_threshold=text(r"^[0-9]+(\.[0-9]+)?$"))
CREATE: Shape = table(
    "cloud region shade_instance_type shade_cloud name",
    cloud=text(),
    region=text(),
    shade_instance_type=text(),
    shade_cloud={"type": "boolean"},
    name=text(least=1),
    os=text(),
    template_id=text(),
    launch_configuration=table(
        "type",
        type=one_of("docker", "script"),
        script_configuration=table("base64_script", base64_script=text()),
        docker_configuration=table(),
    ),
    volume_ids=many(text()),
    ssh_key_id=text(),
    auto_delete=LIMITS,
    alert=LIMITS,
    volume_mount=table(auto={"type": "boolean"}),
    tags=many(text()),
    envs=many(table("name value", name=text(), value=text())),
)
UPDATE: Shape = table(name=text(least=1), auto_delete=LIMITS, alert=LIMITS, tags=many(text()))
KEY: Shape = table("name public_key", name=text(least=1), public_key=text())


def error(status: int, code: str, message: str) -> Reply:
    return Reply(status, {"error_code": code, "error": message})


def to_type(cloud: str, name: str, row: Row) -> dict[str, Any]:
    return {
        "cloud": cloud,
        "shade_instance_type": name,
        "cloud_instance_type": f"{name}-native",
        "configuration": {**configuration(row), "os_options": ["ubuntu22.04_cuda12.2"]},
        "hourly_price": row[0],
        "deployment_type": row[6],
        "availability": [
            {"region": r, "available": there, "display_name": r.upper()} for r, there in row[8].items()
        ],
        "boot_time": {"min_boot_in_sec": 60, "max_boot_in_sec": 300},
    }


def configuration(row: Row) -> dict[str, Any]:
    _, gpu, gpus, vram, vcpus, memory, _, interconnect, _ = row
    return {
        "memory_in_gb": memory,
        "storage_in_gb": 256,
        "vcpus": vcpus,
        "num_gpus": gpus,
        "gpu_type": gpu,
        "interconnect": interconnect,
        "nvlink": interconnect.startswith("sxm"),
        "vram_per_gpu_in_gb": vram,
        "gpu_manufacturer": "nvidia",
    }


def bad_date(limits: dict[str, str]) -> str | None:
    """What is wrong with the date of an auto_delete."""
    given = limits.get("date_threshold")
    if given is None:
        return None
    try:
        if datetime.fromisoformat(given).tzinfo is None:
            return "date_threshold has no time zone"
    except ValueError:
        return "date_threshold is no date"
    return None


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
