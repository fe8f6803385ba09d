"""From captures to a sensor file: what is used for what, what is written, and what is refused."""

import io
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from command import Said

import spadsr as package
from hardware.captures.capture import open_capture
from hardware.captures.writer import CaptureWriter
from hardware.hdf5.nexus_tree import DETECTOR
from hardware.settings import Settings
from noise_model.calibration.streams import gather
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import GAP, Exposure, Sensor
from spadsr.calibration.calibrate import _recordings
from spadsr.cli.app import main

SHAPE = (24, 16)
FRAME = Exposure(10e-6)
KEY = {"flat": 1, "dark": 2}


def array() -> Sensor:
    """The one to be found again: its dark rates are high, so that short recordings tell them."""
    preset = Sensor.load("spc3")
    maps = {field: getattr(preset, field)[: SHAPE[0], : SHAPE[1]] for field in ("pde", "dark_count_rate")}
    maps["dark_count_rate"] = maps["dark_count_rate"] * 20
    return replace(preset, name="truth", measured=True, **maps)


def counted(rate: float, images: int, seed: int) -> np.ndarray[Any, Any]:
    generator = torch.Generator().manual_seed(seed)
    counts = ForwardModel(array(), FRAME).sample(torch.full((images, *SHAPE), rate), generator)
    return counts.numpy().astype(np.uint16)


DARK, DIM, BRIGHT = counted(0, 4000, 1), counted(1e6, 1500, 2), counted(6e6, 1500, 3)


def record(path: Path, *parts: tuple[np.ndarray[Any, Any], int | None], **header: Any) -> Path:
    known = Settings(FRAME.count_time, FRAME.cycles, 9, array().dead_time)
    mask = header.pop("pixel_mask", None)
    with CaptureWriter(path, SHAPE, np.uint16, replace(known, **header), pixel_mask=mask) as writer:
        for counts, key in parts:
            writer.append(counts, image_key=key)
    return path


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """dark.h5, dim.h5, bright.h5."""
    parts, folder = {"dark": DARK, "dim": DIM, "bright": BRIGHT}, tmp_path_factory.mktemp("captures")
    return [record(folder / f"{name}.h5", (counts, None)) for name, counts in parts.items()]


@pytest.fixture(scope="module")
def written(captures: Sequence[Path]) -> tuple[Said, Path]:
    """What was said on the way, and the sensor."""
    dark, dim, bright = captures
    output = dark.parent / "out" / "mine.yaml"
    words = ["/somewhere/spadsr", "calibrate", dark, "--flat", dim, bright, "-o", output]
    spoken, warned = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(spoken), redirect_stderr(warned):
        patch.setattr(sys, "argv", [str(word) for word in words])
        with pytest.raises(SystemExit) as end:
            main()
    return Said(int(end.value.code or 0), spoken.getvalue(), warned.getvalue()), output


def test_a_calibration_is_written_whole(written: tuple[Said, Path]) -> None:
    said, output = written
    assert said.code == 0, said.err
    assert sorted(path.name for path in output.parent.iterdir()) == ["mine.html", "mine.npz", "mine.yaml"]
    sensor, truth = Sensor.load(output), array()
    assert (sensor.name, sensor.shape, sensor.counter_bits, sensor.measured) == ("mine", SHAPE, 9, True)
    assert sensor.dead_time == truth.dead_time
    assert "spadsr calibrate " in sensor.source
    assert "/somewhere" not in sensor.source
    for name in ("dark.h5", "dim.h5", "bright.h5"):
        assert re.search(rf"{name} \(sha256 [0-9a-f]{{16}}\)", sensor.source)
    assert sensor.estimates["dark_bulk"].measured
    assert not sensor.estimates["pde_mean"].measured
    with np.load(output.with_suffix(".npz")) as maps:
        for name, low, high in (("dark_count_rate", "dark_low", "dark_high"), ("pde", "pde_low", "pde_high")):
            value = maps[name] / (maps[name].mean() if name == "pde" else 1)
            assert maps[low].shape == SHAPE
            assert ((maps[low] <= value * 1.001) & (value <= maps[high] * 1.001)).mean() > 0.99
    both = np.log([sensor.dark_count_rate.numpy(), truth.dark_count_rate.numpy()])
    assert np.corrcoef(both.reshape(2, -1))[0, 1] > 0.95
    assert np.corrcoef(sensor.pde.flatten(), truth.pde.flatten())[0, 1] > 0.95


def test_what_is_printed(written: tuple[Said, Path]) -> None:
    said, output = written
    assert re.search(r"dead time +│ +50 ns │ +50 to 50", said.out)
    assert re.search(r"trap lifetime +│ +100 ns │ +- │ assumed", said.out)
    assert "mean PDE: assumed; " in said.out
    assert said.out.endswith(f"{output}\n{output.with_suffix('.html')}\n")
    assert max(len(line) for line in said.out.splitlines() if line[0] in "┏┃┡│└") <= 80
    assert "shading" in said.err


