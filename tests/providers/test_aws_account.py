"""Whose AWS account: keys and regions where AWS's own tools have them, and one name for all keys of an account."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from pydantic import SecretStr

from gpusess.errors import AuthRefused
from gpusess.providers.aws_account import _account_number, account_of, credentials, default_region
from gpusess.providers.aws_signing import Credentials


@pytest.fixture(autouse=True)
def nobodys_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))


def key_id(account: int, number: int) -> str:
    """An access key's id of that account, as AWS builds them."""
    data = (account << 7 | 1 << 47).to_bytes(6, "big") + number.to_bytes(4, "big")
    return "AKIA" + base64.b32encode(data).decode()


def test_a_published_keys_account() -> None:
    assert _account_number("ASIAQNZGKIQY56JQ7WML") == "029608264753"
    assert _account_number("AKIAIOSFODNN7EXAMPL1") == ""
    assert _account_number("testing") == ""


def test_all_keys_of_an_account_have_one_name() -> None:
    """Temporary keys change within hours; what another account lists proves nothing."""
    held = [
        Credentials(key_id(account, n), SecretStr("s"))
        for account, n in ((123456789012, 1), (123456789012, 2), (210987654321, 1))
    ]
    one, same, other = (account_of(h) for h in held)
    assert one == same != other
    assert account_of(Credentials("testing", SecretStr("s"))) != account_of(
        Credentials("other", SecretStr("s"))
    )


def test_the_environment_stands_above_the_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = A\naws_secret_access_key = sec%ret\n"
        "[work]\naws_access_key_id = B\naws_secret_access_key = s\naws_session_token = t\n"
    )
    found = credentials()
    assert (found.key_id, found.secret.get_secret_value(), found.token) == ("A", "sec%ret", None)
    monkeypatch.setenv("AWS_PROFILE", "work")
    found = credentials()
    assert found.key_id == "B"
    assert found.token
    assert found.token.get_secret_value() == "t"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "C")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "c")
    assert (credentials().key_id, credentials().token) == ("C", None), "another key's token is not taken"


def test_nowhere_is_refused_with_the_ways_to_give_one(tmp_path: Path) -> None:
    for content in ("", "not a profile", "[default]\naws_access_key_id = A\n", "[other]\n"):
        (tmp_path / "credentials").write_text(content)
        with pytest.raises(AuthRefused, match="AWS_ACCESS_KEY_ID") as caught:
            credentials()
        assert "aws configure" in caught.value.hint


def test_the_region_is_that_of_awss_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_region() == "us-east-1"
    (tmp_path / "aws-config").write_text(
        "[default]\nregion = eu-west-1\n[profile work]\nregion = eu-north-1\n"
    )
    assert default_region() == "eu-west-1"
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert default_region() == "eu-north-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
    assert default_region() == "ap-south-1"
    monkeypatch.setenv("AWS_REGION", "sa-east-1")
    assert default_region() == "sa-east-1"
