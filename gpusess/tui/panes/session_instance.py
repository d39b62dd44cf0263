"""The Session screen's panes about the instance: what is rented and how one gets there, what ends it, and
what went there and came home.
"""

from __future__ import annotations

import shlex
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from gpusess.analysis.text import size
from gpusess.sessions import spending
from gpusess.sessions.board import SessionView
from gpusess.sessions.traffic import Coming, Sent, Traffic
from gpusess.tui import fmt, hints, status
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, fit, joined, wrapped
from gpusess.tui.widgets.meter import bar
from gpusess.tui.widgets.pane import Pane

_LABEL = 11


@dataclass(frozen=True, slots=True)
class Details:
    """What is not in the scene, because reading it takes its time."""

    traffic: Traffic = field(default_factory=Traffic)
    ssh: str = ""
    """The command that opens a shell; empty: there is none to reach."""
    why: str = ""
    """Why there is none."""
    rate: float | None = None
    """Bytes per second that come home."""
    loading: bool = False
    """Nothing was read so far."""


def _pair(name: str, value: str, ink: str = "") -> Line:
    return [(f"{name:<{_LABEL}}", "dim"), (value, ink)]


def _block(name: str, text: str, ink: str, cells: int, rows: int) -> list[Line]:
    """A label, and a text over several lines beside it."""
    lines = wrapped(text, ink, max(10, cells - _LABEL), rows)
    return [[(f"{name if not i else '':<{_LABEL}}", "dim"), *line] for i, line in enumerate(lines)]


# --- the instance ---


def fact_lines(session: SessionView, details: Details, cells: int) -> list[Line]:
    """What is rented, where, for how much, and how one gets there."""
    row, options = session.row, session.row.options
    offer = row.offer or {}
    rental = session.rentals[-1] if session.rentals else None
    where = (row.provider, offer.get("region"), offer.get("name"))
    place = joined([[(str(x), "")] for x in where if x], " · ")
    lines: list[Line] = [
        [(f"{'rented':<{_LABEL}}", "dim"), *place],
        _pair("GPU", ", ".join(options.get("gpus") or []) or status.gpu(session)),
        [(f"{'price':<{_LABEL}}", "dim"), *_price(session)],
        *_reach(details, cells),
        _pair("instance", row.instance_id or "none yet", "" if row.instance_id else "dim"),
    ]
    if rental:
        lines.append(_pair("asked", f"{fmt.of_day(rental.asked)}, {fmt.age(session.now - rental.asked)} ago"))
    if len(session.rentals) > 1:
        refused = sum(not r.existed for r in session.rentals)
        lines.append(_pair("instances", f"{len(session.rentals)} in all, {refused} refused", "warn"))
    if options.get("python"):
        lines.append(_pair("python", str(options["python"])))
    if options.get("host_key"):
        first = "first use" in str(options["host_key"])
        lines.append(_pair("host key", str(options["host_key"]), "warn" if first else ""))
    return lines


def _price(session: SessionView) -> Line:
    row, spot = session.row, " spot" if (session.row.offer or {}).get("spot") else ""
    if not session.bills:
        return [(f"{fmt.money(session.spent)} in all", ""), ("   bills no more" if row.ended else "", "dim")]
    return [(f"{fmt.money(row.price)}/h{spot}", "bold"), (f"   {fmt.money(session.spent)} so far", "")]


def _reach(details: Details, cells: int) -> list[Line]:
    room = max(10, cells - _LABEL)
    label = f"ssh ({hints.key('copy')})"
    if details.ssh and len(details.ssh) <= room:
        return [_pair(label, details.ssh, "data")]
    if details.ssh:
        # The whole command has the pinned key's file and more: it is there to be copied, not to be read.
        where: Line = [(_destination(details.ssh), "data")]
        copies = f"   {hints.key('copy')} copies the command"
        return [[(f"{label:<{_LABEL}}", "dim"), *where, (copies, "dim")]]
    if details.loading:
        return [_pair("ssh", "…", "dim")]
    return _block("ssh", details.why or "no instance to reach", "dim", cells, 2)


def _destination(command: str) -> str:
    """`user@host, port 2222` of an ssh command line."""
    words = shlex.split(command)
    port = words[words.index("-p") + 1] if "-p" in words[:-1] else ""
    return f"{words[-1]}, port {port}" if port and port != "22" else words[-1]


class Facts(Pane):
    def key(self, scene: Scene) -> Hashable:
        return super().key(scene), self._details(scene)

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        self.entitle("Instance")
        if not scene.session:
            return []
        return fact_lines(scene.session, self._details(scene), width)[:height]

    def _details(self, scene: Scene) -> Details:
        return details_of(self, scene)


# --- what ends it ---


def end_lines(session: SessionView, cells: int) -> list[Line]:
    """What ends the instance: somebody, a limit, or the lease; and what nobody would end."""
    row, options = session.row, session.row.options
    if not session.bills:
        return [[("nothing bills", "ok")]]
    lines: list[Line] = []
    if options.get("notice"):
        lines += _block("▲ taken", f"the provider takes it away: {options['notice']}", "err", cells, 3)
    resumes = hints.ways(("session.resume", "resumes"))
    driven = "a process here drives it" if session.driven else f"nobody drives it{resumes}"
    lines.append(_pair("driver", driven, "" if session.driven else "warn"))
    if options.get("budget") is not None:
        lines += _budget(session, float(options["budget"]), cells)
    deadline = next((r.deadline for r in reversed(session.rentals) if r.bills), None)
    if deadline is not None:
        left = deadline - session.now
        text = f"{fmt.of_day(deadline)}, in {fmt.clock(left)}" if left > 0 else "has passed"
        lines.append(_pair("latest end", text, "warn" if left < 600 else ""))
    if options.get("budget") is None and deadline is None and row.price:
        lines.append(_pair("limits", "none: it may run on for ever", "warn"))
    if options.get("lease"):
        lines += _block("lease", str(options["lease"]), "", cells, 5)
    return lines


