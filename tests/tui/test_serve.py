"""`gpusess serve`: who is let in, what a tab may do, and that its app ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

aiohttp = pytest.importorskip("aiohttp", reason="the extra `serve` is not installed")
pytest.importorskip("textual_serve", reason="the extra `serve` is not installed")

import psutil  # noqa: E402

from gpusess.errors import GpusessError  # noqa: E402
from gpusess.sessions.store import Store  # noqa: E402
from gpusess.tui.intents import Intents  # noqa: E402
from gpusess.tui.looking import LookOnly  # noqa: E402
from gpusess.tui.web.door import Door  # noqa: E402
from gpusess.tui.web.tab import Tab, size  # noqa: E402

from . import world as worlds  # noqa: E402
from .browser import CHROMIUM, Browser, Page, chromium  # noqa: E402

ROOT = Path(__file__).parents[2]
WITHIN = 6.0
"""Seconds until an app is gone at the latest."""


@dataclass
class Served:
    """A server as a process, and the browser's side of it."""

    process: subprocess.Popen[str]
    link: str
    home: Path

    @property
    def address(self) -> str:
        return self.link.partition("/enter")[0]

    @property
    def apps(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    async def no_app_is_left(self, seconds: float = WITHIN) -> None:
        await until(lambda: not self.apps, seconds)


async def until(condition: Callable[[], object], seconds: float = WITHIN) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to it"
        await asyncio.sleep(0.05)


@contextlib.contextmanager
def serving(home: Path, *options: str) -> Iterator[Served]:
    """A fleet and a server over it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPUSESS_HOME", str(home))
        world = worlds.build(home)
        process = subprocess.Popen(
            [sys.executable, "-m", "gpusess", "serve", "--port", "0", *options], cwd=ROOT, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    try:
        assert process.stdout
        first, second = process.stdout.readline(), process.stdout.readline()
        assert ("only looks" in first) != ("--allow-actions" in options)
        yield Served(process, second.split()[-1], home)
    finally:
        process.terminate()
        try:
            process.wait(10)
        finally:
            process.kill()
            world.let_go()
            world.store.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("serve"), "--tabs", "2") as found:
        yield found


COOKIES: dict[str, str] = {}
"""Address → the cookie that its one link has given."""


@pytest.fixture
async def client(served: Served) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookies=await cookie_of(served)) as session:
        yield session


async def cookie_of(served: Served) -> dict[str, str]:
    if served.address not in COOKIES:
        async with (
            aiohttp.ClientSession() as session,
            session.get(served.link, allow_redirects=False) as response,
        ):
            assert response.status == 303
            cookie = response.cookies["gpusess"]
            assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
            COOKIES[served.address] = cookie.value
    return {"gpusess": COOKIES[served.address]}


class Screen:
    """What a tab's socket has got."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.got = b""

    async def shows(self, *words: str, seconds: float = 20) -> None:
        """Until all words were drawn; then begins anew."""
        end = time.monotonic() + seconds
        while not all(word.encode() in self.got for word in words):
            assert time.monotonic() < end, (words, self.got[-2000:])
            with contextlib.suppress(TimeoutError):
                message = await self.socket.receive(0.5)
                assert message.type is aiohttp.WSMsgType.BINARY, (message, self.got[-500:])
                self.got += message.data
        self.got = b""

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.socket.send_json(["stdin", key])


@contextlib.asynccontextmanager
async def tab(served: Served, client: aiohttp.ClientSession) -> AsyncIterator[Screen]:
    async with client.ws_connect(f"{served.address}/ws?width=120&height=40", origin=served.address) as socket:
        screen = Screen(socket)
        await screen.shows("amber-finch", "$5.41/h")
        yield screen


# --- the door ---


def test_a_link_works_once_and_each_gives_a_cookie_of_its_own() -> None:
    door = Door(8717)
    first, second = (door.new_link().partition("token=")[2] for _ in range(2))
    cookie = door.enter(first)
    assert cookie
    assert door.knows(cookie)
    assert door.enter(first) is None
    assert not door.knows(first)
    assert door.enter("") is None
    assert door.enter(second) not in (None, cookie)
    assert not door.knows("")


@pytest.mark.parametrize("host", ["127.0.0.1:8717", "localhost:8717"])
def test_our_names_are_those_of_the_loopback_interface(host: str) -> None:
    assert Door(8717).is_ours(host, None)
    assert Door(8717).is_ours(host, f"http://{host}")
    for origin in ("https://evil.example", "null", f"https://{host}", "http://127.0.0.1:80", ""):
        assert not Door(8717).is_ours(host, origin)


@pytest.mark.parametrize(
    "host", ["", "127.0.0.1", "evil.example:8717", "127.0.0.1:8718", "127.0.0.1:8717.evil.example"]
)
def test_other_names_are_not(host: str) -> None:
    assert not Door(8717).is_ours(host, None)


async def test_without_the_cookie_nothing_is_given_out(served: Served) -> None:
    await cookie_of(served)
    async with aiohttp.ClientSession(cookies={"gpusess": "a guess"}) as stranger:
        for path in ("/", "/static/textual.js", "/static/", "/nothing"):
            async with stranger.get(served.address + path) as response:
                assert response.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await stranger.ws_connect(f"{served.address}/ws", origin=served.address)
        async with stranger.get(served.link) as response:
            assert response.status == 403, "the link was used"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:{port}"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_the_cookie_alone_is_not_enough(
    served: Served, client: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    port = served.address.rpartition(":")[2]
    headers = {name: value.format(port=port) for name, value in headers.items()}
    async with client.get(served.address, headers=headers) as response:
        assert response.status == 403
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await client.ws_connect(f"{served.address}/ws", headers={"Origin": served.address, **headers})


async def test_a_socket_must_say_where_it_comes_from(served: Served, client: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await client.ws_connect(f"{served.address}/ws")


async def test_the_page_asks_nothing_of_other_machines(served: Served, client: aiohttp.ClientSession) -> None:
    async with client.get(served.address) as response:
        page = await response.text()
        policy = response.headers["Content-Security-Policy"]
    assert re.findall(r"[a-z]+://[^\"/]+", page) == [f"ws://{served.address.removeprefix('http://')}"]
    assert "default-src 'none'" in policy
    assert "'unsafe-eval'" not in policy
    for path, status in (
        ("/static/mono.ttf", 200),
        ("/static/", 404),
        ("/static/page.html", 404),
        ("/x", 404),
    ):
        async with client.get(served.address + path) as response:
            assert response.status == status


async def test_it_listens_on_the_loopback_interface_only(served: Served) -> None:
    listening = [c for c in psutil.Process(served.process.pid).net_connections("tcp") if c.status == "LISTEN"]
    assert [c.laddr.ip for c in listening] == ["127.0.0.1"]


# --- a tab ---


async def test_a_tab_draws_takes_keys_and_ends_with_its_socket(
    served: Served, client: aiohttp.ClientSession
) -> None:
    async with tab(served, client) as screen:
        assert len(served.apps) == 1
        await screen.press("?")
        await screen.shows("Everywhere")
        await screen.press("\x1b")
        await screen.socket.send_json(["resize", {"width": 80, "height": 24}])
        await screen.shows("amber-finch")
    await served.no_app_is_left()


async def test_quitting_ends_the_tab(served: Served, client: aiohttp.ClientSession) -> None:
    async with tab(served, client) as screen:
        await screen.press("q", "y")
        async with asyncio.timeout(10):
            while (await screen.socket.receive()).type is aiohttp.WSMsgType.BINARY:
                pass
        assert screen.socket.closed
    await served.no_app_is_left()


async def test_there_are_so_many_tabs_and_no_more(served: Served, client: aiohttp.ClientSession) -> None:
    async with tab(served, client), tab(served, client):
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await client.ws_connect(f"{served.address}/ws", origin=served.address)
        async with client.get(served.address) as response:
            assert response.status == 503
    await served.no_app_is_left()


@pytest.mark.parametrize(
    "said", ["no json", "[]", "[1]", '["resize", 3]', '["resize", {"width": "1e999"}]', '["quit"]']
)
async def test_nonsense_from_a_page_does_no_harm(
    served: Served, client: aiohttp.ClientSession, said: str
) -> None:
    async with client.ws_connect(f"{served.address}/ws", origin=served.address) as socket:
        await socket.send_str(said)
        await socket.send_json(["ping", 7])
        async with asyncio.timeout(15):
            while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
                pass
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED) or message.json() == [
            "pong",
            7,
        ]
    await served.no_app_is_left()


def test_a_page_cannot_ask_for_a_screen_without_bounds() -> None:
    assert size("120", 40) == (120, 40)
    assert size(10**9, -3) == (500, 5)
    assert size(None, "x") == (80, 24)
    assert size(float("inf"), [1]) == (80, 24)


async def test_an_app_that_does_not_quit_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpusess.tui.web.tab.PATIENCE", 0.3)
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('__GANGLION__', flush=True); time.sleep(99)"

    async def send(_: bytes) -> None: ...

    one = Tab([sys.executable, "-c", stubborn], tmp_path / "log", send)
    await one.start(80, 24)
    assert one.pid
    await one.stop()
    assert not psutil.pid_exists(one.pid)


async def test_an_app_ends_with_its_server_however_that_ends(tmp_path: Path) -> None:
    with serving(tmp_path) as own:
        async with aiohttp.ClientSession(cookies=await cookie_of(own)) as client, tab(own, client):
            app = own.apps[0]
            own.process.send_signal(signal.SIGKILL)
            await until(lambda: not app.is_running() or app.status() == psutil.STATUS_ZOMBIE)


# --- what it may do ---


def test_looking_refuses_every_intent_that_acts() -> None:
    looks = {"ssh_argv", "reach", "leftovers", "jobs", "offers", "estimate", "look_around"}
    every = {name for name, _ in inspect.getmembers(Intents, inspect.isfunction) if not name.startswith("_")}
    assert looks < every
    asked = worlds.FakeIntents()
    for name in every - looks:
        with pytest.raises(GpusessError, match="only looks"):
            getattr(LookOnly(asked), name)(1, 2, 3)
    LookOnly(asked).look_around()
    assert asked.asked == []
    assert asked.looks == 0


@pytest.mark.parametrize("options", [(), ("--allow-actions",)])
async def test_a_browser_acts_only_where_it_was_allowed_to(tmp_path: Path, options: tuple[str, ...]) -> None:
    with serving(tmp_path, *options, "amber-finch") as own:
        async with aiohttp.ClientSession(cookies=await cookie_of(own)) as client, tab(own, client) as screen:
            await screen.press("x")
            await screen.shows("Terminate now; what")
            await screen.press("y")
            await screen.shows("asked to terminate" if options else "only looks")
        store = Store(tmp_path / "gpusess.db")
        asked = [r.verb for s in store.sessions() for r in store.open_requests(s.id)]
        store.close()
        assert asked == (["terminate"] if options else [])


# --- a real browser ---

_SEEN = """
window.__seen = "";
const Theirs = window.WebSocket;
window.WebSocket = class extends Theirs {
  constructor(...args) {
    super(...args);
    this.addEventListener("message", (m) => {
      if (m.data instanceof ArrayBuffer) window.__seen += new TextDecoder().decode(m.data);
      else if (m.data.text) m.data.text().then((t) => { window.__seen += t; });
    });
  }
};
"""
"""Keeps what the terminal of a page was sent: it is drawn on a canvas, where there is no text to read."""

browsers = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


async def opened(browser: Browser, url: str) -> Page:
    page = await browser.open("about:blank")
    await page.send("Page.enable")
    await page.send("Page.addScriptToEvaluateOnNewDocument", source=_SEEN)
    await page.send("Page.navigate", url=url)
    return page


@pytest.mark.slow
@pytest.mark.sample
@browsers
async def test_a_browser_draws_takes_keys_and_its_tab_ends_the_app(tmp_path: Path) -> None:
    with serving(tmp_path) as own:
        async with chromium(tmp_path / "profile") as browser:
            page = await opened(browser, own.link)
            await page.until("document.body?.className.includes('-first-byte')")
            await page.until("window.__seen.includes('amber-finch')")
            assert await page.value("document.cookie") == "", "no script can read it"
            asked = await page.value(
                "performance.getEntriesByType('resource').map(r => new URL(r.name).host)"
            )
            assert set(asked) == {own.address.removeprefix("http://")}
            await page.send("Page.bringToFront")
            assert "xterm" in await page.value("document.activeElement.className"), (
                "keys go to the app at once"
            )
            await page.press("?")
            await page.until("window.__seen.includes('Everywhere')")
            again = await opened(browser, own.link)
            assert "was used" in await again.until("document.body?.innerText")
            assert len(own.apps) == 1
            await browser.close(page)
            await own.no_app_is_left()


@pytest.mark.slow
@pytest.mark.sample
@browsers
async def test_a_browser_does_not_carry_other_pages_in(tmp_path: Path) -> None:
    """A page of another origin, and a foreign name that leads here (what rebinding a name comes to)."""
    with serving(tmp_path) as own:
        port = own.address.rpartition(":")[2]
        async with chromium(
            tmp_path / "profile", "--host-resolver-rules=MAP evil.example 127.0.0.1"
        ) as browser:
            page = await opened(browser, own.link)
            await page.until("window.__seen.includes('amber-finch')")
            evil = await opened(browser, f"http://evil.example:{port}/")
            assert "own name" in await evil.until("document.body?.innerText")
            tried = await evil.value(
                f"""new Promise((done) => {{
                    const socket = new WebSocket("{own.address.replace("http", "ws")}/ws");
                    socket.onopen = () => done("open"); socket.onerror = () => done("refused");
                }})"""
            )
            assert tried == "refused"
            read = (
                f"""fetch("{own.address}/", {{credentials: "include"}}).then(() => "read", () => "refused")"""
            )
            assert await evil.value(read) == "refused"
            assert len(own.apps) == 1


@pytest.mark.slow
@pytest.mark.sample
@browsers
@pytest.mark.parametrize("pause", [0.0, 0.3, 1.0])
async def test_a_browser_that_is_killed_leaves_no_app(tmp_path: Path, pause: float) -> None:
    with serving(tmp_path) as own:
        async with chromium(tmp_path / "profile") as browser:
            page = await browser.open("about:blank")
            await page.send("Page.navigate", url=own.link)
            await until(lambda: own.apps, 20)
            await asyncio.sleep(pause)
            browser.kill()
            await own.no_app_is_left()
