"""Whatever answers in a cloud's place, with whatever status: an error in our words with a next step, or a result,
and never anything else. Nothing of it reaches a terminal as it came, and no key gets out."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpusess.errors import GpusessError, ProviderError, ProviderFault
from gpusess.providers import http, open_provider
from gpusess.providers.base import HasLeftovers, Instance, InstanceStatus, Offer, Provider, Stops
from gpusess.providers.pacing import Pace

from .aws_xml import answer as xml
from .canned import Canned, canned
from .client import Simulator
from .http import Reply
from .requests import launch_request
from .serve import CLOUDS, cloud_class

IDS = {"aws": "us-east-1:i-0123456789abcdef0", "vast": "28000001"}
DETAIL = {
    "ask": 7000001,
    "id": "NVIDIA GeForce RTX 4090",
    "cloud": "SECURE",
    "zone": "us-east-1a",
    "shade_instance_type": "A6000",
}
"""What any of the clouds' launches looks for in an offer."""
ESCAPE = "\x1b[2J\x1b]0;owned\x07"


@pytest.fixture(scope="module")
def site() -> Iterator[Canned]:
    with canned() as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def turn(self: Pace) -> None: ...

    monkeypatch.setattr(Pace, "turn", turn)
    monkeypatch.setattr(http, "READ_TRIES", 1)
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("GPUSESS_CACHE", str(tmp_path / "cache"))


def pointed_at(name: str, site: Canned, monkeypatch: pytest.MonkeyPatch) -> Provider:
    cloud = cloud_class(name)
    keys = cloud.environment or {f"{name.upper()}_API_KEY": cloud.key}
    for variable, value in {f"GPUSESS_{name.upper()}_URL": site.url, **keys}.items():
        monkeypatch.setenv(variable, value)
    return open_provider(name)


async def every_call(provider: Provider) -> dict[str, Any]:
    """What each of a provider's calls gives: its result or its error."""
    id = IDS.get(provider.name, "abc123")
    offer = Offer(provider.name, "g5.xlarge", "us-east-1", 1.0, "A10", 1, 4, 16.0, True, detail=DETAIL)
    calls: dict[str, Any] = {
        "offers": provider.offers(),
        "list": provider.list(),
        "get": provider.get(id),
        "launch": provider.launch(launch_request(offer)),
        "terminate": provider.terminate(id),
    }
    if isinstance(provider, HasLeftovers):
        calls["leftovers"] = provider.leftovers()
    if isinstance(provider, Stops):
        calls["stop"] = provider.stop(id)
    results = await asyncio.gather(*calls.values(), return_exceptions=True)
    await provider.close()
    return dict(zip(calls, results, strict=True))


def check(name: str, results: dict[str, Any]) -> None:
    key = cloud_class(name).key
    for call, result in results.items():
        if isinstance(result, BaseException):
            assert isinstance(result, GpusessError), f"{call}: {result!r}"
            assert result.hint, f"{call}: {result}"
            assert "\x1b" not in str(result) + result.hint, call
            assert "\n" not in str(result), call
            assert len(str(result)) < 700, call
            assert key not in repr(result), call


PROXY = "<html><head><title>Sorry</title></head><body>" + ESCAPE + "</body></html>"
DEEP = "[" * 200_000
ANSWERS: dict[str, Reply] = {
    "a proxy's page with 200": Reply(200, PROXY, {"Content-Type": "text/html"}),
    "a proxy's page with 403": Reply(403, PROXY, {"Content-Type": "text/html"}),
    "a proxy's page with 404": Reply(404, PROXY, {"Content-Type": "text/html"}),
    "a proxy's page with 502": Reply(502, PROXY, {"Content-Type": "text/html"}),
    "a redirect": Reply(302, None, {"Location": "http://127.0.0.1:9/"}),
    "a list": Reply(200, []),
    "a number": Reply(200, 7),
    "null": Reply(200, b"null", {"Content-Type": "application/json"}),
    "nothing": Reply(200, None),
    "half of a table": Reply(200, b'{"instances": [{"id"', {"Content-Type": "application/json"}),
    "nested without an end": Reply(200, DEEP, {"Content-Type": "application/json"}),
    "nested without an end, refused": Reply(400, DEEP, {"Content-Type": "application/json"}),
    "no text at all": Reply(200, bytes(range(256)), {"Content-Type": "application/octet-stream"}),
    "a table of nothing known": Reply(200, {"hello": ESCAPE}),
    "an error with a screenful": Reply(400, {"error": ESCAPE * 1000, "msg": ESCAPE * 1000, "detail": ESCAPE * 1000,
                                             "title": "t", "status": 400}),
    "an error of other types": Reply(400, {"error": [1], "msg": {"a": 1}, "detail": 3, "__type": 7, "message": None}),
    "an XML bomb": Reply(200, '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><a>&c;</a>', {"Content-Type": "text/xml"}),
    "XML of nothing known": Reply(200, "<a><b/></a>", {"Content-Type": "text/xml"}),
    "XML nested deep": Reply(200, "<a>" * 5000 + "</a>" * 5000, {"Content-Type": "text/xml"}),
    "XML that is an error": Reply(400, "<Response><Errors><Error><Code>\x1b[2J</Code><Message>" + ESCAPE, {}),
    "too many, for a year": Reply(429, {"detail": "later"}, {"Retry-After": "31536000"}),
    "another status": Reply(599, {"error": "strange"}),
}  # fmt: skip


