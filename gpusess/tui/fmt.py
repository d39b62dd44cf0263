"""Numbers as people read them: money, time, counts. Pure functions; what is not known is a dash."""

from __future__ import annotations

import math
import time

NONE = "–"

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def money(dollars: float) -> str:
    return f"${dollars:,.2f}" if dollars < 1000 else f"${dollars:,.0f}"


def clock(seconds: float | None) -> str:
    """A duration: 0:41, 12:05, 3:07:59, 2d 04h."""
    if seconds is None:
        return NONE
    s = max(0, round(seconds))
    if s >= _DAY:
        return f"{s // _DAY}d {s % _DAY // _HOUR:02}h"
    if s >= _HOUR:
        return f"{s // _HOUR}:{s % _HOUR // _MINUTE:02}:{s % _MINUTE:02}"
    return f"{s // _MINUTE}:{s % _MINUTE:02}"


def age(seconds: float) -> str:
    """A rough age: 8 s, 3 min, 2 h, 4 d."""
    s = max(0, int(seconds))
    if s < 100:
        return f"{s} s"
    if s < 2 * _HOUR:
        return f"{s // _MINUTE} min"
    return f"{s // _HOUR} h" if s < 2 * _DAY else f"{s // _DAY} d"


def of_day(ts: float) -> str:
    """Local wall time: 14:03:59."""
    return time.strftime("%H:%M:%S", time.localtime(ts))


def count(number: int) -> str:
    return f"{number:,}"


def many(number: int, thing: str, things: str = "") -> str:
    """1 line, 1,204 lines."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def compact(number: float | None) -> str:
    """942, 18.4k, 1.2M."""
    if number is None or math.isnan(number):
        return NONE
    for limit, divisor, unit in ((1e3, 1.0, ""), (1e6, 1e3, "k"), (math.inf, 1e6, "M")):
        if number < limit:
            scaled = number / divisor
            digits = 0 if scaled >= 100 or not unit else 1
            return f"{scaled:.{digits}f}{unit}"
    return NONE


def percent(share: float | None, digits: int = 1) -> str:
    """A share of one, in percent, without the sign."""
    return NONE if share is None else f"{share * 100:.{digits}f}"


def plus_minus(band: tuple[float, float] | None) -> str:
    """Half the interval's width in percentage points: ±2.6."""
    return "" if band is None else f"±{(band[1] - band[0]) * 50:.1f}"


def gib(number: int) -> str:
    """Bytes in binary gigabytes: 41.2."""
    size = number / 2**30
    return f"{size:.0f}" if size >= 100 else f"{size:.1f}"
