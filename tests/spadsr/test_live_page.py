"""The page of the live view in a real browser (Debian's chromium, driven by playwright)."""

import itertools
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_view import Running, live_view
from test_live_view import SHAPE, counts_of, numbered

__all__ = ["numbered"]

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: pip install playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")

#: Without a sandbox, as root; WebGL2 by the processor.
OPTIONS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


class Page:
    """A page in a context of its own, and what went wrong on it.

    Attributes:
        wrong: errors of the console, and requests to anywhere but the server.
    """

    def __init__(self, browser: Any, running: Running, query: str = "", **context: Any) -> None:
        self.wrong: list[str] = []
        self.context = browser.new_context(viewport={"width": 1280, "height": 720}, **context)
        self.page = self.context.new_page()
        self.page.on("console", lambda said: said.type in ("error", "warning") and self.wrong.append(said.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self._asks(request.url, running.port))
        self.page.goto(running.url)
        if query:
            self.page.goto(f"http://127.0.0.1:{running.port}/?{query}")
        self.until("spadsr.newest[0] && document.getElementById('side').elements.images.value")

    def _asks(self, url: str, port: int) -> None:
        if not url.startswith((f"http://127.0.0.1:{port}/", f"ws://127.0.0.1:{port}/", "blob:")):
            self.wrong.append(url)

    def until(self, expression: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds  # playwright's own waiting is what the page's policy forbids
        while not self.page.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"not within {seconds:g} s: {expression}"
            self.page.wait_for_timeout(50)

    def value(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def close(self) -> None:
        self.context.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, numbered: Path) -> Iterator[Running]:
    with live_view(tmp_path_factory.mktemp("live"), f"replay:{numbered},loop=1", "--weights", "tiny") as view:
        yield view


#: Freezes what is drawn, and reads it: counts, the number of the image, the colour of the centre of each native pixel.
DRAWN = """(() => {
  const { panels, view, tone, newest } = spadsr, panel = panels[0], image = newest[0];
  panel.load(image.rate, image.rows, image.columns, image.rows, image.columns);
  panel.draw(view, tone);
  const copy = document.createElement("canvas");
  Object.assign(copy, { width: panel.canvas.width, height: panel.canvas.height });
  const plain = copy.getContext("2d", { willReadFrequently: true });
  plain.drawImage(panel.canvas, 0, 0);
  const [x, y, width, height] = panel.part(view);
  const colours = [];
  for (let row = 0; row < image.rows; row++)
    for (let column = 0; column < image.columns; column++) {
      const across = (((column + 0.5) / image.columns - x) / width) * copy.width;
      const down = (((row + 0.5) / image.rows - y) / height) * copy.height;
      colours.push([...plain.getImageData(Math.floor(across), Math.floor(down), 1, 1).data]);
    }
  return { last: image.last, counts: [...image.counts], rate: [...image.rate], colours };
})()"""


@pytest.mark.parametrize("query", ["", "canvas"], ids=["webgl", "plain canvas"])
def test_what_is_drawn_is_what_was_recorded(browser: Any, running: Running, query: str) -> None:
    page = Page(browser, running, query)
    painter = page.value("spadsr.panels[0].painter.constructor.name")
    assert painter == ("CanvasPainter" if query else "GlPainter")
    page.page.select_option("#colours", "grey")
    page.page.fill("#low", "0")
    page.page.press("#low", "Tab")
    page.page.fill("#high", "1e8")
    page.page.press("#high", "Tab")
    page.until("spadsr.tone.high === 1e8 && spadsr.tone.low === 0")
    drawn = page.value(DRAWN)
    counts = np.reshape(drawn["counts"], SHAPE)
    np.testing.assert_array_equal(counts, counts_of(drawn["last"] % 500))
    np.testing.assert_allclose(drawn["rate"], counts.ravel() / 1e-5, rtol=1e-3)
    expected = np.clip(255 * counts.ravel() / 1e-5 / 1e8, 0, 255)
    colours = np.array(drawn["colours"])
    assert np.abs(colours[:, 0] - expected).max() <= 1
    assert (colours[:, 0] == colours[:, 1]).all()
    assert (colours[:, 3] == 255).all()
    assert page.wrong == []
    page.close()


def test_nothing_goes_wrong_and_nothing_is_asked_elsewhere(browser: Any, running: Running) -> None:
    page = Page(browser, running)
    page.until("spadsr.newest[1]")
    for key in ("l", "c", "a", "+", "-", "0", "ArrowLeft", "Escape", "l"):
        page.page.keyboard.press(key)
    page.page.set_viewport_size({"width": 820, "height": 1180})
    page.page.wait_for_timeout(500)
    assert page.wrong == []
    assert "token" not in page.page.url
    page.close()


def test_the_cursor_reads_the_pixel_below_it(browser: Any, running: Running) -> None:
    page = Page(browser, running)
    page.until("spadsr.newest[1]")
    box = page.page.locator("#recorded").bounding_box()
    page.page.mouse.move(box["x"] + box["width"] / 2 + 2, box["y"] + box["height"] / 2 + 2)
    page.until("document.getElementById('cursor').textContent.includes('restored')")
    said = page.page.inner_text("#cursor")
    assert said.startswith(f"row {SHAPE[0] // 2}, column {SHAPE[1] // 2}: ")
    assert "±" in said
    page.close()


def test_a_flat_field_reads_its_rate_and_the_brightest_light_is_finite(browser: Any, tmp_path: Path) -> None:
    options = ("--sum", "100", "--weights", "none")
    with live_view(tmp_path, "simulated:spc3,even=1,flux=2e6", *options) as running:
        page = Page(browser, running)
        rate = np.array(page.value("[...spadsr.newest[0].rate]"))
        counts = np.array(page.value("[...spadsr.newest[0].counts]"))
        # Efficiency and dark counts differ between pixels, and no sensor file says how: their mean is known.
        error = 2e6 / np.sqrt(counts.mean() * len(counts))
        assert abs(np.median(rate) - 2e6) < 0.15 * 2e6
        assert error < 0.01 * 2e6
        page.close()
    with live_view(tmp_path, "simulated:spc3,even=1,flux=1e11", *options) as running:
        page = Page(browser, running)
        assert page.value("spadsr.newest[0].rate.every(Number.isFinite)")
        assert page.value("spadsr.newest[0].rate.every((rate) => rate > 1e6)")
        page.close()


def test_exposure_shows_what_was_applied_or_why_not(browser: Any, tmp_path: Path) -> None:
    with live_view(tmp_path, "simulated:spc3,even=1,flux=1e5", "--sum", "100", "--weights", "none") as running:
        page = Page(browser, running)
        page.page.fill("#count_time", "20.8 us")
        page.page.press("#count_time", "Enter")
        page.until("document.getElementById('applied').textContent.includes('20.8 us')")
        page.page.fill("#count_time", "90000 s")
        page.page.press("#count_time", "Enter")
        page.until("document.getElementById('refused').textContent.includes('expected')")
        page.page.fill("#count_time", "soon")
        page.page.press("#count_time", "Enter")
        page.until("document.getElementById('refused').textContent.includes('with a unit')")
        assert page.wrong == []
        page.close()


def test_two_pages_share_the_camera_and_not_the_colours(browser: Any, running: Running) -> None:
    first, second = Page(browser, running), Page(browser, running)
    controls = [page.value("document.getElementById('images').disabled") for page in (first, second)]
    assert controls == [False, True]
    second.page.click("#take")
    second.until("!document.getElementById('images').disabled")
    first.until("document.getElementById('images').disabled")
    before = first.value("[spadsr.tone.low, spadsr.tone.high]")
    second.page.fill("#high", "12345")
    second.page.press("#high", "Tab")
    second.until("spadsr.tone.high === 12345")
    assert first.value("[spadsr.tone.low, spadsr.tone.high]") == before
    first.close()
    second.close()


def test_a_hidden_page_gets_no_images(browser: Any, running: Running) -> None:
    page = Page(browser, running)
    page.value("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.value("document.dispatchEvent(new Event('visibilitychange'))")
    page.page.wait_for_timeout(500)
    before = page.value("spadsr.newest[0].last")
    page.page.wait_for_timeout(1000)
    assert page.value("spadsr.newest[0].last") == before
    page.value("Object.defineProperty(document, 'hidden', { value: false, configurable: true })")
    page.value("document.dispatchEvent(new Event('visibilitychange'))")
    page.until(f"spadsr.newest[0].last !== {before}")
    page.close()


def test_a_camera_that_goes_comes_back(browser: Any, tmp_path: Path) -> None:
    server = emulated(0)
    assert server.stdout is not None
    address = server.stdout.readline().split()[-1]
    port = int(address.rpartition("=")[2])
    settings = ("--bits", "1", "--dead-time", "0", "--count-time", "1e-5", "--weights", "none")
    with live_view(tmp_path, f"{address},frames=20", *settings) as running:
        page = Page(browser, running)
        server.kill()
        server.wait()
        page.until("document.getElementById('banners').textContent.includes('the camera is gone')", 30)
        last = page.value("spadsr.newest[0].last")
        server = emulated(port)
        page.until(f"spadsr.newest[0].last > {last}", 60)
        page.until("!document.getElementById('banners').textContent.includes('the camera is gone')")
        page.until("document.getElementById('n-lost').textContent.includes('gaps')")
        assert page.wrong == []
        page.close()
    server.kill()
    server.wait()
    server.communicate()


def emulated(port: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "spadsr", "emulate", "spad512", "--port", str(port)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_recording_and_playing_from_the_page(browser: Any, tmp_path: Path, numbered: Path) -> None:
    with live_view(tmp_path, f"replay:{numbered},loop=1", "--weights", "tiny") as running:
        page = Page(browser, running)
        page.page.fill("#name", "mine")
        page.page.fill("#seconds", "1")
        page.page.click("#record")
        page.until("[...document.getElementById('recordings').options].some((each) => each.value === 'mine.h5')")
        page.until("document.getElementById('record').textContent === 'Record'")
        page.page.select_option("#recordings", "mine.h5")
        page.until("!document.getElementById('time').hidden")
        page.page.fill("#time", "7")
        page.until("spadsr.newest[0]?.last === 7")
        page.until("spadsr.newest[1]?.last === 7")
        with page.page.expect_download() as download:
            page.page.keyboard.press("s")
        assert download.value.suggested_filename.endswith((".png", ".sr.h5"))
        assert page.wrong == []
        page.close()


def test_tabs_that_are_closed_leave_nothing_behind(browser: Any, running: Running) -> None:
    context = browser.new_context()
    tabs = [context.new_page() for _ in range(20)]
    for tab in tabs:
        tab.goto(running.url)
    for tab in itertools.chain(tabs[::2], tabs[1::2]):
        tab.close()
    context.close()
    time.sleep(2)
    page = Page(browser, running)
    page.until("document.getElementById('control').textContent === ''")
    page.close()
