"""The pure parts: numbers, bars, the chart, the timeline, columns."""

from __future__ import annotations

from math import nan

import pytest

from gpusess.analysis.logs import LogLine
from gpusess.sessions.board import SessionView
from gpusess.sessions.phases import phases
from gpusess.sessions.states import State
from gpusess.tui import fmt, status
from gpusess.tui.keys import TABLE, Keys
from gpusess.tui.settings import TuiSettings
from gpusess.tui.spans import crop, fit, plain, spread, width, wrapped
from gpusess.tui.theme import to_ascii
from gpusess.tui.widgets import timeline
from gpusess.tui.widgets.line_chart import Look, Scale, plot, scale_for
from gpusess.tui.widgets.log_view import LogFilter, log_line
from gpusess.tui.widgets.meter import bar, interval_bar, spark
from gpusess.tui.widgets.row_table import Column, widths

from .world import NOW, World


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (-3, "0:00"), (41, "0:41"), (725, "12:05"), (11279, "3:07:59"), (187200, "2d 04h")],
)
def test_clock(seconds: float | None, text: str) -> None:
    assert fmt.clock(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(None, "–"), (942, "942"), (18402, "18.4k"), (1_234_567, "1.2M"), (nan, "–")]
)
def test_compact(number: float | None, text: str) -> None:
    assert fmt.compact(number) == text


def test_lines_are_cut_to_cells_not_characters() -> None:
    assert plain(fit([("模型名", "")], 5)) == "模型…"
    assert width(fit([("模型名", "")], 4)) == 4
    assert width(crop([("a" * 10, ""), ("b" * 10, "")], 12)) == 12
    assert plain(spread([("left", "")], [("right", "")], 12)) == "left   right"


def test_lines_hold_nothing_that_a_terminal_obeys() -> None:
    hostile = [("\x1b[2Jname\u202e\x07\n[bold]x", "")]
    assert plain(crop(hostile, 40)) == "name��[bold]x".replace("��", "\ufffd\ufffd")


def test_wrapped_keeps_words_whole_and_cuts_the_last_line() -> None:
    assert [plain(line) for line in wrapped("one two three four five", "", 9, 2)] == ["one two", "three fo…"]


def test_bars() -> None:
    assert plain(bar(0.625, 4)) == "━━╸─"
    assert plain(bar(7, 3)) == "━━━"
    assert plain(interval_bar(0.3, 0.5, 0.7, 10)) == "━━━╌╌●╌───"
    assert spark([0, 50, 100], 8, 0, 100) == "▁▄▇"
    assert len(spark(list(range(1000)), 20)) == 20
    assert spark([], 20) == ""


def test_everything_drawn_has_a_plain_character_of_one_cell() -> None:
    every = (
        "".join(plain(p) for p in (bar(0.55, 9), interval_bar(0.2, 0.4, 0.6, 9)))
        + spark(range(9), 9)
        + "±…›·×"
    )
    assert to_ascii(every).isascii()
    assert len(to_ascii(every)) == len(every)


def _points(n: int) -> list[tuple[float, float, float, float]]:
    return [(i, 0.6, 0.5, 0.7) for i in range(1, n + 1)]


def test_chart_fills_its_area_and_labels_round_values() -> None:
    scale = scale_for(_points(400), 400, None)
    lines = plot(_points(400), scale, 60, 12, Look())
    assert len(lines) == 12
    assert all(width(line) <= 60 for line in lines)
    assert (scale.low, scale.high) == pytest.approx((0.5, 0.7))
    assert plain(lines[0]).startswith("  70%┤")
    assert plain(lines[-1]).rstrip().endswith("400")


def test_chart_leaves_a_gap_at_nan() -> None:
    points = [*_points(100), (101.0, nan, nan, nan), *[(i, 0.6, 0.5, 0.7) for i in range(200, 300)]]
    row = plain(plot(points, Scale(300, 0.5, 0.7), 66, 6, Look("off", braille=False))[2])
    drawn = row[6:]
    assert "*" in drawn[:20]
    assert set(drawn[22:38]) == {" "}
    assert "*" in drawn[42:]


def test_chart_keeps_its_scale_while_points_stay_inside() -> None:
    first = scale_for(_points(50), 1000, None)
    later = [(i, 0.6, 0.52, 0.68) for i in range(1, 100)]
    assert scale_for(later, 1000, first) == first
    assert scale_for([(200, 0.9, 0.85, 0.95)], 1000, first).high > first.high


def test_chart_shows_a_spike_of_one_point() -> None:
    points = [(float(i), 0.9 if i == 500 else 0.6, 0.5, 0.95) for i in range(1, 2001)]
    lines = plot(points, Scale(2000, 0.5, 1.0), 46, 12, Look("off", braille=False))
    assert any("*" in plain(line)[6:] for line in lines[:3])


