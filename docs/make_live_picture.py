"""Makes docs/images/live.png, the page of the live view in Debian's chromium: `python docs/make_live_picture.py`."""

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
OPTIONS = ["--no-sandbox"]
#: s that the first picture may take.
PATIENCE = 300.0


def main() -> None:
    camera = [
        "--camera",
        "simulated:spc3,flux=3e4,drift=1,seed=3",
        "--cycles",
        "10",
        "--frame-time",
        "1e-3",
        "--sum",
        "10",
        "--port",
        "0",
        "--no-browser",
    ]
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "spadsr", "live", *camera, "-o", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as live:
            try:
                photograph(live.stdout.readline().strip(), HERE / "images" / "live.png")
            finally:
                live.terminate()


def photograph(url: str, path: Path) -> None:
    """Draws a region, points at a pixel, and takes a picture, of few colours so that it is small."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=OPTIONS)
        page = browser.new_page(viewport={"width": 1280, "height": 720}, color_scheme="dark")
        page.set_default_timeout(1e3 * PATIENCE)
        page.goto(url)
        end = time.monotonic() + PATIENCE
        while not page.evaluate("Boolean(spadsr.newest[1])"):
            if time.monotonic() > end:
                raise SystemExit("nothing was restored")
            page.wait_for_timeout(200)
        page.keyboard.press("a")
        box = page.locator("#recorded").bounding_box()
        assert box is not None
        across, down = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.keyboard.down("Shift")
        page.mouse.move(across, down - 120)
        page.mouse.down()
        page.mouse.move(across + 60, down - 40)
        page.mouse.up()
        page.keyboard.up("Shift")
        page.wait_for_timeout(15_000)
        page.mouse.move(across + 30, down - 80)
        page.wait_for_timeout(500)
        page.screenshot(path=path)
        browser.close()
    picture = cv2.imread(str(path))
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
