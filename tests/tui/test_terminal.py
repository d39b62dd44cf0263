"""The app as a process on a real terminal: what reaches it of hostile text, changing sizes, slow links, copying,
and terminals that go away."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gpusess import paths

from . import world as worlds

ROOT = Path(__file__).parents[2]
SCREENS = "12345678c"
EVIL = "\x1b[2J\x1b]0;pwned\x07\x1b]52;c;ZXZpbA==\x07\x9b31m‮gnp.exe⁦[red]markup[/] \x00\x08\r\x1bP1$r\x1b\\ é"
SEQUENCE = re.compile(
    rb"\x1b\[(?P<csi>[0-?]*[ -/]*[@-~])|\x1b\](?P<osc>[^\x07\x1b]*)(?:\x07|\x1b\\)|\x1b(?P<esc>[^\[\]])"
)
OURS = re.compile(
    rb"[0-9;]*[Hm]|\?(7|1049|1000|1002|1003|1015|1006|1004|25|2004|2026|2048|1016)[hl]|\?(2026|2048)\$p|[<>=]\d*u|\d*[JKtn]"
    rb"|c|>[0-9;]*[qm]"
)
"""Control sequences that Textual itself sends; a title, a clipboard or a device string is none of them."""


class Terminal:
    """`gpusess attach` on a pseudo terminal, and all that it sends."""

    def __init__(self, home: Path, *arguments: str, size: tuple[int, int] = (120, 40), **env: str) -> None:
        self.sent = bytearray()
        self.pieces: list[tuple[float, int]] = []
        self.master, slave = pty.openpty()
        self._set(size)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpusess", "attach", *arguments], cwd=ROOT, start_new_session=True,
            stdin=slave, stdout=slave, stderr=slave,
            env={**os.environ, "GPUSESS_HOME": str(home), "TERM": "xterm-256color", "COLORTERM": "truecolor", **env},
        )  # fmt: skip
        os.close(slave)
        threading.Thread(target=self._read, daemon=True).start()

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def until(self, text: str, since: int = 0, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while text.encode() not in self.sent[since:]:
            assert self.process.poll() is None, bytes(self.sent[-3000:]).decode(errors="replace")
            assert time.monotonic() < end, (text, bytes(self.sent[-2000:]))
            time.sleep(0.02)

    def quiet(self, least: float = 0.15, most: float = 3.0) -> None:
        """Until it has drawn what it had to."""
        end = time.monotonic() + most
        while time.monotonic() < end:
            before = len(self.sent)
            time.sleep(least)
            if len(self.sent) == before:
                return

    def resize(self, size: tuple[int, int]) -> None:
        self._set(size)
        self.process.send_signal(signal.SIGWINCH)

    def leave(self) -> int:
        self.press("q")
        self.quiet()
        self.press("y")
        return self.process.wait(10)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self.master)

    def _set(self, size: tuple[int, int]) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while True:
                if select.select([self.master], [], [], 0.2)[0]:
                    data = os.read(self.master, 1 << 16)
                    self.pieces.append((time.monotonic(), len(data)))
                    self.sent += data
                elif self.process.returncode is not None:
                    return


Opens = Callable[..., Terminal]


@pytest.fixture
def opens(world: worlds.World, tmp_path: Path) -> Iterator[Opens]:
    opened: list[Terminal] = []

    def make(*arguments: str, **options: Any) -> Terminal:
        opened.append(Terminal(tmp_path, *arguments, **options))
        opened[-1].until("amber-finch")
        return opened[-1]

    yield make
    for terminal in opened:
        terminal.close()


@contextlib.contextmanager
def arriving(world: worlds.World, rate: float = 40.0) -> Iterator[None]:
    """Results that come while the block runs."""
    done = threading.Event()

    def write() -> None:
        number = 900
        while not done.wait(1 / rate):
            world.write(
                "s-amber", "s-amber-0", "journal.jsonl", [(0, worlds.result(number, "rates", number % 3 > 0))]
            )
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def foreign(sent: bytes) -> list[bytes]:
    """Control sequences and characters that are not the app's own."""
    found = [
        match[0]
        for match in SEQUENCE.finditer(sent)
        if not (match["csi"] and OURS.fullmatch(match["csi"])) and match["osc"] != b"22;default"
    ]
    rest = SEQUENCE.sub(b"", sent)
    found += re.findall(rb"[^\n\r\t -~\x80-\xff]", rest)
    found += re.findall(
        "[\u0080-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]", rest.decode("utf-8", "replace")
    )  # type: ignore[arg-type]
    return found


def test_the_check_finds_what_is_foreign() -> None:
    assert foreign(b"\x1b[1;2Htext\x1b[38;2;1;2;3mmore\x1b[0m\n") == []
    for evil in (
        b"\x1b]0;x\x07",
        b"\x1b]52;c;eA==\x07",
        b"\x1bP1$r\x1b\\",
        b"\x1b[?47h",
        b"\x07",
        b"\x00",
        "‮".encode(),
        "\x9b".encode(),
    ):
        assert foreign(b"text" + evil), evil


