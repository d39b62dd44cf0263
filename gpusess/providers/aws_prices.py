"""What EC2 costs on demand: AWS's price list for Linux, shared machines, kept for a day in the user's cache.

The list is public and changes rarely, and it is far too long to be read at each look at the offers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpusess import paths
from gpusess.errors import ProviderError
from gpusess.providers.aws_answers import Products
from gpusess.providers.aws_query import Json
from gpusess.providers.http import checked

log = logging.getLogger("provider")

KEEP_SECONDS = 24 * 3600.0
REGION = "us-east-1"
"""One of the few regions where the price list answers; it knows all regions' prices."""
_LINUX = {
    "operatingSystem": "Linux",
    "preInstalledSw": "NA",
    "licenseModel": "No License required",
    "tenancy": "Shared",
    "capacitystatus": "Used",
}


class Prices:
    """US dollars an hour of instance types, by region. `account` keeps caches of tests and users apart."""

    def __init__(self, api: Json, account: str, clock: Callable[[], float] = time.time) -> None:
        self._api = api
        self._folder = paths.cache() / "aws-prices" / account
        self._clock = clock

    async def of(self, region: str, types: list[str]) -> tuple[dict[str, float], float]:
        """Prices of those types that the list has, and when they were read (seconds since the epoch).

        An older list is taken where AWS does not give a new one; without any the prices are empty.
        """
        known, at = self._kept(region)
        if self._clock() - at < KEEP_SECONDS and all(t in known for t in types):
            return known, at
        try:
            fresh = await self._fetch(region, types)
        except ProviderError as exc:
            log.warning(
                "%s; on-demand prices of %s are %s", exc.message, region, "old" if known else "missing"
            )
            return known, at
        # A type that the list does not have is kept as such, or it would be asked for again at each look.
        prices = {**dict.fromkeys(types, 0.0), **fresh}
        self._keep(region, prices)
        return prices, self._clock()

    def known(self, region: str, type: str) -> float:
        """What was read last; 0 where that is nothing."""
        return self._kept(region)[0].get(type, 0.0)

    async def _fetch(self, region: str, types: list[str]) -> dict[str, float]:
        found = await self._query(region, instanceFamily="GPU instance")
        missing = [t for t in types if t not in found]
        for more in await asyncio.gather(*(self._query(region, instanceType=t) for t in missing)):
            found |= more
        return found

    async def _query(self, region: str, **wanted: str) -> dict[str, float]:
        fields = {**_LINUX, "regionCode": region, **wanted}
        filters = [{"Type": "TERM_MATCH", "Field": f, "Value": v} for f, v in fields.items()]
        found: dict[str, float] = {}
        more: dict[str, str] = {}
        for _ in range(100):
            answer = await self._api.ask(
                "GetProducts", ServiceCode="AmazonEC2", FormatVersion="aws_v1", Filters=filters, **more
            )
            page = checked("aws", Products, answer)
            for product in page.products:
                found |= _price(product)
            if not page.token:
                break
            more = {"NextToken": page.token}
        return found

    def _file(self, region: str) -> Path:
        return self._folder / f"{region}.json"

    def _kept(self, region: str) -> tuple[dict[str, float], float]:
        try:
            kept = json.loads(self._file(region).read_text())
            return {str(t): float(p) for t, p in kept["prices"].items()}, float(kept["at"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}, 0.0

    def _keep(self, region: str, prices: dict[str, float]) -> None:
        file = self._file(region)
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f"{file.name}.{os.getpid()}")
        new.write_text(json.dumps({"at": self._clock(), "prices": prices}))
        new.replace(file)


def _price(product: Any) -> dict[str, float]:
    """One product's type and price; empty where it is none that is paid by the hour."""
    try:
        known = json.loads(product) if isinstance(product, str) else product
        (term,) = known["terms"]["OnDemand"].values()
        (dimension,) = term["priceDimensions"].values()
        price = float(dimension["pricePerUnit"]["USD"])
        name = str(known["product"]["attributes"]["instanceType"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: price} if dimension.get("unit") == "Hrs" and 0 < price < 10_000 else {}
