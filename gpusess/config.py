"""Settings: what a user sets once for all sessions. From the environment (`GPUSESS_THEME`, …), else from
`config.toml`, else the default. Secrets are `gpusess.secrets`'s; what a session does is its spec's.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gpusess import paths
from gpusess.errors import ConfigError
from gpusess.secrets import resolve_secrets

__all__ = ["Settings", "load_settings", "resolve_secrets"]

PREFIX = "GPUSESS_"

_ALLOWED = {
    "daily_budget": "a number > 0 ($ per day)",
    "theme": "auto, dark, light, ansi",
    "ascii": "true or false",
    "keys": "a table of action = key, or action = [keys]",
}


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")
    return value


def _remapping(value: object) -> object:
    return dict(_flat("", value)) if isinstance(value, Mapping) else value


def _flat(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """`session.next = "n"` without quotes is a table in a table to TOML; the action is `session.next`."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name}.", value)
        elif isinstance(value, list) and all(isinstance(key, str) and key for key in value):
            yield prefix + name, ",".join(value)
        else:
            yield prefix + name, value


class Settings(BaseModel):
    """What `load_settings` returns."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    daily_budget: Annotated[float | None, BeforeValidator(_number)] = Field(default=None, gt=0)
    """$ per day over all sessions. None: no limit."""
    theme: Literal["auto", "dark", "light", "ansi"] = "auto"
    """Colours of the cockpit. `auto`: what the terminal says of its background."""
    ascii: bool = False
    """Draw with ASCII alone, for terminals and fonts that lack the symbols."""
    keys: Annotated[dict[str, Annotated[str, Field(min_length=1)]], BeforeValidator(_remapping)] = {}
    """Action id → its keys, comma-separated, in place of the built-in ones."""


def load_settings() -> Settings:
    """Read the environment and the file.

    Raises:
        ConfigError: all that is wrong, each on its own line with the file or variable it stands in.
    """
    path = paths.config_file()
    values = _read(path)
    problems = list(_unknown(path, values))
    known = {name: values[name] for name in values if name in Settings.model_fields}
    try:
        settings = Settings.model_validate({**known, **_environment()})
    except ValidationError as error:
        problems += _wrong(path, error)
    except json.JSONDecodeError:
        problems.append(f"${PREFIX}KEYS: not JSON; allowed: an object of action and key")
    if problems:
        raise ConfigError("\n".join(problems))
    return settings


def _environment() -> dict[str, Any]:
    """What the environment sets; empty counts as not set. Raises JSONDecodeError for the keys."""
    given = {name: os.environ.get(PREFIX + name.upper()) for name in Settings.model_fields}
    return {name: json.loads(text) if name == "keys" else text for name, text in given.items() if text}


def _read(path: Path) -> dict[str, Any]:
    """The file's table. Only a file that nobody named may be missing."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if os.environ.get("GPUSESS_CONFIG"):
            raise ConfigError(f"{path}: no such file", "GPUSESS_CONFIG names it") from None
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _unknown(path: Path, values: Mapping[str, Any]) -> Iterator[str]:
    known = list(Settings.model_fields)
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'? " if near else ""
            yield f"{path}: unknown key '{name}'; {hint}allowed: {', '.join(known)}"


def _wrong(path: Path, error: ValidationError) -> Iterator[str]:
    given = {name.upper() for name, value in os.environ.items() if value}
    for item in error.errors(include_url=False):
        name = str(item["loc"][0])
        variable = PREFIX + name.upper()
        where = f"${variable}" if variable in given else f"{path}: {'.'.join(map(str, item['loc']))}"
        yield f"{where}: found {item['input']!r}; allowed: {_ALLOWED[name]}"
