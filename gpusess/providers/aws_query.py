"""AWS's two ways of asking, both signed: the Query API with XML (EC2), and JSON with a target (SSM, prices).

`Api`'s path is the action here, and its params are the action's; everything is a POST to the root.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import httpx

from gpusess.errors import ProviderFault
from gpusess.providers.aws_errors import translate
from gpusess.providers.aws_signing import Credentials, sign
from gpusess.providers.http import Api, base_url

VERSION = "2016-11-15"
DEEPEST = 60

Node = dict[str, Any] | list[Any] | str | None
"""XML as Python: an element with children is a table, one with `item`s a list, an empty one None."""


class _Signed(Api):
    """One service in one region."""

    def __init__(
        self, service: str, region: str, held: Credentials, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__("aws", base_url("aws", f"https://{_host(service, region)}"), {}, translate)
        self._service = service
        self._region = region
        self._held = held
        self._clock = clock

    def _signed(self, client: httpx.AsyncClient, headers: dict[str, str], content: bytes) -> httpx.Request:
        url = f"{self._url}/"
        signed = sign("POST", url, headers, content, self._held, self._region, self._service, self._clock())
        return client.build_request("POST", url, content=content, headers={**headers, **signed})


class Query(_Signed):
    """EC2's Query API."""

    async def ask(self, action: str, **params: Any) -> Node:
        """A call without an effect."""
        return _tree(await self.read(action, params))

    async def act(self, action: str, **params: Any) -> Node:
        """A call with an effect: sent once."""
        return _tree(await self.write("POST", action, params=params))

    async def pages(self, action: str, **params: Any) -> list[dict[str, Any]]:
        """All pages of an answer, as tables."""
        found: list[dict[str, Any]] = []
        token: str | None = None
        for _ in range(1000):
            page = await self.ask(action, **params, **({"NextToken": token} if token else {}))
            if not isinstance(page, dict):
                raise _strange(f"{action} answered with no table")
            found.append(page)
            following = page.get("nextToken")
            if not following:
                return found
            if following == token or not isinstance(following, str):
                break
            token = following
        raise _strange(f"{action}'s pages have no end")

    def _request(
        self, client: httpx.AsyncClient, method: str, path: str, params: Mapping[str, Any] | None, body: Any
    ) -> httpx.Request:
        del method, body
        fields = {"Action": path, "Version": VERSION, **dict(_flat("", dict(params or {})))}
        headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        return self._signed(client, headers, urlencode(fields).encode())

    def _parsed(self, response: httpx.Response, data: bytes) -> Any:
        del response
        # AWS sends no document types; with them a small answer could unfold to a huge one.
        if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            raise _strange("the answer has a document type")
        try:
            return ElementTree.fromstring(data)
        except ElementTree.ParseError:
            raise _strange("the answer is not XML") from None


class Json(_Signed):
    """A service that takes JSON. prefix: what stands before the action in its `X-Amz-Target`."""

    def __init__(self, service: str, region: str, held: Credentials, prefix: str) -> None:
        super().__init__(service, region, held)
        self._prefix = prefix

    async def ask(self, action: str, **params: Any) -> Any:
        """A call without an effect."""
        return await self.read(action, params)

    def _request(
        self, client: httpx.AsyncClient, method: str, path: str, params: Mapping[str, Any] | None, body: Any
    ) -> httpx.Request:
        del method, body
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"{self._prefix}.{path}"}
        return self._signed(client, headers, json.dumps(dict(params or {})).encode())


def _host(service: str, region: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]+", region):
        raise ProviderFault(f"'{region}' is no AWS region", "a region is called like us-east-1")
    return (
        f"api.pricing.{region}.amazonaws.com" if service == "pricing" else f"{service}.{region}.amazonaws.com"
    )


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """`{"A": [{"B": 1}]}` → `A.1.B=1`. None is left out."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, one)
    elif isinstance(value, list):
        for number, one in enumerate(value, 1):
            yield from _flat(f"{prefix}.{number}", one)
    elif isinstance(value, bool):
        yield prefix, "true" if value else "false"
    elif value is not None:
        yield prefix, str(value)


def _tree(element: ElementTree.Element, depth: int = 0) -> Node:
    if depth > DEEPEST:
        raise _strange("the answer is nested too deep")
    children = list(element)
    if not children:
        text = (element.text or "").strip()
        return text or None
    if all(_name(child) == "item" for child in children):
        return [_tree(child, depth + 1) for child in children]
    return {_name(child): _tree(child, depth + 1) for child in children}


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _strange(what: str) -> ProviderFault:
    return ProviderFault(f"aws: {what}", "try again; if it lasts, look at https://health.aws.amazon.com")
