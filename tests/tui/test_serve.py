"""`gpusess serve`: who is let in, what a tab may do, and that its app ends with it."""

from __future__ import annotations

import asyncio
import inspect
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
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
from .serving import Served, cookie_of, serving, tab, until  # noqa: E402


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("serve"), "--tabs", "2") as found:
        yield found


@pytest.fixture
async def client(served: Served) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookies=await cookie_of(served)) as session:
        yield session


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
    socket = f"{served.address}/ws"
    async with (
        client.ws_connect(socket, origin=served.address),
        client.ws_connect(socket, origin=served.address),
    ):
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
    looks = {"ssh_argv", "reach", "leftovers", "jobs", "offers", "own_machines", "estimate", "look_around"}
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
            await screen.shows("Terminate now; what" if options else "only looks")
            await screen.press("y")
            if options:
                await screen.shows("asked to terminate")
        store = Store(tmp_path / "gpusess.db")
        asked = [r.verb for s in store.sessions() for r in store.open_requests(s.id)]
        store.close()
        assert asked == (["terminate"] if options else [])