@pytest.mark.slow
@pytest.mark.sample
def test_no_text_reaches_the_terminal_as_a_command(world: worlds.World, opens: Opens) -> None:
    world.log("s-amber", "s-amber-0", "worker.log", [(0, "ERROR", EVIL), (0, "INFO", "x" * 1_500_000 + EVIL)])
    with (paths.run_dir("s-amber", "s-amber-0") / "worker.log").open("ab") as log:
        log.write(b"\xff\xfe\x1b[31m\x80 broken \xc3( utf-8\n")
    evil = {
        "category": EVIL,
        "completion": EVIL * 2000,
        "extracted": EVIL,
        "gold": EVIL,
        "sample": f"q{EVIL}",
    }
    records = [
        {"kind": "check", "name": EVIL, "status": "fail", "message": EVIL},
        {"kind": "phase", "name": EVIL, "detail": EVIL},
        {**worlds.result(5000, "rates", True), **evil},
        {"kind": "alarm", "message": EVIL, "causes": [EVIL], "results": 9, "paused": False},
    ]  # fmt: skip
    world.write("s-amber", "s-amber-0", "journal.jsonl", [(0, record) for record in records])
    world.store.update(
        "s-amber",
        name=f"amber-finch {EVIL}",
        job=EVIL,
        offer={**worlds.OFFER_H100, "gpu": EVIL, "name": EVIL},
    )
    world.store.update("s-frost", error=EVIL, hint=EVIL)
    terminal = opens("s-amber")
    for key in (
        *SCREENS,
        "3",
        "x",
        "\x1b",
        "?",
        "\x1b",
        "5",
        "G",
        "\r",
        "\x1b",
        "6",
        "/",
        "p",
        "w",
        "\r",
        "1",
        ":",
    ):
        terminal.press(key)
        terminal.quiet(0.1, 1.5)
    terminal.press("\x1b")
    terminal.quiet()
    assert len(terminal.sent) > 30_000
    assert foreign(bytes(terminal.sent)) == []
    assert "markup" in bytes(terminal.sent).decode(errors="replace"), "it was drawn, as text"
    assert terminal.leave() == 0


@pytest.mark.slow
@pytest.mark.sample
def test_sizes_change_while_a_run_goes_on(world: worlds.World, opens: Opens) -> None:
    terminal = opens("s-amber")
    sizes = [(80, 24), (200, 60), (59, 15), (1, 1), (60, 16), (20, 5), (300, 3), (5, 80), (120, 40)]
    with arriving(world):
        for screen in SCREENS:
            terminal.press(screen)
            for size in sizes:
                terminal.resize(size)
                time.sleep(0.04)
            assert terminal.process.poll() is None, bytes(terminal.sent[-2000:]).decode(errors="replace")
        terminal.press("3")
        terminal.quiet(0.3, 2.0)
        begin = len(terminal.sent)
        terminal.resize((50, 10))
        terminal.until("$5.41/h", begin)
        begin = len(terminal.sent)
        terminal.resize((119, 39))
        terminal.until("Accuracy", begin)
        terminal.until("1,319", begin)
    assert b"Traceback" not in terminal.sent
    assert terminal.leave() == 0


@pytest.mark.slow
@pytest.mark.sample
def test_over_a_slow_link_it_sends_little(world: worlds.World, opens: Opens) -> None:
    """15 frames a second, without a mouse: the Run screen of a run with 40 results a second."""
    terminal = opens("s-amber", SSH_CONNECTION="192.0.2.1 1 192.0.2.2 22")
    with arriving(world):
        terminal.quiet(0.3, 2.0)
        first, begin = len(terminal.pieces), time.monotonic()
        time.sleep(4)
        pieces = terminal.pieces[first:]
    seconds = time.monotonic() - begin
    assert sum(size for _, size in pieces) / seconds < 20_000
    starts = [at for i, (at, _) in enumerate(pieces) if not i or at - pieces[i - 1][0] > 0.004]
    assert len(starts) / seconds < 17


def test_a_size_in_the_environment_does_not_hold_the_window(opens: Opens) -> None:
    terminal = opens("s-amber", size=(120, 40), COLUMNS="50", LINES="12")
    terminal.until("Accuracy")  # no room for it in 50x12
    for size, said in (((50, 10), "$5.41/h"), ((100, 30), "Accuracy")):
        begin = len(terminal.sent)
        terminal.resize(size)
        terminal.until(said, begin)


def test_copying_reaches_the_clipboard_and_a_file(opens: Opens, tmp_path: Path) -> None:
    terminal = opens("s-amber")
    terminal.until("818")
    terminal.quiet()
    begin = len(terminal.sent)
    terminal.press("y")
    terminal.until("\x1b]52;c;", begin)
    terminal.until("Copied", begin)
    sent = re.search(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)(?:\x07|\x1b\\)", bytes(terminal.sent[begin:]))
    assert sent
    copied = base64.b64decode(sent[1]).decode()
    assert copied
    assert (tmp_path / "clip.txt").read_text() == copied + "\n"


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_it_ends_with_the_tmux_that_it_runs_in(world: worlds.World, tmp_path: Path) -> None:
    server = f"gpusess-{os.getpid()}-{time.monotonic_ns()}"
    command = f"env GPUSESS_HOME={tmp_path} {sys.executable} -m gpusess attach"
    tmux = ["tmux", "-L", server, "-f", "/dev/null"]
    subprocess.run([*tmux, "new-session", "-d", "-x", "120", "-y", "40", command], check=True, cwd=ROOT)
    try:
        end = time.monotonic() + 20
        said = ""
        while "amber-finch" not in said:
            assert time.monotonic() < end, said
            said = subprocess.run(
                [*tmux, "capture-pane", "-p"], check=True, capture_output=True, text=True
            ).stdout
            time.sleep(0.05)
        pane = subprocess.run(
            [*tmux, "list-panes", "-F", "#{pane_pid}"], check=True, capture_output=True, text=True
        )
        app = psutil.Process(int(pane.stdout))
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, capture_output=True)
    end = time.monotonic() + 3
    with contextlib.suppress(psutil.NoSuchProcess):
        while app.status() != psutil.STATUS_ZOMBIE:  # one that nobody has waited for yet
            assert time.monotonic() < end, "it lives on without its terminal"
            time.sleep(0.02)
