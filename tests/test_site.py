"""The site of the docs: it builds without a warning, its links hold, and it asks for nothing from outside."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import spadsr

ROOT = Path(__file__).parents[1]


class Page(HTMLParser):
    """What a page has and wants.

    Attributes:
        anchors: identifiers of its elements.
        links: where its links lead.
        wanted: what a browser fetches to show it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.wanted = set[str](), list[str](), list[str]()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        self.anchors.add(has.get("id", ""))
        if tag == "a":
            self.links.append(has.get("href", ""))
        else:
            self.wanted += [has[name] for name in ("src", "href", "srcset", "data", "poster", "action") if name in has]
            self.wanted += re.findall(r"url\(([^)]*)\)", has.get("style", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from a copy, so that nothing is left in the checkout."""
    pytest.importorskip("zensical", reason="zensical builds the site; it comes with the extra `docs`")
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    build = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(
        build, cwd=folder, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def outside(address: str) -> bool:
    """Whether an address leads to another machine."""
    return bool(urlsplit(address.strip("'\" ")).netloc)


def test_links_and_anchors_hold(pages: dict[Path, Page]) -> None:
    checked = 0
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # its links are those of the root of a server
        for link in (link for link in page.links if link and not outside(link) and not urlsplit(link).scheme):
            target, _, anchor = unquote(link).partition("#")
            there = (path.parent / target).resolve() if target else path
            there = there / "index.html" if there.is_dir() else there
            assert there.is_file(), f"{path.name}: {link}"
            if anchor and there.suffix == ".html":
                assert anchor in pages[there].anchors, f"{path.name}: {link}"
            checked += 1
    assert checked > 500


def test_pictures_and_scripts_are_there(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for address in page.wanted:
            if path.name != "404.html" and not urlsplit(address).scheme and not address.startswith("#"):
                assert (path.parent / unquote(urlsplit(address).path)).exists(), f"{path.name}: {address}"


def test_nothing_is_asked_for_from_outside(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert not [address for address in page.wanted if outside(address)], path.name
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'class="[^"]*\b(mermaid|glightbox|pyodide)\b', text), f"{path.name} loads a library"
    for sheet in site.rglob("*.css"):
        assert not [address for address in styles(sheet) if outside(address)], sheet.name


def styles(sheet: Path) -> Iterator[str]:
    """Addresses that a style sheet loads."""
    for found in re.finditer(r"url\(([^)]*)\)|@import\s+([^;]*);", sheet.read_text(encoding="utf-8")):
        yield found[1] or found[2]


def test_every_page_can_be_found(site: Path, pages: dict[Path, Page]) -> None:
    names = {path.stem for path in ROOT.glob("docs/*.md")} - {"README"}
    assert {f"{name}.html" for name in names} <= set(pages[site / "index.html"].links), "add it to zensical.toml"


def test_the_reference_has_the_whole_face(site: Path, pages: dict[Path, Page]) -> None:
    wanted = {f"spadsr.{name}" for name in spadsr.__all__} - {"spadsr.__version__"}
    assert wanted <= pages[site / "reference.html"].anchors
