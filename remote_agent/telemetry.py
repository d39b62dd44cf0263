"""The instance's load: CPU, memory and disk through psutil, GPUs through nvidia-ml-py where there are any."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import psutil

from remote_agent import protocol

log = logging.getLogger("telemetry")

_THROTTLE = {
    "nvmlClocksThrottleReasonSwPowerCap": "power",
    "nvmlClocksThrottleReasonHwSlowdown": "slowdown",
    "nvmlClocksThrottleReasonSyncBoost": "sync",
    "nvmlClocksThrottleReasonSwThermalSlowdown": "heat",
    "nvmlClocksThrottleReasonHwThermalSlowdown": "heat",
    "nvmlClocksThrottleReasonHwPowerBrakeSlowdown": "brake",
}
"""NVML's bits that mean a clock below the wanted one. Idling and a clock that a person has set are none."""


class Gpus:
    """The machine's NVIDIA GPUs; none where there is no driver."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        try:
            import pynvml
        except ImportError:
            return
        try:
            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(count)]
            self._nvml = pynvml
        except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError) as exc:
            log.info("no GPU telemetry: %s", exc)

    def read(self) -> list[protocol.Gpu]:
        """One reading of each GPU; a value that the driver does not give is None."""
        return [self._one(i, handle) for i, handle in enumerate(self._handles)]

    def _one(self, index: int, handle: Any) -> protocol.Gpu:
        nvml = self._nvml

        def ask(question: Any, *args: Any) -> Any:
            try:
                return question(handle, *args)
            except nvml.NVMLError:
                return None

        name = ask(nvml.nvmlDeviceGetName) or "GPU"
        util, memory = ask(nvml.nvmlDeviceGetUtilizationRates), ask(nvml.nvmlDeviceGetMemoryInfo)
        power, limit = ask(nvml.nvmlDeviceGetPowerUsage), ask(nvml.nvmlDeviceGetEnforcedPowerLimit)
        reasons = ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons)
        return protocol.Gpu(
            index=index,
            name=name if isinstance(name, str) else name.decode(),
            util=util.gpu if util else None,
            mem_used=memory.used if memory else None,
            mem_total=memory.total if memory else None,
            power=power / 1000 if power is not None else None,
            temp=ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
            power_limit=limit / 1000 if limit is not None else None,
            clock=ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM),
            clock_max=ask(nvml.nvmlDeviceGetMaxClockInfo, nvml.NVML_CLOCK_SM),
            clock_mem=ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_MEM),
            throttle=None if reasons is None else self._held_down(reasons),
        )

    def _held_down(self, reasons: int) -> list[str]:
        """NVML's bits in our words, each once."""
        words = (word for name, word in _THROTTLE.items() if reasons & getattr(self._nvml, name))
        return list(dict.fromkeys(words))


class Meter:
    """Reads the load; `cpu` is the percentage of all cores since the reading before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._gpus = Gpus()
        psutil.cpu_percent()

    def read(self, worker_pid: int | None) -> protocol.Telemetry:
        memory = psutil.virtual_memory()
        return protocol.Telemetry(
            cpu=psutil.cpu_percent(),
            mem_used=memory.total - memory.available,
            mem_total=memory.total,
            disk_free=shutil.disk_usage(self._folder).free,
            worker_rss=_rss(worker_pid),
            gpus=self._gpus.read(),
        )


def _rss(pid: int | None) -> int:
    if pid is None:
        return 0
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
