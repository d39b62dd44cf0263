"""Which offers fit what is wanted, and in which order they are tried: pure functions on offers that were
read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpusess.errors import NoCapacity
from gpusess.providers.base import Offer

if TYPE_CHECKING:
    from gpusess.spec.models import Resources


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter over offers; what is empty or None does not filter."""

    gpus: Sequence[tuple[str, int | None]] = ()
    """(model, count); count None: any."""
    regions: Sequence[str] = ()
    max_price: float | None = None
    """US dollars an hour."""
    vram: float = 0.0
    """GiB of one GPU, at least."""
    count: int | None = None
    spot: str = "allow"
    """no, allow or only."""
    available: bool = False
    """Only what can be had now."""


def wanted_by(resources: Resources) -> Wanted:
    return Wanted(gpus=resources.gpus, regions=resources.regions, spot=resources.spot)


def fits(offer: Offer, wanted: Wanted) -> bool:
    """Whether an offer is what is wanted, its price included."""
    return (
        is_kind(offer, wanted)
        and (wanted.max_price is None or offer.price <= wanted.max_price)
        and (offer.available or not wanted.available)
    )


def is_kind(offer: Offer, wanted: Wanted) -> bool:
    """Whether an offer is what is wanted, whatever it costs and whether it can be had now."""
    if wanted.regions and offer.region not in wanted.regions:
        return False
    if offer.spot != (wanted.spot == "only") and wanted.spot != "allow":
        return False
    if wanted.count is not None and offer.gpus != wanted.count:
        return False
    if wanted.vram and offer.gpu_memory_gib < wanted.vram:
        return False
    return not wanted.gpus or any(
        same_model(model, offer.gpu) and count in (None, offer.gpus) for model, count in wanted.gpus
    )


def same_model(wanted: str, offered: str) -> bool:
    """Whether a provider's name of a GPU says what is wanted, word for word: `A10` is no `A100`.

    `H100` fits `H100 (80 GB SXM5)`, `h100 sxm` too, and `RTX4090` fits `NVIDIA GeForce RTX 4090`.
    """
    words = _words(offered)
    if all(any(_same_word(word, other) for other in words) for word in _words(wanted)):
        return bool(words)
    whole = "".join(_words(wanted))
    return any("".join(words[i:j]) == whole for i in range(len(words)) for j in range(i + 1, len(words) + 1))


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())


def _same_word(wanted: str, offered: str) -> bool:
    """`sxm` is also `sxm5`: a number after a word of letters is its version."""
    return wanted == offered or (wanted.isalpha() and re.fullmatch(rf"{wanted}\d", offered) is not None)


def candidates(offers: Iterable[Offer], resources: Resources) -> list[Offer]:
    """The offers to try, cheapest first. Raises NoCapacity, saying what is in the way."""
    wanted = wanted_by(resources)
    fitting = [offer for offer in offers if is_kind(offer, wanted)]
    names = ", ".join(resources.provider)
    if not fitting:
        where = f" in {', '.join(resources.regions)}" if resources.regions else ""
        have = "has" if len(resources.provider) == 1 else "have"
        raise NoCapacity(
            f"{names} {have} no offer for {what(resources)}{where}",
            "change `resources.gpu` or `resources.region`; `gpusess offers` lists what there is",
        )
    cheap = [o for o in fitting if resources.max_price is None or o.price <= resources.max_price]
    if not cheap:
        raise NoCapacity(
            f"the cheapest offer costs ${min(o.price for o in fitting):.2f}/h, more than max_price"
            f" ${resources.max_price:.2f}/h",
            "raise `resources.max_price`",
        )
    ready = [o for o in cheap if o.available]
    if not ready:
        kinds = ", ".join(dict.fromkeys(o.name for o in cheap))
        raise NoCapacity(f"nothing is available now of {kinds}", "`gpusess up --wait` waits for it")
    return sorted(ready, key=lambda o: (o.price, o.provider, o.name, o.region))


def what(resources: Resources) -> str:
    """What is wanted, in a few words."""
    kind = " or ".join(resources.gpu) if resources.gpu else "a CPU instance"
    return kind + (" (spot)" if resources.spot == "only" else "")