def test_columns_drop_by_rank_and_grow_into_the_room() -> None:
    columns = [Column("a", 10, 20, 0), Column("b", 10, 10, 2), Column("c", 10, 10, 1)]
    assert widths(columns, 24) == [(0, 12), (2, 10)]
    assert widths(columns, 9) == [(0, 10)]
    assert [i for i, _ in widths(columns, 60)] == [0, 1, 2]


def test_timeline_measures_steps_from_transitions(world: World) -> None:
    fleet = {s.row.id: s for s in world.board().refresh().sessions}
    steps = {s.name: (s.mark, s.seconds and round(s.seconds)) for s in phases(fleet["s-amber"])}
    assert steps["boot"] == ("past", 108)
    assert steps["run"] == ("present", 1440)
    assert steps["pull"] == ("future", None)
    failed = {s.name: s.mark for s in phases(fleet["s-frost"])}
    assert failed["connect"] == "failed"
    assert all(width(timeline.line(fleet["s-amber"], cells)) <= cells for cells in (60, 80, 120))


def test_status_says_the_worst_thing(world: World) -> None:
    words = {s.row.id: status.of(s).word for s in world.board().refresh().sessions}
    assert words == {"s-amber": "running", "s-dusk": "booting", "s-frost": "failed", "s-gale": "done"}
    world.let_go()
    cut_off = world.board().refresh().session("s-amber")
    assert cut_off
    assert status.of(cut_off).word == "cut off"
    assert "it bills $2.49/h" in status.trouble(cut_off)


def test_an_instance_that_is_kept_and_bills_is_an_alarm(world: World) -> None:
    for run in ("s-amber-0", "s-amber-1"):
        world.store.update_run(run, status="complete", ended=NOW)
    world.store.move("s-amber", State.READY, "kept, as the spec says")

    def kept() -> SessionView:
        found = world.board().refresh().session("s-amber")
        assert found
        return found

    assert status.of(kept()).word == "ready", "between two runs it is no alarm"
    world.clock.now += 65
    assert status.of(kept()).word == "idle"
    assert status.trouble(kept()) == "nothing has run for 1:05, it bills $2.49/h (x terminate)"
    world.store.update_run("s-amber-1", status="stopped")
    assert status.trouble(kept()).endswith("(r resume, x terminate)")
    world.store.update_run("s-amber-1", status="pending")
    assert status.trouble(kept()) == ""


def test_status_of_a_silent_and_of_a_paused_run(world: World) -> None:
    world.write(
        "s-amber", "s-amber-0", "journal.jsonl", [(1, {"kind": "paused", "reason": "the disk is full"})]
    )
    session = world.board().refresh().session("s-amber")
    assert session
    assert status.trouble(session) == "paused: the disk is full, it bills $2.49/h (6 the log, x terminate)"
    world.write("s-amber", "s-amber-0", "journal.jsonl", [(0, {"kind": "unpaused", "waited": 1.0})])
    world.clock.now += 40
    session = world.board().refresh().session("s-amber")
    assert session
    assert status.of(session).word == "silent"
    assert status.trouble(session).startswith("no heartbeat for 4")


def test_log_filter_and_marks() -> None:
    lines = [LogLine(1.0, 1, "INFO", "agent", "One"), LogLine(2.0, 2, "ERROR", "worker", "two one")]
    assert LogFilter().of(lines) is lines
    assert LogFilter("WARNING", "").of(lines) == [lines[1]]
    assert LogFilter("DEBUG", "agent").of(lines) == [lines[0]]
    assert [text for text, ink in log_line(lines[0], "one") if "on-match" in ink] == ["One"]


def test_key_ids_and_keys_are_unique_where_they_hold() -> None:
    assert len({key.id for key in TABLE}) == len(TABLE)
    for screen in ("fleet", "run", "logs"):
        here = [k for key in Keys().of("app", "list", screen) for k in key.keys.split(",")]
        assert len(set(here)) == len(here)


def test_remapping_knows_what_it_does_not_know() -> None:
    keys = Keys({"quit": "ctrl+x", "quti": "q"})
    assert keys.unknown == ["quti"]
    assert next(k for k in keys.table if k.id == "quit").keys == "ctrl+x"


def test_theme_follows_the_terminal() -> None:
    assert TuiSettings().theme_name({}) == "gpusess-dark"
    assert TuiSettings().theme_name({"COLORFGBG": "0;15"}) == "gpusess-light"
    assert TuiSettings().theme_name({"NO_COLOR": "1"}) == "gpusess-ansi"
    assert TuiSettings(theme="light").theme_name({"NO_COLOR": "1"}) == "gpusess-light"