@pytest.mark.parametrize("what", ANSWERS)
@pytest.mark.parametrize("name", CLOUDS)
async def test_any_answer(name: str, what: str, site: Canned, monkeypatch: pytest.MonkeyPatch) -> None:
    site.reply = ANSWERS[what]
    results = await every_call(pointed_at(name, site, monkeypatch))
    check(name, results)
    assert isinstance(results["launch"], ProviderError), "nothing of that says that an instance was made"
    assert isinstance(results["list"], ProviderError), "and nothing of that says that there is none"


async def test_an_answer_without_an_end_is_given_up(site: Canned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST_ANSWER", 2**20)
    site.reply = Reply(200, b" " * 2**22, {"Content-Type": "application/json"})
    for name in CLOUDS:
        results = await every_call(pointed_at(name, site, monkeypatch))
        check(name, results)
        assert isinstance(results["list"], ProviderFault)


# --- an answer of the cloud's own, with one thing changed ---


def own_answers(name: str, folder: Path) -> list[Any]:
    """What the simulated cloud answers to a client that looks at everything: parsed JSON, or XML's text."""
    found: list[Any] = []
    with Simulator(name, folder / "sim", judge=False) as sim, pytest.MonkeyPatch.context() as patch:
        sim.control("set", boot=0)
        for variable, value in {
            **sim.env,
            "GPUSESS_HOME": str(folder / "home"),
            "GPUSESS_CACHE": str(folder / "c"),
        }.items():
            patch.setenv(variable, value)
        real = httpx.AsyncClient.send

        async def send(self: httpx.AsyncClient, request: httpx.Request, **more: Any) -> httpx.Response:
            response = await real(self, request, **more)
            text = await response.aread()
            found.append(text.decode() if text.startswith(b"<") else json.loads(text or b"null"))
            again = {k: v for k, v in response.headers.items() if k != "content-length"}
            return httpx.Response(response.status_code, headers=again, content=text, request=request)

        patch.setattr(httpx.AsyncClient, "send", send)

        async def life() -> None:
            provider = open_provider(name)
            offers = [o for o in await provider.offers() if o.available]
            made = await provider.launch(launch_request(offers[0]))
            await provider.get(made.id)
            await provider.list()
            if isinstance(provider, HasLeftovers):
                await provider.leftovers()
            await provider.terminate(made.id)
            await provider.close()

        async def turn(self: Pace) -> None: ...

        patch.setattr(Pace, "turn", turn)
        asyncio.run(life())
    return [answer for answer in found if answer]


@pytest.fixture(scope="module", params=list(CLOUDS))
def known(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Any]]:
    name: str = request.param
    return name, own_answers(name, tmp_path_factory.mktemp(name))


STRANGE = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=20), st.just([]), st.just({}),
    st.just([[1]]), st.just({"a": [1]}), st.just("i" * 10_000), st.just(ESCAPE), st.just("2026-99-99T99:99:99Z"),
)  # fmt: skip


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    steps = (
        value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    )
    for step, one in steps:
        found += places(one, (*here, step))
    return found


def changed(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = changed(value[place[0]], place[1:], new)
    return copy


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_thing_changed(
    known: tuple[str, list[Any]], site: Canned, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    name, answers = known
    body = data.draw(st.sampled_from(answers))
    if isinstance(body, str):
        words = sorted(set(re.findall(r">([^<>\s][^<>]*)<", body)))
        old = data.draw(st.sampled_from(words))
        new = data.draw(
            st.sampled_from(["", "-1", "1e400", "NaN", "x" * 5000, "<b/>", "<item/>", "é\u202e", "&#27;[2J"])
        )
        body = body.replace(f">{old}<", f">{new}<", 1)
        site.reply = Reply(200, body, {"Content-Type": "text/xml"})
    else:
        place = data.draw(st.sampled_from(places(body)))
        site.reply = Reply(200, changed(body, place, data.draw(STRANGE)))
    results = asyncio.run(every_call(pointed_at(name, site, monkeypatch)))
    check(name, results)
    for one in [i for r in results.values() if isinstance(r, list) for i in r]:
        price = one.price if isinstance(one, (Instance, Offer)) else None
        assert price is None or 0 <= price < float("inf"), one
        assert not isinstance(one, Instance) or isinstance(one.status, InstanceStatus)


def test_the_query_api_cannot_be_answered_by_another_action(
    site: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer of another form is no empty list."""
    site.reply = Reply(200, xml("DescribeVolumes", {"volumeSet": []}), {"Content-Type": "text/xml"})
    results = asyncio.run(every_call(pointed_at("aws", site, monkeypatch)))
    assert isinstance(results["list"], ProviderFault)