def test_python_calibrates_as_the_command_does(
    written: tuple[Said, Path], captures: Sequence[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The same sensor, maps and warnings; it restores and simulates as the saved one does; nothing is printed."""
    dark, dim, bright = captures
    told: list[tuple[int, int]] = []
    how: dict[str, Any] = {"flats": [str(dim), bright], "progress": lambda done, total: told.append((done, total))}
    mine = package.calibrate(str(dark), **how)
    assert capfd.readouterr() == ("", "")
    assert {(4000, 4000), (1500, 1500)} <= set(told)
    said, output = written
    assert [f"note: {line}" for line in mine.warnings] == said.err.splitlines()
    mine.save(tmp_path / "mine.yaml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.html", "mine.npz", "mine.yaml"]
    saved, other = (yaml.safe_load(path.read_text()) for path in (tmp_path / "mine.yaml", output))
    assert saved.pop("source").replace("spadsr.calibrate, in Python", "") != other.pop("source")
    assert saved == other
    with np.load(tmp_path / "mine.npz") as maps, np.load(output.with_suffix(".npz")) as others:
        assert {*maps} == {*others}
        for name in maps:
            np.testing.assert_array_equal(maps[name], others[name])
    with package.open(dim) as capture:
        one, two = (package.restore(capture, sensor=sensor, weights="tiny") for sensor in (mine, output))
    np.testing.assert_array_equal(one.rate, two.rate)
    assert one.warnings == two.warnings
    light = np.full(SHAPE, 1e6)
    counts, again = (package.simulate(light, exposure=FRAME, sensor=sensor, seed=2) for sensor in (mine, output))
    np.testing.assert_array_equal(counts, again)


def test_a_sensor_is_not_saved_over_its_recordings(captures: Sequence[Path], tmp_path: Path) -> None:
    mine = package.calibrate(captures[0], captures[1:])
    with pytest.raises(InputError, match=r"ends in \.yaml"):
        mine.save(tmp_path / "mine.txt")
    with pytest.raises(InputError, match="nothing to calibrate from"):
        package.calibrate()
    assert list(tmp_path.iterdir()) == []


def test_marked_images_are_used_as_what_they_are(
    spadsr: Callable[..., Said], written: tuple[Said, Path], captures: Sequence[Path], tmp_path: Path
) -> None:
    """One file that holds darks, flats, scenes and spoilt images, given as a flat."""
    spoilt = np.full((7, *SHAPE), 300, np.uint16)
    mixed = record(tmp_path / "mixed.h5", (DIM, 1), (spoilt, 3), (DARK, 2), (spoilt, 0))
    other = tmp_path / "other.yaml"
    said = spadsr("calibrate", "--flat", mixed, captures[2], "-o", other)
    assert said.code == 0, said.err
    one, two = Sensor.load(written[1]), Sensor.load(other)
    assert torch.equal(one.pde, two.pde)
    assert torch.equal(one.dark_count_rate, two.dark_count_rate)
    assert re.search(r"mixed.h5 \(sha256 .*\), mixed.h5 \(sha256 ", two.source) is None


def test_a_marked_capture_may_be_given_as_both(tmp_path: Path) -> None:
    mixed = record(tmp_path / "mixed.h5", (DIM[:5], 1), (DARK[:4], 2), (DIM[5:7], 1))
    with ExitStack() as stack:
        found = list(_recordings([mixed], [mixed], {}, stack))
        assert [(one.kind, one.stream.shape[0]) for one in found] == [("flat", 7), ("dark", 4)]
        sums = [gather(one.stream).total for one in found]
    assert (sums[0] == DIM[:7].sum(axis=0)).all()
    assert (sums[1] == DARK[:4].sum(axis=0)).all()


@pytest.mark.parametrize(("said", "option", "known"), [(50e-9, None, 50e-9), (None, 60e-9, 60e-9), (None, None, None)])
def test_a_dead_time_is_known_if_someone_said_it(
    tmp_path: Path, said: float | None, option: float | None, known: float | None
) -> None:
    path = tmp_path / "a.npy"
    if said is None:
        np.save(path, DARK[:3])
    else:
        path = record(tmp_path / "a.h5", (DARK[:3], None), dead_time=said)
    with ExitStack() as stack:
        (one,) = _recordings([path], [], {"dead_time": option, "counter_bits": 9}, stack)
        assert one.stream.dead_time == known


def test_flats_follow_their_option(spadsr: Callable[..., Said], captures: Sequence[Path]) -> None:
    """`--flat a b` and `--flat a --flat b` are the same: the second is no dark."""
    dark, dim, _ = captures
    absent = dark.with_name("absent.h5")
    refused(spadsr("calibrate", dark, "--flat", dim, absent), "absent.h5")
    refused(spadsr("calibrate", dark, "--flat", dim, dim), "dim.h5: given twice")
    refused(spadsr("calibrate", dark, "--flat", dim, "--flat", dim), "dim.h5: given twice")
    refused(spadsr("calibrate", "--flat", dim, "--", dim), "dim.h5: given twice")


def test_masks_of_the_header_are_kept(spadsr: Callable[..., Said], tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.uint32)
    mask[2, 3] = GAP
    dark = record(tmp_path / "dark.h5", (DARK, None), pixel_mask=mask)
    said = spadsr("calibrate", dark, "-o", tmp_path / "out.yaml")
    assert said.code == 0, said.err
    found = Sensor.load(tmp_path / "out.yaml").pixel_mask
    assert found is not None
    assert found[2, 3] & GAP
    assert not (found & GAP)[:2].any()


@pytest.mark.parametrize(
    ("header", "arguments", "words"),
    [
        ({"corrected": True}, (), "dead-time corrected counts"),
        ({"background_subtracted": True}, (), "a background was subtracted"),
        ({}, ("--sensor", "spad512"), "counting"),
        ({}, ("-o", "sensor.npz"), "ends in .yaml"),
        ({}, ("-o", "dark.yaml"), ""),
        ({}, ("--sensor", "nothing"), "no such sensor file"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(
    spadsr: Callable[..., Said],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    header: dict[str, Any],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    dark = record(tmp_path / "dark.h5", (DARK[:50], None), **header)
    if not words:
        dark, words = dark.rename(tmp_path / "dark.npz"), "would be overwritten"
    before = sorted(tmp_path.iterdir())
    refused(spadsr("calibrate", dark, *arguments), words)
    assert sorted(tmp_path.iterdir()) == before


def test_a_calibration_needs_captures_and_a_dark(spadsr: Callable[..., Said], captures: Sequence[Path]) -> None:
    refused(spadsr("calibrate"), "give recordings")
    refused(spadsr("calibrate", "--flat", captures[1]), "no dark")


def test_long_captures_are_streamed(tmp_path: Path) -> None:
    """A block at a time: none is kept."""
    path = record(tmp_path / "a.h5", *[(DARK, None)] * 8)
    with ExitStack() as stack:
        (one,) = _recordings([path], [], {}, stack)
        sizes = [block.nbytes for block in one.stream.blocks()]
    with open_capture(path) as capture:
        assert max(sizes) <= next(capture.blocks()).nbytes < sum(sizes)


def test_recordings_are_shared_out_to_the_same_sensor(
    spadsr: Callable[..., Said], captures: list[Path], tmp_path: Path
) -> None:
    """One of them holds darks and lights, as it marks them; one that is damaged is told of."""
    _, dim, bright = captures
    both = record(tmp_path / "both.h5", (BRIGHT, KEY["flat"]), (DARK, KEY["dark"]))
    found = [tmp_path / "alone.yaml", tmp_path / "shared.yaml"]
    for path, workers in zip(found, ("1", "2"), strict=True):
        said = spadsr("calibrate", both, "--flat", dim, bright, "-o", path, "--workers", workers)
        assert said.code == 0, said.err
    one, other = (yaml.safe_load(path.read_text()) for path in found)
    for name in ("name", "source", "maps"):
        one.pop(name, None)
        other.pop(name, None)
    assert one == other
    with np.load(found[0].with_suffix(".npz")) as first, np.load(found[1].with_suffix(".npz")) as second:
        assert first.files == second.files
        for name in first.files:
            np.testing.assert_array_equal(first[name], second[name])
    with h5py.File(dim.rename(dim.with_name("cut.h5")), "r+") as file:
        file[f"{DETECTOR}/data"][700] = 512
    refused(
        spadsr("calibrate", both, "--flat", dim.with_name("cut.h5"), bright, "-o", found[0], "--workers", "2", "-q"),
        "cut.h5: image 700 holds the count 512",
    )


def test_the_guide(spadsr: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its example makes recordings; its commands, in the order in which they stand, take them."""
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "calibrate.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(example, "calibrate.md", "exec"), {})
    commands = re.findall(r"^ {4}spadsr (.*)$", page, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        said = spadsr(*command.split())
        assert said.code == 0, said.err
    for name in ("sensor.yaml", "sensor.npz", "sensor.html", "scene.check.html"):
        assert (tmp_path / name).stat().st_size > 0


def refused(said: Said, words: str) -> None:
    assert said.code == 2, said.err
    assert said.out == ""
    assert re.fullmatch(r"error: .*\n", said.err), said.err
    assert words in said.err
