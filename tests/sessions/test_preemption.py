"""What follows when an instance is taken away: it is given back for good, and the session fails or goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gpusess.providers.base import InstanceStatus
from gpusess.sessions import money, renting
from gpusess.sessions.driver import Driver
from gpusess.sessions.link import InstanceGone, Link
from gpusess.sessions.states import State

from .cloud import SPEC, Cloud, context


@pytest.mark.parametrize("spec_says", ["fail", "resume"])
@pytest.mark.parametrize("spot", [False, True])
async def test_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec_says: str, spot: bool
) -> None:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    cloud = Cloud(spot=spot)
    ctx = context(
        tmp_path, cloud, spec=SPEC.replace("max_price: 2.0", f"spot: allow, on_preemption: {spec_says}")
    )
    await renting.launch(ctx)
    await renting.boot(ctx)
    made = cloud.instances["local-i1"]
    status = InstanceStatus.PREEMPTED if spot else InstanceStatus.FAILED
    cloud.instances["local-i1"] = replace(made, status=status, reason="capacity")
    with pytest.raises(InstanceGone) as caught:
        await Link(ctx)._still_there()
    assert caught.value.preempted is spot
    await Driver(ctx)._after_the_loss(caught.value)
    assert cloud.terminated == ["local-i1"], "what remains may bill: it was given back"
    if spot and spec_says == "resume":
        assert (ctx.row.state, ctx.row.instance_id) == (State.BOOTING, "local-i2")
        assert cloud.billing() == ["local-i2"]
    else:
        word = "was taken away" if spot else "is gone"
        assert (ctx.row.state, ctx.row.error) == (State.FAILED, f"the instance {word}: capacity")
        assert cloud.billing() == []
        assert not money.bills(ctx.ledger.rentals("s"))
