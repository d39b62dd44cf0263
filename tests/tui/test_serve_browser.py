"""`gpusess serve` in a real browser: it draws, takes keys, carries no other page in, and leaves no app behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("aiohttp", reason="the extra `serve` is not installed")
pytest.importorskip("textual_serve", reason="the extra `serve` is not installed")

from .browser import CHROMIUM, Browser, Page, chromium
from .serving import serving, until

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
