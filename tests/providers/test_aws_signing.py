"""AWS signatures against the vectors that AWS publishes (its Signature Version 4 test suite and guide)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from gpusess.providers.aws_signing import Credentials, sign

KEY = Credentials("AKIDEXAMPLE", SecretStr("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
WHEN = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
HOST = "https://example.amazonaws.com"

SUITE = [
    ("get-vanilla", "GET", "/", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("post-vanilla", "POST", "/", {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    (
        "get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", {}, b"",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "post-x-www-form-urlencoded", "POST", "/", {"Content-Type": "application/x-www-form-urlencoded"},
        b"Param1=value1", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "method", "path", "headers", "body", "signature"), SUITE)
def test_the_published_suite(
    name: str, method: str, path: str, headers: dict[str, str], body: bytes, signature: str
) -> None:
    added = sign(method, HOST + path, headers, body, KEY, "us-east-1", "service", WHEN)
    assert added["authorization"].endswith(f"Signature={signature}"), name
    assert added["x-amz-date"] == "20150830T123600Z"


def test_the_guides_example() -> None:
    """`ListUsers` of the guide's chapter on signing."""
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    url = "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08"
    added = sign("GET", url, headers, b"", KEY, "us-east-1", "iam", WHEN)
    assert added["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request,"
        " SignedHeaders=content-type;host;x-amz-date,"
        " Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


def test_a_token_is_signed_too_and_nothing_shows_the_secret() -> None:
    temporary = Credentials("ASIDEXAMPLE", KEY.secret, SecretStr("session-token"))
    added = sign("POST", HOST + "/", {}, b"", temporary, "us-east-1", "ec2", WHEN)
    assert added["x-amz-security-token"] == "session-token"
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token" in added["authorization"]
    assert "wJalr" not in repr(temporary) + repr(added)
    assert "session-token" not in repr(temporary)
