"""One OpenAI-compatible endpoint over HTTP: requests with their key, refusals that pass tried again, errors
in words.

The key comes from the environment and goes into a header and nowhere else. What the requests mean is in
`openai.py`.
"""

from __future__ import annotations

import email.utils
import json
import logging
import os
import random
import threading
import time
from typing import Any

import httpx

from remote_agent.engines.base import EngineError
from remote_agent.protocol import EngineSpec

log = logging.getLogger("engine")

PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses of refusals that may pass."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before a second try; doubled with each try up to the longest."""
SHOWN = 300


class Refused(Exception):
    """The endpoint does not answer this request; others it may. `status` is 0 where it gave no answer at
    all."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Endpoint:
    """Sends JSON and returns JSON. Any number of threads may use it."""

    def __init__(self, spec: EngineSpec, base_url: str) -> None:
        self._url = httpx.URL(base_url)
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise EngineError(f"`engine.base_url` is no address: {base_url}. Next: write https://HOST/v1.")
        self._retries = spec.retries
        self._key = _key(spec)
        self._stopped = threading.Event()
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        timeout = httpx.Timeout(spec.timeout, connect=20.0)
        self._client = httpx.Client(headers=self._headers(), timeout=timeout, limits=limits)

    @property
    def name(self) -> str:
        """The address without what may be secret in it."""
        return str(self._url.copy_with(userinfo=b"", query=None))

    def close(self) -> None:
        self._stopped.set()
        self._client.close()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request. Raises Refused, or EngineError where no request can succeed."""
        return self._send("POST", path, body)

    def get(self, path: str) -> dict[str, Any]:
        """The same for a question without a body."""
        return self._send("GET", path, None)

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        tried = 0
        while True:
            try:
                answer = self._client.request(method, self._at(path), json=body)
                if answer.is_success:
                    return self._read(answer)
                error = self._refusal(answer)
                pause = _asked_pause(answer)
            except httpx.HTTPError as exc:
                error, pause = Refused(0, f"no answer from {self.name}: {self._say(exc)}"), None
            if error.status not in PASSING and error.status != 0:
                raise error
            if tried == self._retries:
                raise Refused(error.status, f"{error}, {tried + 1} times")
            wait = _pause(tried) if pause is None else pause
            log.info("%s; trying again in %.1f s", error, wait)
            tried += 1
            if self._stopped.wait(wait):
                raise error

    def _refusal(self, answer: httpx.Response) -> Refused:
        """What a refusal says. Raises EngineError for one that every request would meet."""
        said, code = self._said(answer)
        where = f"{self.name} answered {answer.status_code}"
        if answer.status_code in (401, 403):
            raise EngineError(f"{where}: {said}. Next: check the secret that `engine.api_key` names.")
        if answer.status_code == 404:
            raise EngineError(f"{where}: {said}. Next: check `engine.base_url` and the model's name there.")
        if code == "insufficient_quota" or answer.status_code == 402:
            raise EngineError(f"{where}: {said}. Next: add credit to the account, then resume the run.")
        return Refused(answer.status_code, f"{where}: {said}")

    def _read(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Refused(answer.status_code, f"{self.name} answered no JSON object: {answer.text[:SHOWN]!r}")
        return found

    def _said(self, answer: httpx.Response) -> tuple[str, str]:
        """The message and the code of an error, whatever form it has."""
        try:
            found = answer.json()
        except ValueError:
            return self._say(answer.text or answer.reason_phrase), ""
        error = found.get("error", found) if isinstance(found, dict) else found
        if isinstance(error, dict):
            return self._say(error.get("message") or json.dumps(error)), str(error.get("code") or "")
        return self._say(error), ""

    def _say(self, text: object) -> str:
        """One line, without the key, should the endpoint repeat it."""
        line = " ".join(str(text).split())[:SHOWN]
        return line.replace(self._key, "…") if self._key else line

    def _at(self, path: str) -> httpx.URL:
        """The address of `path`; a query in the base address (an API version) stays."""
        return self._url.copy_with(path=f"{self._url.path.rstrip('/')}/{path}")

    def _headers(self) -> dict[str, str]:
        if not self._key:
            return {}
        if self._url.host.endswith(".azure.com"):
            return {"api-key": self._key}
        return {"Authorization": f"Bearer {self._key}"}


def _key(spec: EngineSpec) -> str:
    """The key from the worker's environment. Raises EngineError where the spec names one that is not
    there."""
    if spec.api_key is None:
        return ""
    key = os.environ.get(spec.api_key, "").strip()
    if not key:
        raise EngineError(
            f"the secret {spec.api_key} is not on the instance. Next: list it under `secrets` in the spec."
        )
    return key


def _pause(tried: int) -> float:
    """Seconds before the next try: doubled each time, and spread, so that refused requests do not come at
    once."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**tried) * random.uniform(0.5, 1.0)


def _asked_pause(answer: httpx.Response) -> float | None:
    """Seconds that the endpoint asks to wait for (`Retry-After`, in seconds or as a date); None: it does not
    say."""
    given = answer.headers.get("retry-after")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        date = email.utils.parsedate_tz(given)
        if date is None:
            return None
        seconds = email.utils.mktime_tz(date) - time.time()
    return max(0.0, min(seconds, 10 * LONGEST_PAUSE))
