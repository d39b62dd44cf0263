"""Other people's clients, driving a simulated cloud as they are: `PYTHON other_clients.py CLOUD URL KEY`.

It runs in an environment of theirs, and imports nothing of ours. Each client goes through a life: look, add a key,
launch, find, end. It prints a line for each client: `ok NAME`, or `absent NAME` where it is not installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPRnnjV4TmQwkLxK4LkRkU5a8pG0ZAWCEyHCAcChM4Mz test"


def generated_lambda(url: str, key: str) -> None:
    """A client generated from the provider's own (older) document."""
    package = importlib.import_module("lambda_cloud_api_client")
    api = {
        name: importlib.import_module(f"lambda_cloud_api_client.api.default.{name}")
        for name in (
            "instance_types", "add_ssh_key", "launch_instance", "list_instances", "get_instance",
            "terminate_instance", "list_ssh_keys", "delete_ssh_key", "list_file_systems", "restart_instance",
        )
    }  # fmt: skip
    models = importlib.import_module("lambda_cloud_api_client.models")

    def call(name: str, *args: Any, **more: Any) -> Any:
        answer = api[name].sync_detailed(*args, client=client, **more)
        assert answer.status_code == 200, (name, answer.content)
        return json.loads(answer.content)["data"]

    with package.AuthenticatedClient(base_url=f"{url}/api/v1", token=key) as client:
        assert "gpu_1x_a10" in call("instance_types")
        assert call("list_file_systems")
        made = call("add_ssh_key", body=models.AddSSHKeyBody(name="generated", public_key=PUBLIC_KEY))
        order = models.LaunchInstanceBody("us-west-1", "gpu_1x_a10", ["generated"], name="one")
        (id,) = call("launch_instance", body=order)["instance_ids"]
        assert id in {i["id"] for i in call("list_instances")}
        assert call("get_instance", id)["name"] == "one"
        time.sleep(0.5)
        call("restart_instance", body=models.RestartInstanceBody([id]))
        call("terminate_instance", body=models.TerminateInstanceBody([id]))
        call("delete_ssh_key", made["id"])
        assert "generated" not in {k["name"] for k in call("list_ssh_keys")}


def orchestrator_lambda(url: str, key: str) -> None:
    module = importlib.import_module("dstack._internal.core.backends.lambdalabs.api_client")
    module.API_URL = f"{url}/api/v1"
    assert not module.LambdaAPIClient("wrong").validate_api_key()
    client = module.LambdaAPIClient(key)
    assert client.validate_api_key()
    assert client.list_instance_types()
    client.add_ssh_key("orchestrator", PUBLIC_KEY)
    assert "orchestrator" in {k["name"] for k in client.list_ssh_keys()}
    (id,) = client.launch_instances("us-west-1", "gpu_1x_a10", ["orchestrator"], [], 1, "two")
    assert id in {i["id"] for i in client.list_instances()}
    client.terminate_instances([id])


def broker_lambda(url: str, key: str) -> None:
    module = importlib.import_module("sky.provision.lambda_cloud.lambda_utils")
    module.API_ENDPOINT = f"{url}/api/v1"
    with tempfile.NamedTemporaryFile("w", suffix="keys") as file:
        file.write(f"api_key = {key}\n")
        file.flush()
        module.CREDENTIALS_PATH = file.name
        client = module.LambdaCloudClient()
    name, exists = client.get_unique_ssh_key_name("broker", PUBLIC_KEY)
    assert not exists
    client.register_ssh_key(name, PUBLIC_KEY)
    assert client.list_catalog()
    made = client.create_instances("gpu_1x_a10", "us-west-1", 1, "three", name)
    (id,) = made if isinstance(made, list) else made["instance_ids"]
    assert id in {i["id"] for i in client.list_instances()}
    assert client.list_firewall_rules()
    client.remove_instances([id])


def catalogue_lambda(url: str, key: str) -> None:
    module = importlib.import_module("gpuhunt.providers.lambdalabs")
    module.INSTANCE_TYPES_URL = f"{url}/api/v1/instance-types"
    module.IMAGES_URL = f"{url}/api/v1/images"
    found = module.LambdaLabsProvider(key).get()
    assert {"A10", "H100", "GH200"} <= {offer.gpu_name for offer in found}


