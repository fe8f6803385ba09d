"""The package of docs/extend.md, built and installed as its reader would, and what other packages can do wrong."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hardware import plugins
from hardware.cameras.registry import cameras, open_camera
from hardware.captures.capture import open_capture
from hardware.formats import registry as formats_registry
from hardware.formats.registry import BUILT_IN, format_of, formats
from noise_model.errors import InputError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")


def files_of_the_page() -> dict[str, str]:
    """Every file whose name stands before a code block."""
    return dict(re.findall(r"`(labspad/[\w/.]+)`(?:(?!```|`labspad/).)*```\w+\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, and with it installed in `installed`."""
    pytest.importorskip("hatchling", reason="hatchling builds the package; it comes with the extra `test`")
    place = tmp_path_factory.mktemp("extend")
    for name, text in {**files_of_the_page(), "labspad/labspad/__init__.py": ""}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*pip, *offline, "--target", place / "installed", place / "labspad"], check=True, capture_output=True
    )
    return place


def run(folder: Path, *arguments: str) -> str:
    """What python prints, with the package installed."""
    paths = os.pathsep.join([str(folder / "installed"), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_the_whole_package() -> None:
    listed = re.findall(r"^    (labspad/\S+)", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted([*files_of_the_page(), "labspad/labspad/__init__.py"])
    lines = {name: len(text.splitlines()) for name, text in files_of_the_page().items()}
    assert lines["labspad/labspad/camera.py"] <= 80
    assert lines["labspad/labspad/format.py"] <= 35


def test_its_contract_tests_pass(folder: Path) -> None:
    said = run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "labspad/test_labspad.py")
    assert re.search(r"1\d passed", said), said
    assert "skipped" not in said


def test_the_camera_is_listed_and_records(folder: Path) -> None:
    assert re.search(
        r"^labspad +usable +labspad:SERIAL,rate=50000$", run(folder, "-m", "spadsr", "cameras"), re.MULTILINE
    )
    command = re.search(r"^    spadsr (acquire .*)$", PAGE, re.MULTILINE)
    assert command is not None
    run(folder, "-m", "spadsr", *command[1].split())
    with open_capture(folder / "capture.h5") as capture:
        assert capture.shape == (1000, 32, 32)
        assert capture.settings.count_time == 20e-6
        assert capture.notes["serial_number"] == "A1"
        assert np.concatenate(list(capture.blocks())).mean() == pytest.approx(0.4, abs=0.01)


def test_the_format_is_read_by_every_command(folder: Path) -> None:
    write = (
        "import numpy as np; from pathlib import Path; from labspad.format import HEADER, SIGNATURE;"
        "counts = np.arange(2 * 3 * 4, dtype=np.uint16);"
        "Path('a.labspad').write_bytes(HEADER.pack(SIGNATURE, 2, 3, 4, 1e-5) + counts.tobytes())"
    )
    run(folder, "-c", write)
    said = run(folder, "-m", "spadsr", "info", "a.labspad")
    assert "LabSPAD file" in said
    assert "2 images of 3 x 4" in said
    assert "assumed" not in said
    run(folder, "-m", "spadsr", "convert", "a.labspad", "a.npy")
    np.testing.assert_array_equal(np.load(folder / "a.npy").ravel(), np.arange(24))


@pytest.fixture
def brought(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """Entry points of other packages, to be added to."""
    entries: list[EntryPoint] = []
    monkeypatch.setattr(plugins, "entry_points", lambda group: [each for each in entries if each.group == group])
    formats.cache_clear()
    yield entries
    formats.cache_clear()


def module(monkeypatch: pytest.MonkeyPatch, name: str, **parts: Any) -> str:
    """Makes a module of that name and with these parts importable."""
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(**parts))  # type: ignore[arg-type]
    return name


def a_format(name: str, recognises: Any, **parts: Any) -> dict[str, Any]:
    usual = {"SUFFIXES": (".lab",), "ARRAYS": False, "AXES": (), "LAYOUTS": (), "open_source": None}
    return {**usual, "NAME": name, "recognises": recognises, **parts}


def test_a_camera_that_cannot_be_imported_is_named_and_harms_no_other(brought: list[EntryPoint]) -> None:
    brought += [EntryPoint("lost", "no_such_module", "spadsr.cameras"), EntryPoint("bare", "math", "spadsr.cameras")]
    listed = {each.name: each for each in cameras()}
    assert list(listed) == ["simulated", "replay", "spc3", "spad512", "bare", "lost"]
    assert listed["simulated"].usable
    assert not listed["lost"].usable
    assert listed["lost"].why.startswith(
        "lost cannot be imported (ModuleNotFoundError: No module named 'no_such_module')"
    )
    assert listed["bare"].why == "bare lacks ADDRESS, OPTIONS, availability, connect; see docs/extend.md"
    with pytest.raises(InputError, match="lost cannot be imported"):
        open_camera("lost:")
    with pytest.raises(InputError, match="expected one of simulated, replay, spc3, spad512, bare, lost"):
        open_camera("nobody:")
    open_camera("simulated:")


def test_a_driver_that_fails_is_listed_as_unusable(brought: list[EntryPoint], monkeypatch: pytest.MonkeyPatch) -> None:
    def availability() -> tuple[bool, str]:
        raise OSError("no bus")

    parts = {"ADDRESS": "odd:", "OPTIONS": {}, "availability": availability, "connect": None}
    brought.append(EntryPoint("odd", module(monkeypatch, "odd_camera", **parts), "spadsr.cameras"))
    assert (cameras()[-1].usable, cameras()[-1].why) == (False, "OSError: no bus")


def test_a_name_belongs_to_the_first(brought: list[EntryPoint]) -> None:
    brought.append(EntryPoint("spc3", "labspad.camera", "spadsr.cameras"))
    *_, last = cameras()
    assert (last.name, last.usable) == ("spc3", False)
    assert last.why == "another camera has this name; labspad.camera must change it"


def test_formats_of_other_packages_come_first(
    brought: list[EntryPoint], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    greedy = module(monkeypatch, "greedy_format", **a_format("greedy", lambda path, head: path.suffix == ".npy"))
    mild = module(monkeypatch, "mild_format", **a_format("mild", lambda path, head: False))
    brought += [EntryPoint("b", greedy, "spadsr.formats"), EntryPoint("a", mild, "spadsr.formats")]
    assert [each.NAME for each in formats()][:2] == ["mild", "greedy"]
    assert len(formats()) == 2 + len(BUILT_IN)
    np.save(tmp_path / "a.npy", np.ones((2, 3, 4), np.uint8))
    assert format_of(tmp_path / "a.npy").NAME == "greedy"
    (tmp_path / "a.doc").write_bytes(b"photons")
    with pytest.raises(InputError, match=r"expected one of: mild \(.lab\), greedy \(.lab\), SPC3"):
        open_capture(tmp_path / "a.doc")


def test_a_format_that_fails_is_named_and_harms_no_other(
    brought: list[EntryPoint], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wild = module(monkeypatch, "wild_format", **a_format("wild", lambda path, head: 1 / 0))
    brought += [EntryPoint("lost", "no_such_module", "spadsr.formats"), EntryPoint("wild", wild, "spadsr.formats")]
    np.save(tmp_path / "a.npy", np.ones((2, 3, 4), np.uint8))
    with caplog.at_level(logging.WARNING), open_capture(tmp_path / "a.npy") as capture:
        assert capture.format == "NumPy array"
    first, second = caplog.messages
    assert first.startswith("file format lost cannot be imported (ModuleNotFoundError")
    assert second.startswith("file format wild does not recognise")
    assert "ZeroDivisionError" in second


def test_counts_of_other_packages_are_checked_too(
    brought: list[EntryPoint], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from hardware.parsing.source import Source

    def opened(dtype: Any, counts: np.ndarray[Any, Any]) -> Any:
        return lambda path, choice: Source((1, 2, 2), np.dtype(dtype), lambda start, stop: counts, lambda: None)

    path = tmp_path / "a.lab"
    path.write_bytes(b"lab")
    lab = a_format("lab", lambda path, head: head == b"lab")
    brought.append(EntryPoint("lab", module(monkeypatch, "lab_format", **lab), "spadsr.formats"))
    form = formats()[0]
    for open_source, words in (
        (opened(np.float32, np.full((1, 2, 2), 0.5)), "which is not whole"),
        (opened(np.uint8, np.full((1, 2, 2), 0.5)), "values are float64"),
        (opened(np.uint8, np.ones((1, 2, 3), np.uint8)), "not all there"),
    ):
        monkeypatch.setattr(form, "open_source", open_source)
        with pytest.raises(InputError, match=words), open_capture(path, cycles=1) as capture:
            capture.read(0, 1)


def test_the_order_of_the_built_in_formats_matters_where_it_is_said_to(tmp_path: Path) -> None:
    """A MATLAB 7.3 file is HDF5 too, and a name is the weakest of signs."""
    names = list(BUILT_IN)
    assert names.index("mat") < names.index("nexus")
    assert names[-1] == "spad512"
    assert [each.NAME for each in formats()][-1] == "SPAD512 raw file"
    np.save(tmp_path / "a.npy", np.ones((2, 3, 4), np.uint8))
    (tmp_path / "a.npy").rename(tmp_path / "a.bin")
    assert format_of(tmp_path / "a.bin").NAME == "NumPy array"
    assert formats_registry.GROUP == "spadsr.formats"
