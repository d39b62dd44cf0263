"""GPU readings through the real pynvml's constants, with a driver that answers from a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pynvml
import pytest

from gpusess.analysis.run_state import RunState, fold
from remote_agent.protocol import Telemetry
from remote_agent.telemetry import Gpus, Meter


class Driver:
    """Answers NVML's questions; what is not in the table is not supported."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
        for name in (n for n in dir(pynvml) if n.startswith("nvmlDeviceGet")):
            monkeypatch.setattr(pynvml, name, self._question(name, answers))
        monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)

    @staticmethod
    def _question(name: str, answers: dict[str, Any]) -> Any:
        def ask(*args: Any) -> Any:
            found = answers.get(name.removeprefix("nvmlDeviceGet"))
            if found is None:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return found(*args) if callable(found) else found

        return ask


ONE: dict[str, Any] = {"Count": 1, "HandleByIndex": lambda i: f"gpu{i}", "Name": "NVIDIA H100 80GB HBM3"}


def test_clocks_the_power_limit_and_why_it_is_held_down(monkeypatch: pytest.MonkeyPatch) -> None:
    heat = pynvml.nvmlClocksThrottleReasonSwThermalSlowdown | pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
    Driver(
        monkeypatch, **ONE,
        PowerUsage=698_000, EnforcedPowerLimit=700_000,
        ClockInfo=lambda _, which: 1410 if which == pynvml.NVML_CLOCK_SM else 2619, MaxClockInfo=1980,
        CurrentClocksThrottleReasons=heat | pynvml.nvmlClocksThrottleReasonSwPowerCap,
    )  # fmt: skip
    (gpu,) = Gpus().read()
    assert (gpu.power, gpu.power_limit) == (698.0, 700.0)
    assert (gpu.clock, gpu.clock_max, gpu.clock_mem) == (1410, 1980, 2619)
    assert gpu.throttle == ["power", "heat"]


@pytest.mark.parametrize("bits", ["None", "GpuIdle", "ApplicationsClocksSetting"])
def test_idling_or_a_clock_that_was_set_is_no_throttling(monkeypatch: pytest.MonkeyPatch, bits: str) -> None:
    value = getattr(pynvml, f"nvmlClocksThrottleReason{bits}")
    Driver(monkeypatch, **ONE, CurrentClocksThrottleReasons=lambda _: value)
    assert Gpus().read()[0].throttle == []


def test_what_the_driver_does_not_say_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    Driver(monkeypatch, **ONE)
    (gpu,) = Gpus().read()
    assert (gpu.clock, gpu.power_limit, gpu.throttle) == (None, None, None)


def test_records_of_older_agents_fold_as_before(tmp_path: Path) -> None:
    record = Meter(tmp_path).read(None).model_dump(mode="json")
    gpu = {"index": 0, "name": "H100", "util": 90.0, "mem_used": 1, "mem_total": 2, "power": 5.0, "temp": 6.0}
    state = fold(RunState(), {**record, "gpus": [gpu], "ts": 1.0})
    assert state.telemetry[-1].gpus == (gpu,)
    assert Telemetry.model_validate({**record, "gpus": [gpu]}).gpus[0].throttle is None
