"""Whether the GPUs compute, tried and not looked up: one real operation on each, through the driver's own
library, and one through torch where that is wanted. Standard library only, until torch is asked for.

A GPU can be listed and still refuse its first operation (CUDA's error 802), and an instance can come with
fewer than were paid for. Function names and error codes are those of the CUDA driver API.
"""

from __future__ import annotations

import ctypes
import json
from typing import Any

LIBRARY = "libcuda.so.1"
BYTES = 1 << 20
PATTERN = 0x5EED5EED


class CudaError(Exception):
    """A call of the driver's library that did not return 0."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def main(with_torch: bool) -> int:
    """Print one JSON line: what the driver says of each GPU, and what torch computed (null: not asked)."""
    facts: dict[str, Any] = {"driver": check_driver(), "torch": check_torch() if with_torch else None}
    print(json.dumps(facts))
    return 0


def check_driver(library: str = LIBRARY) -> dict[str, Any]:
    """`gpus`: for each GPU its name, memory in bytes, and `error` (empty: it wrote and gave back a pattern).

    `error` and `code` beside it: why there is no list at all (`code` is CUDA's, 0 where there is no driver).
    """
    try:
        cuda = _Cuda(library)
    except OSError as exc:
        return {"error": f"no NVIDIA driver ({exc})", "code": 0, "gpus": []}
    try:
        cuda.call("cuInit", 0)
        count = ctypes.c_int()
        cuda.call("cuDeviceGetCount", ctypes.byref(count))
    except CudaError as exc:
        return {"error": str(exc), "code": exc.code, "gpus": []}
    return {"error": "", "code": 0, "gpus": [_one(cuda, index) for index in range(count.value)]}


def _one(cuda: _Cuda, index: int) -> dict[str, Any]:
    facts: dict[str, Any] = {"index": index, "name": "", "memory": 0, "error": "", "code": 0}
    try:
        device = ctypes.c_int()
        cuda.call("cuDeviceGet", ctypes.byref(device), index)
        facts["name"] = cuda.name(device)
        size = ctypes.c_size_t()
        cuda.call("cuDeviceTotalMem_v2", ctypes.byref(size), device)
        facts["memory"] = size.value
        _write_and_read(cuda, device)
    except CudaError as exc:
        facts["error"], facts["code"] = str(exc), exc.code
    return facts


def _write_and_read(cuda: _Cuda, device: ctypes.c_int) -> None:
    """Fill memory of the GPU by the GPU, wait for it, and read it back."""
    context, place = ctypes.c_void_p(), ctypes.c_uint64()
    cuda.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    try:
        cuda.call("cuCtxSetCurrent", context)
        cuda.call("cuMemAlloc_v2", ctypes.byref(place), ctypes.c_size_t(BYTES))
        try:
            words = BYTES // 4
            cuda.call("cuMemsetD32_v2", place, ctypes.c_uint(PATTERN), ctypes.c_size_t(words))
            cuda.call("cuCtxSynchronize")
            back = (ctypes.c_uint32 * words)()
            cuda.call("cuMemcpyDtoH_v2", back, place, ctypes.c_size_t(BYTES))
        finally:
            cuda.call("cuMemFree_v2", place)
    finally:
        cuda.call("cuDevicePrimaryCtxRelease_v2", device)
    wrong = sum(word != PATTERN for word in back)
    if wrong:
        raise CudaError(-1, f"{wrong} of {words} words came back wrong from its memory")


class _Cuda:
    """The driver's library; every call is checked."""

    def __init__(self, library: str) -> None:
        self._library = ctypes.CDLL(library)

    def call(self, function: str, *args: Any) -> None:
        code = int(getattr(self._library, function)(*args))
        if code != 0:
            raise CudaError(code, f"{function}: CUDA error {code} ({self._words(code)})")

    def name(self, device: ctypes.c_int) -> str:
        text = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", text, ctypes.c_int(len(text)), device)
        return text.value.decode("utf-8", "replace")

    def _words(self, code: int) -> str:
        text = ctypes.c_char_p()
        if self._library.cuGetErrorString(ctypes.c_int(code), ctypes.byref(text)) != 0 or not text.value:
            return "an error that the driver has no words for"
        return text.value.decode("utf-8", "replace")


def check_torch() -> dict[str, Any]:
    """A product of two matrices on each device that torch sees; on the CPU where it sees no GPU."""
    try:
        import torch
    except (ImportError, OSError) as exc:  # a wrong build raises OSError for its libraries
        return {"version": None, "devices": [], "error": f"torch cannot be imported: {exc}"}
    facts: dict[str, Any] = {"version": str(torch.__version__), "devices": [], "error": ""}
    try:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        for device in [f"cuda:{i}" for i in range(count)] or ["cpu"]:
            ones = torch.ones((64, 64), device=device)
            total = float((ones @ ones).sum().item())
            wrong = "" if total == 64.0**3 else f"64³ came out as {total}"
            facts["devices"].append({"device": device, "error": wrong})
    except RuntimeError as exc:
        facts["error"] = str(exc).splitlines()[0]
    return facts
