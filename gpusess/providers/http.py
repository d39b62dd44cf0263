"""One provider's HTTP API: keys, pacing, retries, its errors in our words. No cloud's own paths or fields.

A read is tried again; a write never is: whether a write that got no answer took effect is for the caller to
find out, so it raises `ProviderFault`, which says nothing about what happened.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import logging
import os
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from gpusess.errors import AuthRefused, BadRequest, ConfigError, ProviderError, ProviderFault, RateLimited
from gpusess.providers.pacing import Pace
from gpusess.secrets import resolve_secrets

log = logging.getLogger("provider")

M = TypeVar("M", bound=BaseModel)

TIMEOUT = httpx.Timeout(30.0, connect=10.0)
CALL_LIMIT = 90.0
"""Seconds for one whole call, however slowly its answer drips."""
READ_TRIES = 4
LONGEST_PAUSE = 60.0
LARGEST_ANSWER = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not a success, as it came."""

    status: int
    body: Any
    """Parsed JSON, or the text where it is none."""
    retry_after: float | None

    @property
    def text(self) -> str:
        """What the provider said, for a person: one line, cut short. It is hostile text."""
        return one_line(self.body if isinstance(self.body, str) else json.dumps(self.body))


def one_line(text: object) -> str:
    """What somebody else wrote, fit for a user's terminal: one line, no control characters, cut short."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())[:300]


Translate = Callable[[Refusal], ProviderError | None]
"""A refusal in our words; None: nothing special, the status decides."""


def secret(name: str, *, provider: str, where: str) -> SecretStr:
    """The account's key. Raises AuthRefused naming the ways to give it.

    where: the page of the provider's console that hands keys out.
    """
    try:
        return resolve_secrets([name])[name]
    except ConfigError as exc:
        raise AuthRefused(f"{provider}: {exc.message}", f"make a key at {where}, then {exc.hint}") from None


def fingerprint(key: SecretStr) -> str:
    """A short name for the account that the key opens: it tells keys apart and gives none away."""
    return hashlib.sha256(b"gpusess account " + key.get_secret_value().encode()).hexdigest()[:12]


def base_url(provider: str, default: str) -> str:
    """The API's address; `GPUSESS_<PROVIDER>_URL` names another one.

    Only from the environment: a spec that somebody else wrote must not send the key elsewhere.
    """
    variable = f"GPUSESS_{provider.upper()}_URL"
    url = os.environ.get(variable) or default
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise ConfigError(f"${variable}: {url} would carry the key unencrypted", "use an https address")
    return url.rstrip("/")


class Api:
    """Calls of one account to one provider.

    headers: what each request carries, the key included; never shown.
    pace: waited for before each call; calls may name another one.
    """

    def __init__(
        self,
        provider: str,
        url: str,
        headers: Mapping[str, SecretStr | str],
        translate: Translate,
        pace: Pace | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._provider = provider
        self._url = url
        self._headers = dict(headers)
        self._translate = translate
        self._pace = pace
        self._sleep = sleep
        self._client: httpx.AsyncClient | None = None

    async def read(
        self, path: str, params: Mapping[str, Any] | None = None, method: str = "GET", body: Any = None
    ) -> Any:
        """A call without an effect: tried again after trouble. `method` and `body` for searches by POST."""
        for attempt in range(1, READ_TRIES + 1):
            try:
                return await self._once(method, path, params, body, self._pace)
            except (ProviderFault, RateLimited) as exc:
                if attempt == READ_TRIES:
                    raise
                pause = min(LONGEST_PAUSE, 2.0 ** (attempt - 1) * (0.5 + random.random()))
                log.info("%s; asking again in %.1f s", exc.message, pause)
                await self._sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def write(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        pace: Pace | None = None,
    ) -> Any:
        """A call with an effect: sent once. Raises ProviderFault where it may have taken effect or not."""
        return await self._once(method, path, params, body, pace or self._pace)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _once(
        self, method: str, path: str, params: Mapping[str, Any] | None, body: Any, pace: Pace | None
    ) -> Any:
        if pace is not None:
            await pace.turn()
        try:
            response, data = await self._exchange(method, path, params, body)
        except (httpx.HTTPError, TimeoutError) as exc:
            raise ProviderFault(
                f"{self._provider} did not answer ({type(exc).__name__}{_detail(exc)})",
                "check the network; nothing that costs money is sent twice",
            ) from None
        if response.status_code < 300:
            return self._parsed(response, data)
        raise self._error(_refusal(response, data), pace)

    async def _exchange(
        self, method: str, path: str, params: Mapping[str, Any] | None, body: Any
    ) -> tuple[httpx.Response, bytes]:
        if self._client is None:
            self._client = httpx.AsyncClient(
                timeout=TIMEOUT,
                follow_redirects=False,
                headers={"User-Agent": "gpusess"},
                verify=_trust(),
            )
        request = self._request(self._client, method, path, params, body)
        async with asyncio.timeout(CALL_LIMIT):
            response = await self._client.send(request, stream=True)
            try:
                data = b""
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > LARGEST_ANSWER:
                        raise httpx.DecodingError("the answer is larger than 32 MiB")
            finally:
                await response.aclose()
        return response, data

    def _request(
        self, client: httpx.AsyncClient, method: str, path: str, params: Mapping[str, Any] | None, body: Any
    ) -> httpx.Request:
        headers = {
            k: v.get_secret_value() if isinstance(v, SecretStr) else v for k, v in self._headers.items()
        }
        return client.build_request(method, self._url + path, params=params, json=body, headers=headers)

    def _parsed(self, response: httpx.Response, data: bytes) -> Any:
        if response.status_code == 204 or not data.strip():
            return None
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise ProviderFault(
                f"{self._provider} answered {response.status_code} with something that is not JSON",
                "try again; if it lasts, look at the provider's status page",
            ) from None

    def _error(self, refusal: Refusal, pace: Pace | None) -> ProviderError:
        error = self._translate(refusal) or _by_status(self._provider, refusal)
        if isinstance(error, RateLimited) and pace is not None:
            pace.hold_off(min(LONGEST_PAUSE, refusal.retry_after or 5.0))
        return error


def checked(provider: str, model: type[M], value: Any) -> M:
    """A provider's JSON as our model of it. Raises ProviderFault, naming the field, where it is another."""
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the answer"
        raise ProviderFault(
            f"{provider} answered in a way that gpusess does not know ({place}: {first['msg']})",
            "update gpusess, or report it: the provider may have changed its API",
        ) from None


