"""Reaping: only ours, only past its deadline, and only done when it is gone."""

from __future__ import annotations

from typing import Any

import pytest

from gpusess.errors import ProviderFault
from gpusess.providers.base import Instance, InstanceStatus
from gpusess.sessions import tags
from gpusess.sessions.reap import overdue, reap

from .cloud import Cloud, raises

NOW = 1_800_000_000.0


@pytest.fixture
def cloud() -> Cloud:
    made = Cloud("one")
    made.clock.now = NOW
    return made


def put(
    cloud: Cloud, id: str, name: str, status: InstanceStatus = InstanceStatus.RUNNING, **tag: str
) -> None:
    carried = {key.replace("_", "-"): value for key, value in tag.items()}
    cloud.instances[id] = Instance(id, name, status, None, 2.0, carried)


async def reaped(cloud: Cloud, **options: Any) -> dict[str, str]:
    clouds: Any = {"one": cloud}
    found = await reap(clouds, clock=cloud.clock, sleep=cloud.clock.sleep, **options)
    return {r.instance.id if r.instance else "": r.outcome for r in found}


async def test_only_ours_and_only_past_the_deadline(cloud: Cloud) -> None:
    late, soon = str(int(NOW) - 1), str(int(NOW) + 60)
    put(cloud, "by-tag", "any name", gpusess="s", gpusess_deadline=late)
    put(cloud, "by-name", f"gpusess-ab12-1-d{late}")
    put(cloud, "not-yet", f"gpusess-ab12-2-d{soon}")
    put(cloud, "no-deadline", "gpusess-ab12-3")
    put(cloud, "foreign", f"web-d{late}", gpusess_deadline=late)
    put(cloud, "nonsense", "gpusess-ab12-4", gpusess="s", gpusess_deadline="soon")
    assert await reaped(cloud, dry_run=True) == {"by-tag": "would end", "by-name": "would end"}
    assert cloud.terminated == []
    assert await reaped(cloud) == {"by-tag": "ended", "by-name": "ended"}
    assert cloud.billing() == ["not-yet", "no-deadline", "foreign", "nonsense"]


async def test_accepted_is_no_end(cloud: Cloud) -> None:
    put(cloud, "i", f"gpusess-ab12-1-d{int(NOW) - 1}")
    cloud.terminate_works = False
    assert await reaped(cloud) == {"i": "its end was not confirmed for 15 minutes"}
    assert len(cloud.terminated) > 10, "it was asked again and again"


async def test_a_provider_that_cannot_be_asked_is_told(cloud: Cloud) -> None:
    cloud.on_list = raises(ProviderFault("503"))
    assert await reaped(cloud) == {"": "503"}


def test_names_and_deadlines_go_there_and_back() -> None:
    name = tags.launch_name("ab12cd34", 3, NOW)
    assert tags.deadline_of(Instance("i", name, InstanceStatus.RUNNING, None, 1.0)) == NOW
    assert (
        tags.deadline_of(Instance("i", tags.launch_name("ab12", 1, None), InstanceStatus.RUNNING, None, 1.0))
        is None
    )
    over = Instance("i", name, InstanceStatus.TERMINATED, None, 1.0)
    assert not overdue(over, NOW + 1)