def _budget(session: SessionView, budget: float, cells: int) -> list[Line]:
    share = session.spent / budget if budget else 1.0
    ink = "err" if share >= 1 else "warn" if share > 0.8 else "ok"
    text = f"{fmt.money(session.spent)} of {fmt.money(budget)} "
    lines: list[Line] = [[*_pair("budget", text), *bar(share, min(14, cells // 4), ink)]]
    at = spending.spent_at(budget - session.spent, session.row.price, session.now)
    end = spending.at_the_end(session)
    parts: list[Line] = []
    if at and share < 1:
        parts.append([(f"spent at {fmt.of_day(at)[:5]}", "warn" if share > 0.8 else "dim")])
    if end is not None:
        over = "▲ " if end > budget else ""
        parts.append([(f"{over}run's end {fmt.money(end)}", "err" if over else "dim")])
    return [*lines, *([[(" " * _LABEL, ""), *joined(parts, " · ", "dim")]] if parts else [])]


class Ends(Pane):
    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        self.entitle("What ends it")
        return end_lines(scene.session, width)[:height] if scene.session else []


# --- there and back ---


def traffic_lines(session: SessionView, details: Details, cells: int) -> list[Line]:
    """Up: what was sent; down: what is at home, how quickly it comes, how old the last record is."""
    if details.loading:
        return [[("reading what lies here…", "dim")]]
    traffic = details.traffic
    lines: list[Line] = []
    for sent in _newest(traffic):
        rate = f", {size(sent.rate)}/s" if sent.rate else ""
        what = f"{size(sent.sent_bytes)}{rate}" if sent.sent_bytes else "all of it was there"
        total = f"  of {size(sent.bytes)}, {fmt.many(sent.files, 'file')}"
        lines.append([*_arrow("↑", sent.source), (what, ""), (total if cells > 50 else "", "dim")])
    if not traffic.sent:
        lines.append([*_arrow("↑", "sent"), ("nothing is noted", "dim")])
    coming = f", {size(details.rate)}/s" if details.rate else ""
    lines.append([*_arrow("↓", "records"), (f"{size(traffic.home)} at home{coming}", "")])
    lines.append([*_arrow(" ", ""), *_last_record(session)])
    for made in traffic.coming:
        lines += _coming_lines(session, made)
    if traffic.checkpoints:
        newest = traffic.checkpoints[-1]
        came = next(
            (f for f in reversed(traffic.received) if (f.run, f.name) == (newest.run, newest.name)), None
        )
        over = f", {size(came.received)} sent" if came else ""
        lines.append(
            [*_arrow("↓", "checkpoint"), (newest.name, "bold"), (f"  {size(newest.bytes)}{over}", "")]
        )
        many = len(traffic.checkpoints)
        ago = f"{fmt.age(session.now - newest.at)} ago, {many} at home"
        lines.append([*_arrow(" ", ""), (ago, "dim")])
    return lines


def _coming_lines(session: SessionView, coming: Coming) -> list[Line]:
    """A checkpoint on its way: how much of it is here, how quickly it comes, and when it will be whole."""
    silent = coming.silent(session.now)
    if not session.driven:
        pace, ink = "cut off: nobody drives it", "warn"
    elif silent is not None:
        pace, ink = f"nothing came for {fmt.age(silent)}", "warn"
    else:
        left = "" if coming.left is None else f", {fmt.clock(coming.left)} to go"
        pace, ink = f"{size(coming.rate)}/s{left}", ""
    amount = f"  {size(coming.done)} of {size(coming.bytes)}"
    return [
        [*_arrow("↓", "coming"), (coming.name, "bold"), (amount, "")],
        [*_arrow(" ", ""), (pace, ink)],
    ]


def _newest(traffic: Traffic) -> Sequence[Sent]:
    """The last time that each tree was sent."""
    return list({sent.source: sent for sent in traffic.sent}.values())


def _arrow(glyph: str, name: str) -> Line:
    return [(f"{glyph} ", "info"), *fit([(name, "dim")], _LABEL - 1), (" ", "")]


def _last_record(session: SessionView) -> Line:
    run = session.run
    last = run.state.last_record if run else None
    if last is None:
        return [("no record yet", "dim")]
    ink = "warn" if session.stale is not None else "dim"
    return [(f"last record {fmt.age(session.now - last)} ago", ink)]


class Sync(Pane):
    def key(self, scene: Scene) -> Hashable:
        return super().key(scene), details_of(self, scene)

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        self.entitle("There and back")
        if not scene.session:
            return []
        return traffic_lines(scene.session, details_of(self, scene), width)[:height]


def details_of(pane: Pane, scene: Scene) -> Details:
    """What the screen's worker has read of the session; nothing before it has."""
    from gpusess.tui.screens.session import SessionScreen

    screen = pane.screen
    assert isinstance(screen, SessionScreen)
    return screen.details(scene.session.row.id if scene.session else "")