@functools.cache
def _trust() -> ssl.SSLContext:
    """Reading the authorities takes 25 ms: once for all clients, of which EC2 has one a region."""
    return httpx.create_ssl_context()


def _refusal(response: httpx.Response, data: bytes) -> Refusal:
    try:
        body: Any = json.loads(data)
    except (ValueError, RecursionError):
        body = data[:2000].decode(errors="replace")
    after = response.headers.get("retry-after", "")
    return Refusal(response.status_code, body, float(after) if after.replace(".", "", 1).isdigit() else None)


def _by_status(provider: str, refusal: Refusal) -> ProviderError:
    status, said = refusal.status, refusal.text
    if status in (401, 403):
        return AuthRefused(
            f"{provider} refused the key ({status}: {said})", "check the key and what it may do"
        )
    if status == 429:
        return RateLimited(
            f"{provider}: too many requests", "wait a minute; other programs share the account's limit"
        )
    # What is no JSON may come from something on the way, and says nothing about what the provider has done.
    if 400 <= status < 500 and not isinstance(refusal.body, str):
        return BadRequest(
            f"{provider} refused the request ({status}: {said})", f"see docs/providers/{provider}.md"
        )
    return ProviderFault(
        f"{provider} is in trouble ({status})", "try again; the provider's status page may say more"
    )


def _detail(exc: Exception) -> str:
    """The cause, where it can hold no secret: addresses and system errors do not."""
    cause = exc.__cause__ or exc.__context__
    return f": {cause}" if isinstance(cause, OSError) else ""
