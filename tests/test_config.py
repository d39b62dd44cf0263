"""Settings and secrets: where they come from, what is refused, and that no value is shown."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import SecretStr

from gpusess.config import Settings, load_settings, resolve_secrets
from gpusess.errors import ConfigError
from gpusess.paths import config_file


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's config folder, empty; no keyring."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("CONFIG", "THEME", "DAILY_BUDGET", "ASCII", "KEYS"):
        monkeypatch.delenv(f"GPUSESS_{name}", raising=False)
    monkeypatch.setitem(sys.modules, "keyring", None)
    (tmp_path / "gpusess").mkdir()
    return tmp_path / "gpusess"


def refused() -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings()
    return caught.value.message.split("\n")


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "CACHE"):  # these belong to paths.py and are no settings
        monkeypatch.setenv(f"GPUSESS_{name}", "/x")
    expected = {"daily_budget": None, "theme": "auto", "ascii": False, "keys": {}}
    assert load_settings().model_dump() == expected


def test_the_environment_stands_above_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "config.toml").write_text(
        'daily_budget = 7\ntheme = "light"\n[keys]\nsession.next = "n"\n"run.band" = ["b", "B"]\n'
    )
    monkeypatch.setenv("GPUSESS_THEME", "dark")
    monkeypatch.setenv("GPUSESS_ASCII", "1")
    monkeypatch.setenv("GPUSESS_DAILY_BUDGET", "")
    assert load_settings().model_dump() == {
        "daily_budget": 7.0,
        "theme": "dark",
        "ascii": True,
        "keys": {"session.next": "n", "run.band": "b,B"},
    }


def test_every_problem_names_its_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "config.toml"
    path.write_text('them = "dark"\ndaily_budget = true\nqqq = 1\n[keys]\nquit = 3\n')
    monkeypatch.setenv("GPUSESS_THEME", "blue")
    assert refused() == [
        f"{path}: unknown key 'them'; did you mean 'theme'? allowed: daily_budget, theme, ascii, keys",
        f"{path}: unknown key 'qqq'; allowed: daily_budget, theme, ascii, keys",
        f"{path}: daily_budget: found True; allowed: a number > 0 ($ per day)",
        "$GPUSESS_THEME: found 'blue'; allowed: auto, dark, light, ansi",
        f"{path}: keys.quit: found 3; allowed: a table of action = key, or action = [keys]",
    ]


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "many"])
def test_a_budget_is_a_number_above_zero(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUSESS_DAILY_BUDGET", value)
    assert refused() == [f"$GPUSESS_DAILY_BUDGET: found '{value}'; allowed: a number > 0 ($ per day)"]


def test_keys_in_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUSESS_KEYS", '{"quit": "z"}')
    assert load_settings().keys == {"quit": "z"}
    monkeypatch.setenv("GPUSESS_KEYS", "quit=z")
    assert refused() == ["$GPUSESS_KEYS: not JSON; allowed: an object of action and key"]


def test_files_that_are_no_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "other.toml"
    monkeypatch.setenv("GPUSESS_CONFIG", str(path))
    assert config_file() == path
    assert refused() == [f"{path}: no such file"]
    path.write_text("theme = \n")
    assert refused() == [f"{path}: not valid TOML: Invalid value (at line 1, column 9)"]
    path.write_bytes(b"\xff")
    assert refused() == [f"{path}: not UTF-8 text"]
    path.unlink()
    path.mkdir()
    assert refused() == [f"{path}: cannot be read (Is a directory)"]


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().theme = "dark"  # type: ignore[misc]
    assert Settings.__doc__


# --- secrets ---


def said(*names: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        resolve_secrets(names)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + caught.value.hint
    return caught.value


def store(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "secrets.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_environment_before_file_before_keyring(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE", "env")
    monkeypatch.setenv("TWO", "")
    store(folder, 'ONE = "file"\nTWO = "file"\n')
    keyring(monkeypatch, {"TWO": "ring", "THREE": "ring"})
    found = resolve_secrets(["THREE", "ONE", "TWO", "ONE"])
    assert {name: value.get_secret_value() for name, value in found.items()} == {
        "THREE": "ring",
        "ONE": "env",
        "TWO": "file",
    }
    assert list(found) == ["THREE", "ONE", "TWO"]
    assert repr(found["ONE"]) == "SecretStr('**********')"
    assert all(isinstance(value, SecretStr) for value in found.values())


def test_all_that_are_missing_are_named_with_the_ways(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWO", "hunter2")
    error = said("ONE", "TWO", "THREE")
    assert error.message == "the secrets ONE, THREE: not given"
    assert error.hint == (
        f'export ONE=…, or write ONE = "…" to {folder}/secrets.toml (mode 0600), '
        "or `keyring set gpusess ONE` where the keyring package is installed"
    )
    assert said("ONE").message == "the secret ONE: not given"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_may_use_is_refused(folder: Path, mode: int) -> None:
    path = store(folder, 'ONE = "hunter2"\n', mode)
    error = said("ONE")
    assert error.message == f"{path}: others may use this file (mode {mode:04o})"
    assert error.hint == f"chmod 600 {path}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A = 1\nONE = hunter2\n", ":2: not valid TOML (the line is not shown)"),
        ('ONE = "hunter2\n', ":1: not valid TOML (the line is not shown)"),
        ("ONE = ['hunter2']\n", ": ONE: its value is not text"),
    ],
)
def test_a_damaged_file_is_named_and_not_shown(folder: Path, text: str, expected: str) -> None:
    assert said("ONE").message == "the secret ONE: not given"
    assert said_of(folder, text) == f"{store(folder, text)}{expected}"


def said_of(folder: Path, text: str) -> str:
    store(folder, text)
    error = said("ONE")
    assert error.__context__ is None, "the parser's error holds the text"
    return error.message


def test_a_keyring_without_a_backend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring(monkeypatch, None)
    assert said("ONE").message == "the secret ONE: not given (keyring: NoKeyringError)"


def test_no_secrets_need_no_file_and_no_settings(folder: Path) -> None:
    store(folder, "no toml", 0o644)
    assert resolve_secrets([]) == {}
    code = "import sys; from gpusess.secrets import resolve_secrets as r; r([]); print('gpusess.config' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def keyring(monkeypatch: pytest.MonkeyPatch, entries: dict[str, str] | None) -> None:
    """A keyring with these entries; None: one without a backend."""
    errors = ModuleType("keyring.errors")
    errors.KeyringError = type("KeyringError", (Exception,), {})  # type: ignore[attr-defined]
    no_backend = type("NoKeyringError", (errors.KeyringError,), {})  # type: ignore[name-defined]

    def get_password(service: str, name: str) -> str | None:
        assert service == "gpusess"
        if entries is None:
            raise no_backend("hunter2")
        return entries.get(name)

    module = ModuleType("keyring")
    module.get_password = get_password  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", module)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