def broker_shadeform(url: str, key: str) -> None:
    module = importlib.import_module("sky.provision.shadeform.shadeform_utils")
    module.SHADEFORM_API_BASE = url
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "api_key"
        path.write_text(key)
        module.SHADEFORM_API_KEY_PATH = str(path)
        added = module.add_ssh_key("broker", PUBLIC_KEY)
        assert added["id"] in {k["id"] for k in module.get_ssh_keys()["ssh_keys"]}
        order = {
            "cloud": "hyperstack", "region": "canada-1", "shade_instance_type": "A6000", "shade_cloud": True,
            "name": "four", "ssh_key_id": added["id"],
        }  # fmt: skip
        id = module.create_instance(order)["id"]
        assert id in {i["id"] for i in module.get_instances()["instances"]}
        time.sleep(0.5)
        assert module.get_instance_info(id)["status"] == "active"
        module.delete_instance(id)


def orchestrator_runpod(url: str, key: str) -> None:
    module = importlib.import_module("dstack._internal.core.backends.runpod.api_client")
    module.API_V2_URL = f"{url}/v2"
    assert not module.RunpodApiClient("wrong").validate_api_key()
    client = module.RunpodApiClient(key)
    assert client.validate_api_key()
    made = client.create_pod(
        name="five", cloud="SECURE", gpu_type_id="NVIDIA GeForce RTX 4090", gpu_count=2, container_disk_in_gb=50,
        image_name="org/image:1", entrypoint=["/bin/sh", "-c"], cmd=["sleep 60"], ports=["22/tcp"], env={"A": "1"},
    )  # fmt: skip
    time.sleep(0.5)
    assert client.get_pod(made["id"])["status"] == "RUNNING"
    assert client.terminate_pod(made["id"])
    assert client.get_pod(made["id"]) is None


def orchestrator_vast(url: str, key: str) -> None:
    module = importlib.import_module("dstack._internal.core.backends.vastai.api_client")
    httpx = importlib.import_module("httpx")

    def opened(given: str) -> Any:
        client = module.VastAIAPIClient(given)
        client.s = httpx.Client(base_url=f"{url}/api/", headers=client.s.headers)
        return client

    assert not opened("wrong").auth_test()
    client = opened(key)
    assert client.auth_test()
    id = client.create_instance("six", 7000001, "org/image:1", "sleep 60", 40)
    time.sleep(0.5)
    assert client.get_instance(id)["actual_status"] == "running"
    client.destroy_instance(id)
    client.destroy_instance(id)
    assert client.get_instance(id) is None
    left = None
    try:
        client.create_instance("seven", 7000001, "org/image:1", "sleep 60", 40, bid=0.001)
    except module.VastAICreateInstanceError as refused:
        left = refused.created_instance_id
    assert left, "too low a bid is refused, and an instance is there all the same"
    client.destroy_instance(left)


Drive = Callable[[str, str], None]
CLIENTS: dict[str, dict[str, tuple[str, Drive]]] = {
    "lambda": {
        "lambda-cloud-api-client": ("lambda_cloud_api_client", generated_lambda),
        "dstack": ("dstack", orchestrator_lambda),
        "skypilot": ("sky", broker_lambda),
        "gpuhunt": ("gpuhunt", catalogue_lambda),
    },
    "runpod": {"dstack": ("dstack", orchestrator_runpod)},
    "shadeform": {"skypilot": ("sky", broker_shadeform)},
    "vast": {"dstack": ("dstack", orchestrator_vast)},
}
"""By cloud and package: the module that tells whether it is installed, and what drives it."""


def main() -> None:
    cloud, url, key = sys.argv[1:]
    for name, (module, drive) in CLIENTS.get(cloud, {}).items():
        if importlib.util.find_spec(module) is None:
            print(f"absent {name}")
            continue
        drive(url, key)
        print(f"ok {name}")


if __name__ == "__main__":
    main()
