"""AWS Signature Version 4, as AWS's guide to signed API requests has it. Headers only, no chunks."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic import SecretStr

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs. `token`: of temporary credentials."""

    key_id: str
    secret: SecretStr
    token: SecretStr | None = None


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    credentials: Credentials,
    region: str,
    service: str,
    now: float,
) -> dict[str, str]:
    """The headers to add to a request: date, token and Authorization.

    headers: those that are signed beside the added ones; `host` is taken from the URL where it is missing.
    now: seconds since the epoch.
    """
    date = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"x-amz-date": date}
    if credentials.token:
        added["x-amz-security-token"] = credentials.token.get_secret_value()
    signed = {"host": urlsplit(url).netloc, **headers, **added}
    signature, names = signature_of(method, url, signed, body, credentials.secret, date, region, service)
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    added["authorization"] = (
        f"{ALGORITHM} Credential={credentials.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return added


def signature_of(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    secret: SecretStr,
    date: str,
    region: str,
    service: str,
) -> tuple[str, str]:
    """The signature over all of these headers, and their names as `SignedHeaders` lists them.

    date: `YYYYMMDDTHHMMSSZ`.
    """
    request, names = _canonical_request(method, url, headers, body)
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    text = "\n".join([ALGORITHM, date, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = b"AWS4" + secret.get_secret_value().encode()
    for part in (date[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex(), names


def _canonical_request(method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[str, str]:
    parts = urlsplit(url)
    query = sorted(
        (quote(k, safe="-_.~"), quote(v, safe="-_.~"))
        for k, v in parse_qsl(parts.query, keep_blank_values=True)
    )
    lines = sorted((name.lower().strip(), " ".join(value.split())) for name, value in headers.items())
    names = ";".join(name for name, _ in lines)
    return (
        "\n".join(
            [
                method,
                quote(parts.path or "/", safe="/-_.~%"),
                "&".join(f"{k}={v}" for k, v in query),
                *(f"{name}:{value}" for name, value in lines),
                "",
                names,
                hashlib.sha256(body).hexdigest(),
            ]
        ),
        names,
    )
