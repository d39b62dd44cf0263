"""What a checkpoint that was trained here says of itself: `gpusess-contract.json` beside its weights.

It holds the format that answers had in training and what the prompts were made with, so that an evaluation
can see before it starts whether it asks for the same.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

FILE = "gpusess-contract.json"


class ContractBroken(Exception):
    """The file is there and cannot be read; the message names it."""


class Contract(BaseModel):
    """The contract. Unknown fields are ignored, so that a later version's file stays readable."""

    v: int = 1
    task: str = ""
    """The task whose prompts were trained on; empty: none of the registry's."""
    line: str = ""
    """The line that held the answer, with `{}` in its place, such as `#### {}`; empty: no such line."""
    answers: list[str] = Field(default=[], max_length=50)
    """Some answers of the training data, whole, as an assistant's turn."""
    markers: list[str] = []
    """Chat markers that stood in the rendered training data, such as `<|im_start|>`."""
    template_sha: str = ""
    """`text_sha` of the chat template that rendered the training data; empty: none did."""
    system: str | None = None
    """The system prompt of the training data; None: there was none."""
    base: str = ""
    """The model that training began with, as the order named it: a hub id, or a folder of that instance."""
    base_revision: str | None = None
    base_sha: str = ""
    """`models.fingerprint` of its weights; empty: not known."""


def read(folder: Path) -> Contract | None:
    """The contract in a model folder, or None where there is none. Raises ContractBroken."""
    path = folder / FILE
    try:
        return Contract.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise ContractBroken(f"{path} cannot be read: {exc.strerror}") from None
    except ValidationError as exc:
        raise ContractBroken(f"{path} is no contract: {exc.errors()[0]['msg']}") from None


def write(folder: Path, contract: Contract) -> None:
    """Put the contract into a folder, in one step."""
    aside = folder / f".{FILE}.partial"
    with aside.open("w", encoding="utf-8") as file:
        file.write(contract.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.rename(folder / FILE)


def text_sha(text: str) -> str:
    """SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
