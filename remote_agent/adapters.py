"""From what an order calls its model to the folders that are loaded: whole weights, or an adapter and the
base model that it was trained on.

Of a checkpoint that was made here every byte that is read is held against its manifest first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remote_agent import checkpoint_contract, checkpoints, models
from remote_agent.checkpoint_contract import ContractBroken
from remote_agent.manifest import MANIFEST, BadCheckpoint
from remote_agent.models import ModelUnavailable

CONFIG = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Located:
    """Where a model's parts are."""

    folder: Path
    """What the order names: tokenizer, chat template and contract are looked for here first."""
    weights: Path
    """Whole weights and their config.json; the base model's where there is an adapter."""
    adapter: Path | None
    """The adapter, as PEFT saves it. None: the weights are all there is."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no model of its own."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def locate(model: str, revision: str | None = None, base: str | None = None) -> Located:
    """Find the parts. base: the model that an adapter belongs to, where the order says so; else what the
    adapter says of itself. Raises ModelUnavailable.
    """
    folder = models.resolve(model, revision)
    if (folder / MANIFEST).is_file():
        try:
            checkpoints.verify(folder, to_resume=False)
        except BadCheckpoint as exc:
            raise ModelUnavailable(f"the checkpoint is not whole: {exc}. Next: take another one.") from exc
    if not is_adapter(folder):
        return Located(folder, folder, None)
    return Located(folder, _base(folder, model, base), folder)


def rank_of(adapter: Path) -> int:
    """The rank of an adapter's matrices."""
    return int(read_config(adapter).get("r") or 0)


def read_config(adapter: Path) -> dict[str, Any]:
    """What PEFT wrote of an adapter. Raises ModelUnavailable."""
    try:
        found = json.loads((adapter / CONFIG).read_text())
    except (OSError, ValueError) as exc:
        raise ModelUnavailable(f"{adapter / CONFIG} cannot be read: {exc}") from exc
    return found if isinstance(found, dict) else {}


def _base(adapter: Path, model: str, base: str | None) -> Path:
    tried = []
    for name, revision in [(base, None)] if base else list(dict.fromkeys(_named(adapter))):
        assert name is not None
        try:
            folder = models.resolve(name, revision)
        except ModelUnavailable as exc:
            tried.append(str(exc))
            continue
        if is_adapter(folder):
            raise ModelUnavailable(f"{model} is an adapter, and its base {name} is another one.")
        return folder
    said = f"Tried: {' '.join(tried)}" if tried else "It does not say on which."
    raise ModelUnavailable(
        f"{model} is an adapter, and the base model that it was trained on is not on this machine. {said} "
        "Next: name the base model in the spec (`base:` beside `model:`)."
    )


def _named(adapter: Path) -> Iterator[tuple[str, str | None]]:
    """What an adapter says of its base, the contract first: a path in PEFT's file is of another machine."""
    try:
        contract = checkpoint_contract.read(adapter)
    except ContractBroken as exc:
        raise ModelUnavailable(f"{exc}.") from exc
    if contract and contract.base:
        yield contract.base, contract.base_revision
    named = read_config(adapter).get("base_model_name_or_path")
    if isinstance(named, str) and named:
        yield named, None
