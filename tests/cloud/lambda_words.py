"""Lambda Cloud's words for its simulator: what it rents, what it takes, and how it says no."""

from __future__ import annotations

from typing import Any

from .http import Reply
from .shapes import Shape, many, number, one_of, table, text

REGIONS = {
    "us-west-1": "California, USA",
    "us-east-1": "Virginia, USA",
    "us-south-1": "Texas, USA",
    "europe-central-1": "Frankfurt, Germany",
}
# name: (description, GPU, cents an hour, vCPUs, GiB, storage GiB, GPUs, regions with capacity)
TYPES: dict[str, tuple[str, str, int, int, int, int, int, list[str]]] = {
    "gpu_1x_a10": (
        "1x A10 (24 GB PCIe)",
        "A10 (24 GB PCIe)",
        75,
        30,
        200,
        1400,
        1,
        ["us-west-1", "us-east-1"],
    ),
    "gpu_1x_h100_pcie": ("1x H100 (80 GB PCIe)", "H100 (80 GB PCIe)", 249, 26, 200, 1024, 1, ["us-west-1"]),
    "gpu_8x_a100": ("8x A100 (40 GB SXM4)", "A100 (40 GB SXM4)", 1032, 124, 1800, 6000, 8, []),
    "gpu_1x_gh200": ("1x GH200 (96 GB)", "GH200 (96 GB)", 149, 64, 432, 4096, 1, ["us-east-1"]),
    "cpu_4x_general": ("4x vCPUs", "N/A", 8, 4, 16, 512, 0, ["us-east-1", "us-south-1"]),
}
STATUS = {
    "booting": "booting",
    "running": "active",
    "ending": "terminating",
    "ended": "terminated",
    "failed": "unhealthy",
    "preempted": "preempted",
}

TAG = table("key value", key=text(r"^[a-z][a-z0-9-:]+$", 55), value=text(most=128))
ID = table("id", id=text())
LAUNCH: Shape = table(
    "region_name instance_type_name ssh_key_names",
    region_name=text(),
    instance_type_name=text(),
    ssh_key_names=many(text(), 1, 1),
    name=text(most=64),
    hostname=text(r"^[a-z0-9][0-9a-z-]{0,62}$", 63, 1),
    image={"anyOf": [ID, table("family", family=text())]},
    file_system_names=many(text()),
    file_system_mounts=many(
        table(
            "mount_point file_system_id",
            mount_point=text(r"^(/home|/lambda/nfs|/data)[//a-zA-Z0-9-]*$", 256),
            file_system_id=text(),
        )
    ),
    user_data=text(most=1_000_000),
    tags=many(TAG),
    firewall_rulesets=many(ID),
    # Gone from the document; the live API still takes 1, and older clients send it.
    quantity=one_of(1),
)
RULE: Shape = table(
    "protocol source_network description",
    protocol={"enum": ["tcp", "udp", "icmp", "all"]},
    port_range=many(number(1, 65535, whole=True), 2, 2),
    source_network=text(r"^[0-9.]+(/[0-9]+)?$"),
    description=text(most=128),
)
IDS: Shape = table("instance_ids", instance_ids=many(text()))


def error(status: int, code: str, message: str, suggestion: str = "Check the request.") -> Reply:
    return Reply(status, {"error": {"code": code, "message": message, "suggestion": suggestion}})


def bad(message: str) -> Reply:
    return error(400, "global/invalid-parameters", message)


def missing(what: str) -> Reply:
    return error(404, "global/object-does-not-exist", f"Specified {what} does not exist.")


def region(name: str) -> dict[str, str]:
    return {"name": name, "description": REGIONS[name]}


def instance_type(name: str) -> dict[str, Any]:
    description, gpu, cents, vcpus, memory, storage, gpus, _ = TYPES[name]
    return {
        "name": name,
        "description": description,
        "gpu_description": gpu,
        "price_cents_per_hour": cents,
        "specs": {"vcpus": vcpus, "memory_gib": memory, "storage_gib": storage, "gpus": gpus},
    }


def actions(phase: str) -> dict[str, Any]:
    able: dict[str, Any] = {"available": True}
    unable = {
        "available": False,
        "reason_code": "vm-is-terminating" if phase in ("ending", "ended") else "vm-has-not-launched",
        "reason_description": "not now",
    }
    free = able if phase == "running" else unable
    ends = unable if phase in ("ending", "ended") else able
    return {"migrate": unable, "rebuild": free, "restart": free, "cold_reboot": free, "terminate": ends}
