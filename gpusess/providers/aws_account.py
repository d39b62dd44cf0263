"""Whose AWS account, and where: keys from the usual places, regions, and a name for the account."""

from __future__ import annotations

import base64
import binascii
import configparser
import os
import re
from pathlib import Path

from pydantic import SecretStr

from gpusess.errors import AuthRefused, ConfigError
from gpusess.providers.aws_signing import Credentials
from gpusess.providers.http import fingerprint
from gpusess.secrets import resolve_secrets

KEY_ID = "AWS_ACCESS_KEY_ID"
SECRET = "AWS_SECRET_ACCESS_KEY"
TOKEN = "AWS_SESSION_TOKEN"
FIRST_REGION = "us-east-1"


def credentials() -> Credentials:
    """From gpusess' own secrets (environment, file, keyring), else from the profile that AWS's tools use.

    Raises AuthRefused naming both.
    """
    try:
        found = resolve_secrets([KEY_ID, SECRET])
    except ConfigError as exc:
        profile = _profile()
        if profile is None:
            raise AuthRefused(
                f"AWS: {exc.message}", f"`aws configure` writes them for all tools, or: {exc.hint}"
            ) from None
        return profile
    # Only beside a key of the same place: another place's token belongs to another key.
    token = os.environ.get(TOKEN) if os.environ.get(KEY_ID) else None
    return Credentials(found[KEY_ID].get_secret_value(), found[SECRET], SecretStr(token) if token else None)


def account_of(held: Credentials) -> str:
    """A fingerprint of the account: the same for all its keys, since keys (temporary ones above all) change.

    A key's id names its account; one that does not is an account of its own here.
    """
    return fingerprint(SecretStr(_account_number(held.key_id) or held.key_id))


def default_region() -> str:
    """Where AWS's own tools would work: the environment, then the profile, then us-east-1."""
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if os.environ.get(variable):
            return os.environ[variable]
    config = _read(os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config")
    name = _profile_name()
    section = name if name == "default" else f"profile {name}"
    return config.get(section, "region", fallback=FIRST_REGION)


def _profile() -> Credentials | None:
    file = _read(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials")
    name = _profile_name()
    key_id = file.get(name, "aws_access_key_id", fallback="")
    secret = file.get(name, "aws_secret_access_key", fallback="")
    token = file.get(name, "aws_session_token", fallback="")
    if not key_id or not secret:
        return None
    return Credentials(key_id, SecretStr(secret), SecretStr(token) if token else None)


def _profile_name() -> str:
    return os.environ.get("AWS_PROFILE") or "default"


def _read(path: str) -> configparser.ConfigParser:
    """The file's sections; none where it is not there or not readable as such."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(Path(path).expanduser().read_text())
    except (OSError, UnicodeDecodeError, configparser.Error):
        parser.clear()
    return parser


def _account_number(key_id: str) -> str:
    """The twelve digits that a key's id holds in base 32; empty for ids of another form."""
    if not re.fullmatch(r"(AKIA|ASIA)[A-Z2-7]{16}", key_id):
        return ""
    try:
        data = base64.b32decode(key_id[4:])
    except binascii.Error:
        return ""
    return f"{(int.from_bytes(data[:6], 'big') & 0x7FFFFFFFFF80) >> 7:012d}"
