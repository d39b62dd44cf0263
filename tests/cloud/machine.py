"""One rented machine of a simulated cloud, and what a test may set about all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Machine:
    """One rented machine. Times are seconds since the epoch, `price` is US dollars an hour."""

    id: str
    name: str
    type: str
    region: str
    price: float
    created: float
    tags: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """The cloud's own fields."""
    foreign: bool = False
    """Was there before the test: nobody may touch it."""
    ending: float | None = None
    """When its end was accepted."""
    forced: str = ""
    """A phase that a test has put it in: failed, preempted, stopped."""
    hidden: int = 0
    """Further looks that do not show it yet."""
    host: str = ""
    port: int = 0
    user: str = ""


@dataclass
class Knobs:
    """What a test may set. Seconds."""

    latency: float = 0.0
    """Added to every answer, in real time."""
    boot: float = 0.2
    end: float = 0.2
    """From an accepted end to `ended`."""
    keep_ended: float = 60.0
    """How long an ended machine is still listed."""
    hidden: int = 0
    """Looks that do not show a new machine yet."""
    image_key_first: float = 0.0
    """Real seconds in which a new machine's SSH server answers with the image's own key."""
    no_capacity: bool = False
    """Every launch is refused for want of capacity, whatever the offers say."""
    ignore_user_data: bool = False
