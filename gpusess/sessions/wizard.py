"""What the launch wizard knows and does: the specs that could be started, an estimate of one on an offer, and
the start itself. The screens are `tui/screens/wizard.py`'s; nothing here draws.

All of it may be called from a thread of its own: each call opens its own store.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpusess.errors import GpusessError
from gpusess.providers.base import Abilities, Offer
from gpusess.sessions import deadlines, estimates, promises, start

if TYPE_CHECKING:
    from gpusess.sessions.offers import Answer
    from gpusess.spec import Spec

MOST_JOBS = 50
FOLDERS = (".", "specs", "examples")
"""Where specs are looked for, relative to the working folder, beside those of earlier sessions."""


@dataclass(frozen=True, slots=True)
class Job:
    """A spec that could be started."""

    path: Path
    name: str
    wants: str
    """What it asks for, in a few words."""
    runs: str
    error: str = ""
    """Its first mistake; such a spec cannot be started."""
    gpus: tuple[tuple[str, int], ...] = ()
    providers: tuple[str, ...] = ()
    budget: float | None = None
    max_hours: float | None = None
    lease: float = 1800.0


@dataclass(frozen=True, slots=True)
class Guard:
    """The limits that were chosen. Money is US dollars, `lease` and `wait` are seconds; None: no limit."""

    budget: float | None
    max_hours: float | None
    lease: float
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What starting a job on an offer comes to, in seconds and US dollars."""

    start: float | None
    starts: int
    """How many earlier starts it is the median of."""
    work: tuple[float, float] | None
    works: int
    cost: tuple[float, float] | None
    """From the quickest to the slowest of the earlier ones, the start included; None: not known."""
    most: float | None
    """What the limits let it cost at most; None: nothing bounds it."""
    lease: str
    """What ends the instance when nobody drives it."""


def jobs() -> list[Job]:
    """The specs of earlier sessions, newest first, then those in the usual folders."""
    store = start.open_store()
    try:
        paths = [Path(s.spec_path) for s in store.sessions() if s.spec_path]
    finally:
        store.close()
    for folder in FOLDERS:
        paths += sorted(p.resolve() for p in Path(folder).glob("*.yaml"))
    known = [path for path in dict.fromkeys(paths) if path.is_file()][:MOST_JOBS]
    return [job for job in map(_job, known) if job is not None]


def _job(path: Path) -> Job | None:
    """None for a YAML file that does not look like a spec at all."""
    from gpusess.spec import load_spec

    try:
        spec = load_spec(path)
    except GpusessError as exc:
        lines = exc.message.splitlines()
        if any(f": {key}: missing" in line for key in ("runs", "resources") for line in lines):
            return None
        return Job(path, path.stem, "", "", error=lines[0].removeprefix(f"{path}:"))
    wanted = spec.resources
    return Job(
        path,
        spec.name,
        " or ".join(wanted.gpu) or "any instance",
        ", ".join(run.name for run in spec.runs),
        gpus=tuple(wanted.gpus),
        providers=tuple(wanted.provider),
        budget=wanted.budget,
        max_hours=wanted.max_hours,
        lease=wanted.lease,
    )


async def own_machines(job: Job) -> list[Answer]:
    """What the user's own machines offer that the job names, with the spec's options for them."""
    from gpusess.providers import open_provider
    from gpusess.sessions.offers import NOT_OFFERING, ask_all
    from gpusess.spec import load_spec

    names = [name for name in job.providers if name in NOT_OFFERING]
    wanted = load_spec(job.path).resources
    return await ask_all(names, opener=lambda name: open_provider(name, wanted.options_for(name)))


def estimate(job: Job, offer: Offer, guard: Guard, now: float) -> Estimate:
    """From earlier sessions of the same job on the same type, and from the limits."""
    store = start.open_store()
    try:
        begun = estimates.usual_start(store, offer.provider, offer.name)
        work = estimates.usual_work(store, job.name, offer.name)
    finally:
        store.close()
    cost = None
    if work and begun.seconds is not None:
        cost = tuple((begun.seconds + seconds) * offer.price / 3600 for seconds in work[:2])
    return Estimate(
        start=begun.seconds,
        starts=begun.count,
        work=work[:2] if work else None,
        works=work[2] if work else 0,
        cost=cost,  # type: ignore[arg-type]
        most=most(offer.price, guard),
        lease=_lease(job, offer, guard, now),
    )


def most(price: float, guard: Guard) -> float | None:
    """What the limits let an instance cost, the grace for bringing results home included."""
    limits = [guard.budget] if guard.budget is not None else []
    if guard.max_hours is not None:
        limits.append(guard.max_hours * price)
    if not limits:
        return None if price else 0.0
    return min(limits) + deadlines.HOME_GRACE / 3600 * price


def _lease(job: Job, offer: Offer, guard: Guard, now: float) -> str:
    import importlib

    from gpusess.providers import PROVIDERS
    from gpusess.spec import load_spec

    module, _, attribute = PROVIDERS[offer.provider].partition(":")
    kind = getattr(importlib.import_module(module), attribute)
    abilities: Abilities = kind.abilities
    wanted = load_spec(job.path).resources.model_copy(
        update={"budget": guard.budget, "max_hours": guard.max_hours, "lease": guard.lease}
    )
    deadline = deadlines.limit(wanted, [], offer.price, now)
    moves = hasattr(kind, "move_deadline")
    return promises.promise(offer.provider, abilities, wanted, deadline, moves=moves)


def launch(job: Job, offer: Offer, guard: Guard) -> str:
    """Write the session down with what was chosen and start its driver; its id.

    The price on the button is the most that it may cost an hour: a dearer offer is refused.
    """
    from gpusess.secrets import resolve_secrets
    from gpusess.spec import load_spec
    from gpusess.spec.loading import read_text

    spec = load_spec(job.path)
    resolve_secrets(spec.secrets)
    store = start.open_store()
    try:
        options = {
            "overrides": overrides(spec, offer, guard),
            "type": offer.name,
            "wait": guard.wait,
            "budget": guard.budget,
            "max_hours": guard.max_hours,
        }
        kept = {name: value for name, value in options.items() if value is not None}
        session_id = start.new_session(
            store, spec, read_text(job.path), job.path, provider=offer.provider, options=kept
        )
    finally:
        store.close()
    start.ensure_driver(session_id, wait=False)
    return session_id


def overrides(spec: Spec, offer: Offer, guard: Guard) -> dict[str, Any]:
    """What stands in the place of the spec's `resources`, as YAML would have it."""
    # To the cent above: a price that is shown rounded must not refuse itself.
    price = math.ceil(offer.price * 100) / 100
    return {
        "provider": [offer.provider],
        "gpu": [],
        "region": [offer.region] if offer.region else [],
        "spot": "only" if offer.spot else "no",
        "max_price": price or None,
        "budget": guard.budget,
        "max_hours": guard.max_hours,
        "lease": f"{guard.lease:g}s",
        "options": spec.resources.options_for(offer.provider) if _names(spec, offer) else {},
    }


def _names(spec: Spec, offer: Offer) -> bool:
    return offer.provider in spec.resources.provider
