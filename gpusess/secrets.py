"""Secrets by name: from the environment, a file that only its owner can read, or the system's keyring.

A value is a `SecretStr` from the moment it is read, and no message here holds one. Light to import: the
driver needs this, and nothing of the settings.
"""

from __future__ import annotations

import importlib
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from gpusess import paths
from gpusess.errors import ConfigError

SERVICE = "gpusess"
"""The keyring's service; the user name is the secret's name."""


def secrets_file() -> Path:
    return paths.config_dir() / "secrets.toml"


def resolve_secrets(names: Iterable[str]) -> dict[str, SecretStr]:
    """The value of each name, looked for in this order: environment, secrets file, keyring. Empty counts
    as missing. A source is opened only while a name is still missing.

    Raises:
        ConfigError: names that are nowhere (all of them), or a secrets file that others may read.
    """
    wanted = list(dict.fromkeys(names))
    found = _texts({name: os.environ.get(name) for name in wanted})
    missing = [name for name in wanted if name not in found]
    if missing:
        found |= _texts(_from_file(secrets_file(), missing))
        missing = [name for name in missing if name not in found]
    if missing:
        found |= _texts(_from_keyring(missing))
        missing = [name for name in missing if name not in found]
    if missing:
        raise ConfigError(_not_found(missing), _ways(missing[0]))
    return {name: found[name] for name in wanted}


def _texts(values: Mapping[str, str | None]) -> dict[str, SecretStr]:
    return {name: SecretStr(value) for name, value in values.items() if value}


def _not_found(missing: list[str]) -> str:
    what = "the secret" if len(missing) == 1 else "the secrets"
    return f"{what} {', '.join(missing)}: not given"


def _ways(name: str) -> str:
    return (
        f'export {name}=…, or write {name} = "…" to {secrets_file()} (mode 0600), '
        f"or `keyring set {SERVICE} {name}` where the keyring package is installed"
    )


def _from_file(path: Path, names: list[str]) -> dict[str, str | None]:
    table = _read(path)
    for name in names:
        if name in table and not isinstance(table[name], str):
            raise ConfigError(f"{path}: {name}: its value is not text", "put it in quotes")
    return {name: table.get(name) for name in names}


def _read(path: Path) -> dict[str, Any]:
    """The file's table; empty where there is no file."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                loose = stat.S_IMODE(mode)
                raise ConfigError(f"{path}: others may use this file (mode {loose:04o})", f"chmod 600 {path}")
            data = file.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
    table, line = _parse(data)
    if table is None:
        raise ConfigError(f"{path}:{line}: not valid TOML (the line is not shown)", 'write NAME = "value"')
    return table


def _parse(data: bytes) -> tuple[dict[str, Any] | None, int]:
    """The table, or None and the line of the error. The error itself ends here: it holds the text."""
    try:
        return tomllib.loads(data.decode()), 0
    except UnicodeDecodeError as error:
        return None, data.count(b"\n", 0, error.start) + 1
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"at line (\d+)", str(error))
        return None, int(at[1]) if at else data.count(b"\n") + 1


def _from_keyring(names: list[str]) -> dict[str, str | None]:
    try:
        keyring = importlib.import_module("keyring")
        errors = importlib.import_module("keyring.errors")
    except ImportError:
        return {}
    try:
        return {name: keyring.get_password(SERVICE, name) for name in names}
    except errors.KeyringError as error:
        # The class says what is wrong (no backend, locked); a backend's own words might quote an entry.
        raise ConfigError(f"{_not_found(names)} (keyring: {type(error).__name__})", _ways(names[0])) from None
