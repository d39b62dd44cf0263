"""A stand-in for the GPU driver's library, built from C once per machine: what simulated instances with GPUs have."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).parent / "agent" / "libcuda.c"


def library_folder() -> Path | None:
    """A folder with `libcuda.so.1`, for LD_LIBRARY_PATH; None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    key = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"gpusess-fake-cuda-{os.getuid()}-{key}"
    library = folder / "libcuda.so.1"
    if not library.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        new = folder / f"libcuda.{os.getpid()}"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", str(new), str(SOURCE)], check=True)
        new.replace(library)
    return folder
