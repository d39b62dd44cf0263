"""From a data set to rows: a JSONL, JSON or CSV file, a folder of them, what ships, or the hub.

Each row knows its place, so that whatever is wrong with it can be named by file and line. What a row means is
the task's to say.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from remote_agent.protocol import TaskSpec
from remote_agent.tasks import numbers
from remote_agent.tasks.base import DataError, LoadedTask, Sample

log = logging.getLogger("task")

ENDINGS = (".jsonl", ".json", ".csv", ".tsv")
"""Of a folder, the files with these are read."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table, and where it stands: `FILE, line N`."""

    place: str
    number: int
    """From 1, in the whole table."""
    file: str
    """The file's name without its ending; empty for the hub."""
    index: int
    """From 0, in its file."""
    values: dict[str, Any]

    def get(self, field: str) -> Any:
        """The value of a field, or of a path of fields such as `question.stem`; None where there is none."""
        value: Any = self.values
        for step in (field,) if field in self.values else field.split("."):
            if not isinstance(value, dict) or step not in value:
                return None
            value = value[step]
        return value

    def text(self, field: str) -> str:
        """A field that must hold text, or a number, which is taken as it is written. Raises DataError."""
        value = self.get(field)
        if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
            raise self.error(f"no text in `{field}`. Each row needs one{self._near(field)}")
        return str(value)

    def texts(self, field: str, least: int = 2) -> tuple[str, ...]:
        """A field that must hold a list of texts. Raises DataError."""
        value = self.get(field)
        fit = isinstance(value, list | tuple) and len(value) >= least
        if not fit or not all(isinstance(v, str | int | float) and str(v).strip() for v in value):
            raise self.error(f"no list of texts in `{field}`. Each row needs one{self._near(field)}")
        return tuple(map(str, value))

    def number_in(self, field: str) -> str:
        """A field that must hold one number, as it is written. Raises DataError."""
        return self.one_number(self.text(field))

    def one_number(self, text: str) -> str:
        """`text`, if it is one number. Raises DataError."""
        if numbers.value_of(text) is None:
            raise self.error(f"the answer {text.strip()!r} is not one number.")
        return text.strip()

    def with_value(self, field: str, value: Any) -> Row:
        """The row with another value in a field."""
        return dataclasses.replace(self, values={**self.values, field: value})

    def error(self, message: str) -> DataError:
        return DataError(f"{self.place}: {message}")

    def _near(self, field: str) -> str:
        return f"; this one has {', '.join(list(self.values)[:12]) or 'nothing'}." if field else "."


@dataclass(frozen=True, slots=True)
class Table:
    """All rows of a data set, where they came from, and the SHA-256 of what was read."""

    rows: tuple[Row, ...]
    source: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Hub:
    """A data set of the model hub."""

    id: str
    config: str | None = None


def read(path: str, split: str | None = None) -> Table:
    """The rows of a file, or of all files of a folder (of its subfolder `split`, if there is one).

    Raises DataError.
    """
    place = Path(path).expanduser()
    if not place.is_dir():
        return table([(place.name, place)], path)
    inner = place / split if split and (place / split).is_dir() else place
    files = sorted(file for file in inner.rglob("*") if file.suffix in ENDINGS and file.is_file())
    if not files:
        raise DataError(f"{path} holds no file that ends in {', '.join(ENDINGS)}. Correct `task.path`.")
    return table([(str(file.relative_to(inner)), file) for file in files], str(inner))


def table(files: Sequence[tuple[str, Path]], source: str) -> Table:
    """The rows of files, each with the name that it is known by. Raises DataError."""
    digest, rows = hashlib.sha256(), []
    for name, path in files:
        data = _bytes(path)
        if len(files) > 1:
            digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
        rows += [(path.stem, *found) for found in parse(data, str(path))]
    return Table(_numbered(rows), source, digest.hexdigest())


def shipped(name: str, source: str) -> Table:
    """The rows of a file of this package, in `data/`."""
    data = resources.files("remote_agent.tasks").joinpath("data", name).read_bytes()
    rows = [(Path(name).stem, *found) for found in parse(data, name)]
    return Table(_numbered(rows), source, hashlib.sha256(data).hexdigest())


