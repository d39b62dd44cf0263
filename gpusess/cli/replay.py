"""`gpusess replay`: a recorded run as it went, in the cockpit or as lines."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from gpusess.cli.complete import session_names

if TYPE_CHECKING:
    from gpusess.sessions.recording import Recording
    from gpusess.sessions.replay_clock import ReplayClock

LOOK_EVERY = 0.1


@click.command("replay")
@click.argument("run", shell_complete=session_names)
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds of the recording in a second.",
)
@click.option("--headless", is_flag=True, help="Progress lines on stderr, a summary on stdout.")
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object (implies --headless).")
def command(run: str, speed: float, headless: bool, as_json: bool) -> int:
    """Show RUN again as it went: SESSION, SESSION/RUN, or a folder with a journal.

    It reads files at home and asks nobody; nothing is rented, and nothing bills.
    """
    from gpusess.sessions.recording import find_recording
    from gpusess.sessions.replay_clock import ReplayClock

    recording = find_recording(run)
    clock = ReplayClock(recording.start, recording.end, speed)
    if headless or as_json or not sys.stdout.isatty():
        _as_lines(recording, clock, as_json)
    else:
        _in_the_cockpit(recording, clock)
    return 0


def _in_the_cockpit(recording: Recording, clock: ReplayClock) -> None:
    from gpusess.cli.attach import follow_the_window, settings
    from gpusess.sessions.replay import ReplayBoard
    from gpusess.tui.replaying import ReplayApp

    follow_the_window()
    ReplayApp(ReplayBoard(recording, clock), session_id=recording.row.id, settings=settings()).run()


def _as_lines(recording: Recording, clock: ReplayClock, as_json: bool) -> None:
    from gpusess.cli.watch import Progress, print_summary
    from gpusess.sessions.replay import ReplayBoard

    board, progress = ReplayBoard(recording, clock), Progress()
    while True:
        fleet = board.refresh()
        (view,) = fleet.sessions
        progress.show(view)
        if clock.at_end and not fleet.catching_up:
            break
        time.sleep(0 if fleet.catching_up else LOOK_EVERY)
    print_summary(view, as_json)
