"""Settings and secrets: where they come from, what is refused, and that no value is ever shown."""

from __future__ import annotations

import sys
import traceback
import types
from pathlib import Path

import pytest

from gpusess.config import load_settings, resolve_secrets
from gpusess.errors import ConfigError

HUSH = "hf_hush-hush"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty configuration folder, and no keyring."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("CONFIG", "THEME", "ASCII", "KEYS", "DAILY_BUDGET"):
        monkeypatch.delenv(f"GPUSESS_{name}", raising=False)
    for name in ("HF_TOKEN", "OTHER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "keyring", None)
    (tmp_path / "gpusess").mkdir()
    return tmp_path / "gpusess"


def secrets(folder: Path, text: str, mode: int = 0o600) -> None:
    path = folder / "secrets.toml"
    path.write_text(text)
    path.chmod(mode)


def refused(names: list[str]) -> ConfigError:
    """The refusal of these secrets, after a look for values in all that it could show."""
    with pytest.raises(ConfigError) as caught:
        resolve_secrets(names)
    shown = "".join(traceback.TracebackException.from_exception(caught.value).format())
    assert "hush" not in caught.value.message + caught.value.hint + shown
    return caught.value


def test_nothing_is_set() -> None:
    settings = load_settings()
    assert (settings.daily_budget, settings.ascii, settings.keys) == (None, False, {})


def test_environment_above_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "config.toml").write_text('theme = "light"\ndaily_budget = 20\n[keys]\nquit = "x"\n')
    monkeypatch.setenv("GPUSESS_THEME", "ansi")
    settings = load_settings()
    assert (settings.theme, settings.daily_budget, settings.keys) == ("ansi", 20.0, {"quit": "x"})


def test_named_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUSESS_CONFIG", str(folder / "mine.toml"))
    with pytest.raises(ConfigError, match=r"mine\.toml: no such file"):
        load_settings()
    (folder / "mine.toml").write_text("ascii = true")
    assert load_settings().ascii is True


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'them = "dark"',
            "config.toml: unknown key 'them'; did you mean 'theme'? allowed: daily_budget, theme",
        ),
        ("daily_budget = -1", "config.toml: daily_budget: found -1; allowed: a number > 0"),
        ("daily_budget = inf", "config.toml: daily_budget: found inf; allowed: a number > 0"),
        ('ascii = "perhaps"', "config.toml: ascii: found 'perhaps'; allowed: true or false"),
        ("= 1", "config.toml: not valid TOML"),
    ],
)
def test_wrong_file(folder: Path, text: str, words: str) -> None:
    (folder / "config.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert words in caught.value.message


def test_all_wrong_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "config.toml").write_text("daily_budget = -1\nnosuch = 1\n")
    monkeypatch.setenv("GPUSESS_ASCII", "perhaps")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert len(caught.value.message.splitlines()) == 3
    assert "$GPUSESS_ASCII: found 'perhaps'" in caught.value.message


def test_keys_that_are_no_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUSESS_KEYS", "quit=x")
    with pytest.raises(ConfigError, match="GPUSESS_KEYS"):
        load_settings()


def test_secret_from_the_environment_then_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets(folder, f'HF_TOKEN = "other"\nOTHER = "{HUSH}"\n')
    monkeypatch.setenv("HF_TOKEN", HUSH)
    found = resolve_secrets(["HF_TOKEN", "OTHER"])
    assert [value.get_secret_value() for value in found.values()] == [HUSH, HUSH]
    assert "hush" not in f"{found!r} {[str(value) for value in found.values()]}"


def test_all_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    error = refused(["HF_TOKEN", "OTHER"])
    assert "HF_TOKEN" in error.message
    assert "OTHER" in error.message
    assert all(way in error.hint for way in ("export HF_TOKEN", "secrets.toml", "keyring"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_file_that_others_can_read(folder: Path, mode: int) -> None:
    secrets(folder, f'HF_TOKEN = "{HUSH}"', mode)
    assert "chmod 600" in refused(["HF_TOKEN"]).hint


@pytest.mark.parametrize(
    "text", [f"HF_TOKEN = {HUSH}", f'HF_TOKEN = "{HUSH}', f'HF_TOKEN = ["{HUSH}"]', f'HF_TOKEN = "{HUSH}\\q"']
)
def test_broken_file_is_not_shown(folder: Path, text: str) -> None:
    secrets(folder, text)
    assert "secrets.toml" in refused(["HF_TOKEN"]).message


class KeyringError(Exception):
    pass


def keyring(monkeypatch: pytest.MonkeyPatch, get: object) -> None:
    package = types.ModuleType("keyring")
    errors = types.ModuleType("keyring.errors")
    package.__dict__.update(get_password=get, errors=errors)
    errors.__dict__.update(KeyringError=KeyringError)
    monkeypatch.setitem(sys.modules, "keyring", package)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)


def test_keyring_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring(monkeypatch, lambda service, name: HUSH if service == "gpusess" else None)
    assert resolve_secrets(["HF_TOKEN"])["HF_TOKEN"].get_secret_value() == HUSH


def test_locked_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(service: str, name: str) -> str:
        raise KeyringError(HUSH)

    keyring(monkeypatch, locked)
    assert "HF_TOKEN" in refused(["HF_TOKEN"]).message
