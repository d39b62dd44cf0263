"""YAML text → plain values, with the line of every key and item.

Only what a spec needs is let through: mappings, lists, text, numbers, true/false and null. Tags, several
documents, deep nesting and aliases that multiply are refused. Plain scalars are read by the YAML 1.2
rules, so `no` is text, `1e-5` is a number and `4090:1` is not a count of seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

Loc: TypeAlias = tuple[str | int, ...]
"""The way to a value: keys and indexes from the top."""

MAX_CHARS = 256 * 1024
MAX_DEPTH = 16
MAX_NODES = 20_000

_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,2})?")
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_QUOTED = re.compile("'([^']*)'")
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, order=True, slots=True)
class Problem:
    """One thing that is wrong: the line (1 = the first), the place in it, and a sentence."""

    line: int
    where: str
    text: str


@dataclass
class Document:
    """The values of a file and where each of them stands."""

    value: Any = None
    lines: dict[Loc, int] = field(default_factory=dict)
    raw: dict[Loc, str] = field(default_factory=dict)
    """Scalars as they are written."""
    problems: list[Problem] = field(default_factory=list)

    def line(self, loc: Loc) -> int:
        """The line of a place, or of the nearest thing around it."""
        while loc not in self.lines and loc:
            loc = loc[:-1]
        return self.lines.get(loc, 1)

    def at(self, *loc: str | int) -> Any:
        """The value at a place, or None where there is none."""
        value = self.value
        for step in loc:
            inside = (isinstance(value, dict) and step in value) or (
                isinstance(value, list) and isinstance(step, int) and step < len(value)
            )
            if not inside:
                return None
            value = value[step]
        return value

    def items(self, *loc: str | int) -> list[Any]:
        """The list at a place; empty where there is none."""
        value = self.at(*loc)
        return value if isinstance(value, list) else []

    def add(self, loc: Loc, text: str) -> None:
        self.problems.append(Problem(self.line(loc), show(loc), text))


def show(loc: Iterable[str | int]) -> str:
    """`("runs", 0, "name")` → `runs[0].name`. What follows a `=` in a key is a value, and not shown."""
    text = ""
    for step in loc:
        if isinstance(step, str) and "=" in step:
            step = step.partition("=")[0] + "=…"
        text += f"[{step}]" if isinstance(step, int) else f"{'.' if text else ''}{printable(step, 60)}"
    return text


def printable(text: str, limit: int) -> str:
    """One line without control characters, shortened to `limit` characters."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: limit + 1])
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def read_document(text: str) -> Document:
    """Read one YAML document. A syntax error ends the reading: it is then the only problem."""
    document = Document()
    if len(text) > MAX_CHARS:
        document.add((), f"found {len(text):,} characters; allowed: at most {MAX_CHARS:,}")
        return document
    try:
        if _let_through(text, document):
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            if node is None:
                document.add((), "the file is empty; allowed: a mapping that starts with `name:`")
            else:
                _Builder(document).build(node, ())
    except yaml.YAMLError as error:
        document.problems.append(_syntax(error, text))
    except (ValueError, OverflowError):
        # An escape such as "\UFFFFFFFF" is no character, and the scanner does not say where it stood.
        document.add((), "not valid YAML: an escape in a quoted text is not a character")
    return document


def _let_through(text: str, document: Document) -> bool:
    """Look at the events before anything is built: the composer recurses, the parser does not."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if getattr(event, "tag", None):
            # Not shown: a password may start with `!`.
            document.problems.append(
                Problem(line, "", "found a tag (`!…`); allowed: no tags, or quoted text")
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                document.problems.append(Problem(line, "", f"nested deeper than {MAX_DEPTH} levels"))
                return False
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return not document.problems


class _Builder:
    """Nodes → values. Aliases are written out, up to a number of values that no real spec reaches."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.left = MAX_NODES

    def build(self, node: yaml.Node, loc: Loc) -> None:
        self.document.lines[()] = node.start_mark.line + 1
        self.document.value = self._value(node, loc)
        if self.left < 0:
            self.document.value = None
            self.document.problems = [Problem(1, "", f"more than {MAX_NODES:,} values once aliases are used")]

    def _value(self, node: yaml.Node, loc: Loc) -> Any:
        self.left -= 1
        if self.left < 0:
            return None
        if len(loc) > MAX_DEPTH:
            self.document.add(loc[:3], f"nested deeper than {MAX_DEPTH} levels")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, loc)
        return self._scalar(node, loc)

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(line, loc, "a key is a list or a mapping; allowed: text")
                continue
            key = str(key_node.value)
            place = (*loc, key)
            if _UNUSABLE.search(key):
                self._problem(line, loc, "a key holds a character that is no text")
            elif key in value:
                first = self.document.line(place)
                self._problem(line, place, f"given twice (first in line {first}); allowed: once")
            else:
                self.document.lines[place] = line
                value[key] = self._value(value_node, place)
        return value

    def _sequence(self, node: yaml.SequenceNode, loc: Loc) -> list[Any]:
        values = []
        for index, item in enumerate(node.value):
            place = (*loc, index)
            self.document.lines[place] = item.start_mark.line + 1
            values.append(self._value(item, place))
        return values

    def _scalar(self, node: yaml.Node, loc: Loc) -> Any:
        text = str(node.value)
        self.document.raw[loc] = text
        if _UNUSABLE.search(text):
            self.document.add(loc, "holds a character that is no text")
            return ""
        # A quoted or block scalar has a style; only a plain one may be something else than text.
        return text if getattr(node, "style", None) else _plain(text)

    def _problem(self, line: int, loc: Loc, text: str) -> None:
        self.document.problems.append(Problem(line, show(loc), text))


def _plain(text: str) -> Any:
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and len(text) < 64:
        return float(text)
    return text


def _own_word(quoted: re.Match[str]) -> str:
    """A single character, an escape or a token's name stays; an alias' or tag's name does not."""
    inner = quoted[1]
    return quoted[0] if len(inner) < 2 or inner[0] in "<\\" else "'…'"


def _syntax(error: yaml.YAMLError, text: str) -> Problem:
    """Only the parser's own words: what it can quote of the text might be a secret."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        words = _QUOTED.sub(_own_word, " ".join(filter(None, (error.context, error.problem))))
        tab = "; a tab cannot indent: use spaces" if "'\\t'" in words else ""
        return Problem(line, "", f"not valid YAML: {printable(words, 200)}{tab}")
    position = getattr(error, "position", 0)
    line = text.count("\n", 0, position if isinstance(position, int) else 0) + 1
    return Problem(line, "", "not valid YAML: a control character, which no text may hold")
