"""What can be rented of EC2 in a region: NVIDIA machines and a few without a GPU, on demand and spot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from gpusess.providers.aws_answers import Offerings, SpotPrices, Type, Types
from gpusess.providers.aws_prices import Prices
from gpusess.providers.aws_query import Query
from gpusess.providers.base import Offer
from gpusess.providers.http import checked

GPU_TYPES = ["g*", "p*"]
CPU_TYPES = ["t3.xlarge", "m7i.xlarge", "c7i.4xlarge"]
"""Without a GPU, for rehearsals."""
LINUX = "Linux/UNIX"


async def offers_in(ec2: Query, region: str, prices: Prices, clock: Callable[[], float]) -> list[Offer]:
    """On demand where the price is known, and spot at the price of the cheapest zone. EC2 shows no stock."""
    names = [{"Name": "instance-type", "Value": [*GPU_TYPES, *CPU_TYPES]}]
    pages, here = await asyncio.gather(
        ec2.pages("DescribeInstanceTypes", Filter=names, MaxResults=100),
        ec2.pages("DescribeInstanceTypeOfferings", LocationType="region"),
    )
    offered = {o.name for page in here for o in checked("aws", Offerings, page).offerings}
    types = [t for page in pages for t in checked("aws", Types, page).types if _usable(t)]
    known = {t.name: t for t in types if t.name in offered}
    (known_prices, read_at), spot = await asyncio.gather(
        prices.of(region, sorted(known)), _spot_prices(ec2, sorted(known), clock())
    )
    on_demand = [
        _offer(type, region, known_prices[name], False, {"priced": read_at})
        for name, type in known.items()
        if known_prices.get(name) and "on-demand" in type.usages
    ]
    return on_demand + _spot_offers(spot, known, region)


async def _spot_prices(ec2: Query, types: list[str], now: float) -> list[dict[str, Any]]:
    """The prices that hold now, of every zone."""
    if not types:
        return []
    since = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return await ec2.pages(
        "DescribeSpotPriceHistory", StartTime=since, ProductDescription=[LINUX], InstanceType=types
    )


def _usable(type: Type) -> bool:
    """x86, and no GPU but NVIDIA's."""
    return "x86_64" in type.processor.architectures and all(g.maker == "NVIDIA" for g in type.gpus)


def _offer(type: Type, region: str, price: float, spot: bool, detail: dict[str, Any]) -> Offer:
    gpus = type.gpus
    return Offer(
        provider="aws",
        name=type.name,
        region=region,
        price=price,
        gpu=gpus[0].name if gpus else "",
        gpus=sum(g.count for g in gpus),
        vcpus=type.vcpus.count,
        memory_gib=type.memory.size / 1024,
        available=True,
        gpu_memory_gib=round(gpus[0].memory.size / 1024, 1) if gpus else 0.0,
        spot=spot,
        detail=detail | {"stock": "not shown"},
    )


def _spot_offers(pages: list[dict[str, Any]], known: dict[str, Type], region: str) -> list[Offer]:
    """One offer a type: the zone whose latest price is the least."""
    latest: dict[tuple[str, str], tuple[float, float]] = {}
    for page in pages:
        for seen in checked("aws", SpotPrices, page).prices:
            key, now = (seen.name, seen.zone), (seen.at.timestamp(), seen.price)
            latest[key] = max(latest.get(key, now), now)
    best: dict[str, tuple[float, str, float]] = {}
    for (name, zone), (at, price) in latest.items():
        if name in known and "spot" in known[name].usages and price > 0:
            best[name] = min(best.get(name, (price, zone, at)), (price, zone, at))
    return [
        _offer(known[name], region, price, True, {"zone": zone, "priced": at})
        for name, (price, zone, at) in best.items()
    ]