def parse(data: bytes, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and values of each row. What it is goes by the ending, JSON or JSON lines by the content."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise DataError(f"{where}, line {line}: bytes that are not UTF-8. Save the file as UTF-8.") from None
    if where.endswith((".csv", ".tsv")):
        yield from _csv(text, where)
    elif text.lstrip().startswith("[") and not where.endswith(".jsonl"):
        yield from _array(text, where)
    else:
        yield from _lines(text, where)


def _lines(text: str, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = f"{where}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise DataError(f"{place}: not JSON ({exc}). Mend or delete this line.") from None
        if not isinstance(row, dict):
            raise DataError(f'{place}: not a JSON object. Each line must be one: `{{"question": …}}`.')
        yield place, row


def _array(text: str, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise DataError(f"{where}: not JSON ({exc}).") from None
    for number, row in enumerate(rows, 1):
        place = f"{where}, item {number}"
        if not isinstance(row, dict):
            raise DataError(f"{place}: not a JSON object. Each item of the list must be one.")
        yield place, row


def _csv(text: str, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if where.endswith(".tsv") else ",")
    try:
        for row in reader:
            place = f"{where}, line {reader.line_num}"
            if None in row or None in row.values():
                raise DataError(f"{place}: not as many fields as the header has. Quote texts with commas.")
            yield place, dict(row)
    except csv.Error as exc:
        raise DataError(f"{where}, line {reader.line_num}: not CSV ({exc}).") from None


def from_hub(hub: Hub | None, split: str, task: str) -> Table:
    """The split of a hub data set. Raises DataError where the hub or the library for it is missing."""
    then = f"Next: sync a file with the rows of {task} and name it in `task.path`."
    if hub is None:
        raise DataError(f"The task {task} brings no data. {then}")
    try:
        import datasets
        import huggingface_hub  # noqa: F401  the probe needs it
    except ImportError as exc:
        message = f"The task {task} needs `task.path`, or the package {exc.name} to fetch {hub.id}. {then}"
        raise DataError(message) from None
    from remote_agent import models

    if not models.hub_within_reach():
        raise DataError(f"{hub.id} is not on this instance, and the hub is out of its reach. {then}")
    log.info("fetching %s from the hub", hub.id)
    try:
        found = [dict(row) for row in datasets.load_dataset(hub.id, hub.config, split=split)]
    except (OSError, ValueError) as exc:
        raise DataError(f"{hub.id} could not be fetched: {str(exc).splitlines()[0]}. {then}") from exc
    source = f"{hub.id} ({split})"
    data = "".join(json.dumps(row, sort_keys=True, default=str) + "\n" for row in found).encode()
    rows = [("", f"{source}, row {number}", row) for number, row in enumerate(found, 1)]
    return Table(_numbered(rows), source, hashlib.sha256(data).hexdigest())


def choose(samples: Sequence[Sample], spec: TaskSpec) -> tuple[Sample, ...]:
    """The subset that `limit` and `seed` choose, in the data's order."""
    if spec.limit is None or spec.limit >= len(samples):
        return tuple(samples)
    kept = sorted(random.Random(spec.seed).sample(range(len(samples)), spec.limit))
    return tuple(samples[i] for i in kept)


def loaded(samples: Sequence[Sample], spec: TaskSpec, found: Table, notes: Sequence[str] = ()) -> LoadedTask:
    """The chosen subset with where it came from. Raises DataError for no samples or a doubled id."""
    if not samples:
        raise DataError(f"{found.source} holds no samples.")
    twice = [i for i, count in Counter(s.id for s in samples).items() if count > 1]
    if twice:
        raise DataError(f"{found.source}: the id {twice[0]} stands on several rows. Ids must be distinct.")
    return LoadedTask(choose(samples, spec), found.source, found.sha256, tuple(notes))


def both(one: str, other: str) -> str:
    """The SHA-256 of two."""
    return hashlib.sha256(f"{one}{other}".encode()).hexdigest()


def _numbered(rows: Sequence[tuple[str, str, dict[str, Any]]]) -> tuple[Row, ...]:
    seen: Counter[str] = Counter()
    numbered = []
    for number, (file, place, values) in enumerate(rows, 1):
        numbered.append(Row(place, number, file, seen[file], values))
        seen[file] += 1
    return tuple(numbered)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise DataError(f"{path} cannot be read: {exc.strerror}. Sync it, or correct `task.path`.") from None
