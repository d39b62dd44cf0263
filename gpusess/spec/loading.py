"""A file or a text → a `Spec`, or one `SpecError` with all that is wrong, a line each."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from gpusess.errors import SpecError
from gpusess.spec.checks import check_fields, check_files
from gpusess.spec.document import MAX_CHARS, Document, read_document
from gpusess.spec.models import Spec
from gpusess.spec.wording import sentence

MAX_BYTES = 4 * MAX_CHARS
"""UTF-8 takes at most four bytes for a character."""


def load_spec(path: Path) -> Spec:
    """Read a spec file. `Spec.base` is its folder.

    Raises:
        SpecError: what is wrong, each on its own line: `FILE:LINE: FIELD: found …; allowed: …`.
    """
    return parse_spec(read_text(path), str(path), path.parent)


def read_text(path: Path) -> str:
    """The text of a spec file, as the session's store keeps it."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise SpecError(f"{path}: not a file")
        if info.st_size > MAX_BYTES:
            raise SpecError(f"{path}: found {info.st_size:,} bytes; allowed: at most {MAX_BYTES:,}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise SpecError(f"{path}: cannot be read ({reason})") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError(f"{path}:{line}: found bytes that are not UTF-8; allowed: UTF-8 text") from None


def parse_spec(text: str, source: str, base: Path, *, files: bool = True) -> Spec:
    """Parse a spec. `source` names it in errors; its relative paths start from `base`.

    `files=False` leaves out the look at the disk: for a stored spec whose session has begun.

    Raises:
        SpecError: as `load_spec`.
    """
    document = read_document(text)
    if not document.problems and not isinstance(document.value, dict):
        document.add((), "the file is not a mapping; allowed: `key: value` lines, starting with `name:`")
    if not isinstance(document.value, dict):
        _refuse(document, source)
    spec = _validate(document)
    check_fields(document)
    if files:
        check_files(document, base)
    if spec is None or document.problems:
        _refuse(document, source)
    spec._base = base
    return spec


def _validate(document: Document) -> Spec | None:
    # Strict: "16" is not 16 and `true` is not 1. The document has the right types already.
    try:
        return Spec.model_validate(document.value, strict=True)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            loc, text = sentence(document, Spec, item)
            document.add(loc, text)
    return None


def _refuse(document: Document, source: str) -> NoReturn:
    lines = []
    for problem in sorted(set(document.problems)):
        where = f"{problem.where}: " if problem.where else ""
        lines.append(f"{source}:{problem.line}: {where}{problem.text}")
    raise SpecError("\n".join(lines))
