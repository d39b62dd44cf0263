"""Offers: asked at once, kept over trouble with their age, and chosen word for word."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from gpusess.errors import AuthRefused, ProviderFault
from gpusess.providers.base import Offer
from gpusess.sessions import choosing, offers
from gpusess.sessions.choosing import Wanted, fits, same_model

from .cloud import Cloud


class Slow(Cloud):
    """Answers after a while."""

    seconds = 0.0

    async def offers(self) -> list[Offer]:
        await asyncio.sleep(self.seconds)
        return self.offered


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUSESS_CACHE", str(tmp_path))


def opener(*clouds: Cloud) -> Any:
    known = {cloud.name: cloud for cloud in clouds}

    def opened(name: str) -> Any:
        if name not in known:
            raise AuthRefused(f"{name}: no key")
        return known[name]

    return opened


async def test_five_slow_providers_take_as_long_as_the_slowest() -> None:
    clouds = [Slow(f"c{i}") for i in range(5)]
    for cloud in clouds:
        cloud.seconds = 0.2
    began = time.perf_counter()
    answers = await offers.ask_all([c.name for c in clouds], opener=opener(*clouds))
    assert time.perf_counter() - began < 0.3
    assert [a.provider for a in answers] == ["c0", "c1", "c2", "c3", "c4"]


async def test_trouble_and_emptiness_wipe_nothing() -> None:
    cloud, clock = Cloud("a"), iter(range(1000, 2000)).__next__
    ask = lambda: offers.ask_all(["a"], clock, opener(cloud))  # noqa: E731
    (first,) = await ask()
    assert (first.at, first.error) == (1000, "")
    kept, cloud.offered = cloud.offered, []
    (empty,) = await ask()
    assert (empty.at, empty.offers, empty.error) == (1000, kept, "it answered with no offers at all")

    async def down() -> list[Offer]:
        raise ProviderFault("a is in trouble (500)", "try again")

    cloud.offers = down  # type: ignore[method-assign]
    (failed,) = await ask()
    assert (failed.at, failed.offers, failed.error) == (1000, kept, "a is in trouble (500)")
    facts = offers.facts([failed], lambda _: True, now=1060.0)
    assert facts["providers"] == [
        {"provider": "a", "at": 1000, "age_seconds": 60.0, "offers": 1, "error": "a is in trouble (500)"}
    ]
    assert facts["offers"][0]["as_of"] == 1000
    assert [a.offers for a in offers.last_answers(["a", "b"])] == [kept]


async def test_without_a_key_a_provider_is_no_market_unless_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(offers, "PROVIDERS", {"local": "", "a": "", "b": ""})
    assert [a.provider for a in await offers.ask_all(opener=opener(Cloud("a"), Cloud("local")))] == ["a"]
    (named,) = await offers.ask_all(["b"], opener=opener(Cloud("a")))
    assert named.error == "b: no key"


async def test_a_broken_cache_is_asked_anew(tmp_path: Path) -> None:
    (tmp_path / "offers").mkdir()
    (tmp_path / "offers/a.json").write_text('{"at": 5, "offers": [{"was": "another format"}]}')
    assert offers.last_answers(["a"]) == []
    (answer,) = await offers.ask_all(["a"], opener=opener(Cloud("a")))
    assert answer.offers


@pytest.mark.parametrize(
    ("wanted", "offered", "same"),
    [
        ("H100", "H100 (80 GB SXM5)", True),
        ("h100 sxm", "H100 (80 GB SXM5)", True),
        ("H100 PCIe", "H100 (80 GB SXM5)", False),
        ("A10", "A100 80GB", False),
        ("A10", "NVIDIA A10G", False),
        ("A10", "A10 (24 GB PCIe)", True),
        ("H200", "GH200 (96 GB)", False),
        ("RTX4090", "NVIDIA GeForce RTX 4090", True),
        ("4090", "RTX 4090", True),
        ("RTX 4090", "RTX4090", True),
        ("A100", "", False),
    ],
)
def test_models_are_compared_word_for_word(wanted: str, offered: str, same: bool) -> None:
    assert same_model(wanted, offered) is same


def test_filters() -> None:
    offer = Offer("p", "t", "us-1", 2.0, "H100", 2, 8, 64.0, False, gpu_memory_gib=80.0)
    assert fits(offer, Wanted(gpus=[("H100", None)], regions=["us-1"], max_price=2.0, vram=80, count=2))
    for wrong in (
        Wanted(gpus=[("H100", 1)]),
        Wanted(regions=["eu-1"]),
        Wanted(max_price=1.99),
        Wanted(vram=81),
        Wanted(count=1),
        Wanted(spot="only"),
        Wanted(available=True),
    ):
        assert not fits(offer, wrong), wrong
    assert choosing.is_kind(offer, Wanted(available=True)), "the kind is right, it is only sold out"
