"""The machine's checks: packages are really imported, in a process that may crash, hang or warn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from remote_agent.preflight import host, imports
from remote_agent.registry import ENGINE_NEEDS


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a package that the engine `recorded` then needs."""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).resolve().parents[2]}")

    def make(name: str, code: str) -> list[Any]:
        (tmp_path / f"{name}.py").write_text(code)
        info = tmp_path / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        monkeypatch.setitem(ENGINE_NEEDS, "recorded", (f"{name}>=1",))
        return list(host.trial("recorded"))

    return make


def test_what_imports_is_named_with_its_version(package: Any) -> None:
    (found,) = package("fine_package", "print('hello from an import')")
    assert (found.status, found.message) == ("ok", "fine_package 1.2 for the engine recorded.")


def test_an_engine_without_needs_starts_no_process() -> None:
    (found,) = host.trial("recorded")
    assert found.message == "None needed for the engine recorded."


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import no_such_thing",
            "Cannot be imported: bad (ModuleNotFoundError: No module named 'no_such_thing')",
        ),
        ("raise RuntimeError('built for CUDA 9')", "bad (RuntimeError: built for CUDA 9)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "Importing bad ended with signal 11"),
        ("import os; os._exit(7)", "Importing bad ended with 7"),
    ],
)
def test_what_cannot_be_imported_is_a_finding_and_no_crash(package: Any, code: str, said: str) -> None:
    (found,) = package("bad", code)
    assert found.status == "fail"
    assert said in found.message
    assert "Next: pip install 'bad>=1'" in found.message


def test_an_import_that_hangs_is_ended(package: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "TRIAL_SECONDS", 1.0)
    (found,) = package("slow", "import time; time.sleep(60)")
    assert found.status == "fail"
    assert "Importing slow took more than 1 s" in found.message


NUMPY_SAYS = """
A module that was compiled using NumPy 1.x cannot be run in
NumPy 2.4.6 as it may crash. To support both 1.x and 2.x
"""


def test_a_module_for_another_numpy_is_found_in_what_it_prints(package: Any) -> None:
    (found,) = package("old", f"import sys; sys.stderr.write({NUMPY_SAYS!r})")
    assert found.status == "fail"
    assert "A package was compiled for NumPy 1.x and cannot work with 2.4.6" in found.message
    assert "pip install 'numpy<2'" in found.message


def test_versions_that_exclude_each_other_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("packaging")
    for name, version, needs in (
        ("aengine", "0.11.0", "Requires-Dist: btorch==2.9.0\nRequires-Dist: cpu-only>9; extra == 'x'\n"),
        ("btorch", "2.13.0", ""),
    ):
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(head + needs)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert imports.conflicts(("aengine", "btorch")) == [
        "aengine 0.11.0 wants btorch==2.9.0, 2.13.0 is installed"
    ]
    facts = {"versions": {}, "errors": {}, "conflicts": imports.conflicts(("aengine", "btorch")), "gpu": None}
    assert host.imports("transformers", facts, "").status == "fail"


def test_this_environments_own_packages_agree() -> None:
    assert imports.conflicts() == []


def gpu(index: int, error: str = "") -> dict[str, Any]:
    return {"index": index, "name": "NVIDIA H100", "memory": 80 << 30, "error": error, "code": 0}


@pytest.mark.parametrize(
    ("driver", "devices", "status", "said"),
    [
        ([], ["cpu"], "ok", "There is none"),
        ([gpu(0)], ["cuda:0"], "ok", "NVIDIA H100: each has computed a product"),
        ([gpu(0)], ["cpu"], "fail", "torch 2.9 sees 0 of 1 GPUs"),
        ([gpu(0), gpu(1)], ["cuda:0"], "warn", "torch 2.9 sees 1 of 2 GPUs"),
        ([gpu(0, "cuInit: CUDA error 802")], ["cpu"], "fail", "GPU 0: cuInit: CUDA error 802"),
    ],
)
def test_a_gpu_that_is_paid_for_must_compute(
    driver: list[dict[str, Any]], devices: list[str], status: str, said: str
) -> None:
    torch = {"version": "2.9", "error": "", "devices": [{"device": name, "error": ""} for name in devices]}
    found = host.gpus({"driver": {"gpus": driver, "error": "", "code": 0}, "torch": torch})
    assert found.status == status
    assert said in found.message


def test_a_wrong_product_is_a_fault() -> None:
    torch = {"version": "2.9", "error": "", "devices": [{"device": "cuda:0", "error": "64³ came out as 0.0"}]}
    found = host.gpus({"driver": {"gpus": [gpu(0)], "error": "", "code": 0}, "torch": torch})
    assert found.status == "fail"
    assert "cuda:0: 64³ came out as 0.0" in found.message
