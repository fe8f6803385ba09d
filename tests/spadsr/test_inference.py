"""Restoring recordings: what is written, in which units, block by block, and what is refused."""

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hardware.captures.capture import Capture, open_capture
from hardware.captures.writer import CaptureWriter
from hardware.hdf5.nexus_tree import DETECTOR
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.interrupts import Interrupted as Stopped
from noise_model.progress import silent
from noise_model.sensor import HOT, USER, Exposure, Sensor
from spadsr.restoration.chosen_sensor import sensor_of
from spadsr.restoration.physics_check import physics_check
from spadsr.restoration.recordings import RestoredFiles, distinct_results, restore_capture, result_path
from spadsr.restoration.restored import output_bytes
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.result_file import read_result
from spadsr.restoration.storage import Storage
from spadsr.restoration.weights import load_restorer

Record = Callable[..., Path]


@pytest.fixture(scope="module")
def restorer(small_weights: Path) -> Restorer:
    return load_restorer(small_weights)


def restored(path: Path, restorer: Restorer, scale: int = 2, sum: int = 1, **how: Any) -> RestoredFiles:
    with open_capture(path) as capture:
        wanted = {"sensor": None, "output": None, "storage": None} | how
        summed, storage = capture.summed(sum), wanted["storage"]
        return restore_capture(summed, restorer, scale, wanted["sensor"], wanted["output"], silent, storage=storage)


EXACT = Storage(exact=True)


def answer(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    with read_result(path) as result:
        stack = result.read(0, len(result))
        return stack.rate, stack.uncertainty


def test_the_layout_of_a_result(recorded: Record, restorer: Restorer) -> None:
    path = recorded(5, 6, 7)
    done = restored(path, restorer, 4)
    assert (done.result, done.picture) == (path.with_name("capture.sr.h5"), path.with_name("capture.sr.png"))
    assert done.images == 5
    with h5py.File(done.result) as file:
        detector = file[DETECTOR]
        for name in ("data", "uncertainty"):
            assert detector[name].shape == (5, 24, 28)
            assert detector[name].dtype == np.float32
            assert detector[name].attrs["units"] == b"counts/s"
        assert file["/entry/data"].attrs["signal"] == b"data"
        assert file["/entry/data/data"].shape == (5, 24, 28)
        assert detector["number_of_cycles"][()] == 16
    with read_result(done.result) as result:
        assert result.scale == 4
        assert result.source == "capture.h5"
        assert result.provenance.model == "small"
        assert result.provenance.model_sha256 == restorer.checksum
        assert result.provenance.sensor["shape"] == [6, 7]
        assert result.warnings == done.warnings
    assert np.std(cv2.imread(str(done.picture))) > 0  # type: ignore[arg-type]
    assert sorted(file.name for file in path.parent.iterdir()) == ["capture.h5", "capture.sr.h5", "capture.sr.png"]


def test_the_answer_is_that_of_the_network(recorded: Record, restorer: Restorer) -> None:
    path = recorded(3, 6, 7)
    rate, sd = answer(restored(path, restorer, 8, storage=EXACT).result)
    with open_capture(path) as capture:
        counts = torch.from_numpy(capture.read(0, 3).astype(np.int64))
        expected = restorer.answer(counts, ForwardModel(capture.sensor, capture.exposure), 8)
    np.testing.assert_array_equal(rate, expected[0].numpy())
    np.testing.assert_array_equal(sd, expected[1].numpy())
    with read_result(path.with_name("capture.sr.h5")) as result:
        np.testing.assert_array_equal(result.read(0, 3).coverage_factor, expected[2].numpy())
        assert result.provenance.config["orientations"] == 1


class Doubling(Restorer):
    """Says twice the rate in every image."""

    def network_answer(self, *how: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rate, sd, factor = super().network_answer(*how)
        return 2 * rate, sd, factor


def test_the_answer_is_checked_against_the_counts(recorded: Record, restorer: Restorer) -> None:
    """Twice the rates contradict the counts; the figures are those of the check, image by image."""
    path = recorded(300, 16, 16)
    done = restored(path, Doubling(**vars(restorer)), 2, storage=EXACT)
    rate, _ = answer(done.result)
    with open_capture(path) as capture:
        counts = torch.from_numpy(capture.read(0, 300).astype(np.int64))
        expected = physics_check(counts, torch.from_numpy(rate), ForwardModel(capture.sensor, capture.exposure))
    with read_result(done.result) as result:
        for name, values in vars(expected).items():
            np.testing.assert_allclose(result.check(name), values, rtol=1e-5, atol=1e-5)
        assert result.warnings == done.warnings
    assert expected.contradicts.sum() > 250
    [line] = [warning for warning in done.warnings if "contradicts" in warning]
    assert f"{expected.contradicts.sum()} of 300 images" in line
    assert f"(image {expected.chi_squared.argmax()})" in done.check


def test_shipped_weights_explain_an_ordinary_capture(recorded: Record) -> None:
    """Nothing to be warned of, and a chi-squared of 1, or less where the answer follows the noise."""
    done = restored(recorded(8, 32, 32), load_restorer(), 4)
    assert done.warnings == ()
    with read_result(done.result) as result:
        assert 0.7 < np.median(result.check("chi_squared")) < 1.1


def test_a_capture_unlike_those_trained_with_is_told_so(recorded: Record) -> None:
    """Summed, it has more frames than any; the result file holds the line too."""
    done = restored(recorded(4096, 16, 16), load_restorer(), 1, sum=4096)
    assert any("N = 65536 hardware frames an image; the weights" in warning for warning in done.warnings)
    with read_result(done.result) as result:
        assert result.warnings == done.warnings


@settings(max_examples=12)
@given(st.integers(1, 19), st.integers(1, 19), st.sampled_from([1, 2, 4]))
def test_any_number_of_rows_and_columns(
    tmp_path_factory: pytest.TempPathFactory, restorer: Restorer, rows: int, columns: int, scale: int
) -> None:
    path = tmp_path_factory.mktemp("sizes") / "a.h5"
    with CaptureWriter(path, (rows, columns), "u1", Settings(1e-5, 4)) as writer:
        writer.append(np.ones((2, rows, columns), np.uint8))
    rate, sd = answer(restored(path, restorer, scale).result)
    assert rate.shape == sd.shape == (2, scale * rows, scale * columns)
    assert np.isfinite(rate).all()
    assert (sd > 0).all()


def test_blocks_give_what_the_whole_gives(recorded: Record, restorer: Restorer) -> None:
    """150 images of 16 x 16 are three blocks; one by one they are the same within what bfloat16 rounds."""
    path = recorded(150, 16, 16)
    rate, sd = answer(restored(path, restorer, 1).result)
    with open_capture(path) as capture:
        for index in (0, 63, 64, 127, 149):
            counts = torch.from_numpy(capture.read(index, index + 1).astype(np.int64))
            alone = restorer.answer(counts, ForwardModel(capture.sensor, capture.exposure), 1)[:2]
            for part, single in zip((rate, sd), alone, strict=True):
                np.testing.assert_allclose(part[index], single[0].numpy(), rtol=0.02, atol=0.02 * part[index].max())


def test_sums(recorded: Record, restorer: Restorer) -> None:
    path = recorded(10, 6, 7)
    done = restored(path, restorer, 2, sum=4, storage=EXACT)
    assert done.images == 2
    assert done.warnings[0] == "2 of 10 images fill no group of 4 scene images and are left out"
    with read_result(done.result) as result:
        assert result.settings.cycles == 64
    with open_capture(path) as capture:
        summed = torch.from_numpy(capture.read(0, 8).astype(np.int64)).reshape(2, 4, 6, 7).sum(dim=1)
        expected, *_ = restorer.answer(summed, ForwardModel(capture.sensor, Exposure(10.4e-6, 64)), 2)
    np.testing.assert_array_equal(answer(done.result)[0], expected.numpy())


def test_block_means_give_back_the_native_rates(recorded: Record) -> None:
    """Of the shipped weights, within four standard deviations of what photon noise does to the true rate, which fires a
    fifth of the frames (the binomial tail beyond them holds 0.2 %); and their mean is the true rate."""
    path = recorded(64, 16, 16)
    rate, _ = answer(restored(path, load_restorer(), 4).result)
    with open_capture(path) as capture:
        model = ForwardModel(capture.sensor, capture.exposure)
        native, _ = model.detection_rate(torch.from_numpy(capture.read(0, 64)))
    assert rate.mean() == pytest.approx(-np.log(0.8) / 10.4e-6, rel=0.03)
    blocks = rate.reshape(64, 16, 4, 16, 4).mean(axis=(2, 4))
    noise = np.sqrt(0.2 / 0.8 / 16) / 10.4e-6
    assert (abs(blocks - native.numpy()) < 4 * noise).mean() > 0.99


_LONG = """
import resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from hardware.captures.capture import open_capture
from spadsr.restoration.recordings import restore_capture
from spadsr.restoration.storage import Storage
from spadsr.restoration.weights import load_restorer
sizes = []
def report(done, total):
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    sizes.append((done, resident))
with open_capture(sys.argv[1]) as capture:
    done = restore_capture(capture, load_restorer(sys.argv[2]), 1, None, None, report)
early = next(size for at, size in sizes if at >= 4000)  # caches of HDF5 and the allocator are full by then
print(done.images, (sizes[-1][1] - early) / 2**20)
"""


_KILLED = """
import os, signal, sys
from hardware.captures.capture import open_capture
from spadsr.restoration.recordings import restore_capture
from spadsr.restoration.weights import load_restorer
def report(done, total):
    if done >= 128:
        os.kill(os.getpid(), signal.SIGKILL)
with open_capture(sys.argv[1]) as capture:
    restore_capture(capture, load_restorer(sys.argv[2]), 2, None, None, report)
"""


def test_memory_stays_flat_over_a_long_capture(recorded: Record, small_weights: Path) -> None:
    """8,000 images of 32 x 32; the answer of the second half takes 33 MB."""
    path = recorded(8_000, 32, 32)
    command = [sys.executable, "-c", _LONG, str(path), str(small_weights)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert said[0] == "8000"
    assert float(said[1]) < 16


def test_where_results_go(tmp_path: Path) -> None:
    capture = tmp_path / "a.b.tif"
    (tmp_path / "there.h5").mkdir()
    (tmp_path / "notes.txt").touch()
    assert result_path(capture, None) == tmp_path / "a.b.sr.h5"
    assert result_path(capture, tmp_path / "new" / "folder") == tmp_path / "new" / "folder" / "a.b.sr.h5"
    assert result_path(capture, tmp_path / "mine.h5") == tmp_path / "mine.h5"
    assert result_path(capture, tmp_path / "there.h5") == tmp_path / "there.h5" / "a.b.sr.h5"
    with pytest.raises(InputError, match=r"not a kind of file that is written; .* or give a folder"):
        result_path(capture, tmp_path / "notes.txt")


def test_two_captures_in_one_file_are_refused() -> None:
    distinct_results([Path("a/x.h5"), Path("b/x.h5")], None)
    for output in (Path("out"), Path("one.h5")):
        with pytest.raises(InputError, match=r"both a/x.h5 and b/x.h5 would go there"):
            distinct_results([Path("a/x.h5"), Path("b/x.h5")], output)


def test_a_capture_is_not_overwritten(recorded: Record, restorer: Restorer) -> None:
    path = recorded(2, 4, 4)
    before = path.read_bytes()
    with pytest.raises(InputError, match="is the capture itself"):
        restored(path, restorer, output=path.parent / "." / path.name)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("ending", [".tif", ".ome.tif", ".hdf5", ".mp4", ".gif"])
def test_files_of_every_image(recorded: Record, restorer: Restorer, tmp_path: Path, ending: str) -> None:
    """Block by block, and the same rates as in a result; only results have a sheet beside them."""
    path = recorded(300, 16, 16)
    done = restored(path, restorer, output=tmp_path / f"a{ending}", storage=EXACT)
    assert (done.result, done.images) == (tmp_path / f"a{ending}", 300)
    assert done.pictures == ((tmp_path / "a.png",) if ending == ".hdf5" else ())
    rate, sd = answer(restored(path, restorer, output=tmp_path / "b.h5", storage=EXACT).result)
    if ending == ".tif":
        np.testing.assert_array_equal(tifffile.imread(done.result), rate)
    if ending == ".ome.tif":
        np.testing.assert_array_equal(tifffile.imread(done.result), np.stack([rate, sd], axis=1))
    if ending == ".hdf5":
        np.testing.assert_array_equal(answer(done.result)[0], rate)
    if ending == ".mp4":
        assert cv2.VideoCapture(str(done.result)).get(cv2.CAP_PROP_FRAME_COUNT) == 300
    elif ending == ".gif":
        with Image.open(done.result) as film:
            assert film.n_frames == 300  # type: ignore[attr-defined]
    else:
        size = output_bytes(done.result, (300, 16, 16), 2, EXACT)
        assert 0.5 < size / done.result.stat().st_size < 1.1  # pieces of a result are not all full


def test_a_picture_restores_the_first_image_alone(recorded: Record, restorer: Restorer, tmp_path: Path) -> None:
    path = recorded(5, 16, 16)
    done = restored(path, restorer, 4, output=tmp_path / "a.png")
    assert (done.images, done.result, done.pictures) == (1, tmp_path / "a.png", (tmp_path / "a.png",))
    assert np.shape(cv2.imread(str(done.result), cv2.IMREAD_UNCHANGED)) == (64, 64)


@pytest.mark.parametrize("name", ["a.png", "a.sr.png", "a.h5"])
def test_a_picture_of_every_image(recorded: Record, restorer: Restorer, tmp_path: Path, name: str) -> None:
    path = recorded(11, 8, 8)
    with open_capture(path, first=1) as capture:
        done = restore_capture(capture, restorer, 2, None, tmp_path / name, silent, each=True)
    ending = name[1:].replace(".h5", ".png")
    assert done.pictures == tuple(tmp_path / f"a-{i}{ending}" for i in range(10))
    others = {tmp_path / name} if name == "a.h5" else set()
    assert set(tmp_path.iterdir()) == {path, *others, *done.pictures}
    [shape] = {np.shape(cv2.imread(str(picture), cv2.IMREAD_UNCHANGED)) for picture in done.pictures}
    assert (shape == (16, 16)) == (name == "a.png")


def stopping_after(blocks: int) -> Callable[[int, int], None]:
    """A progress report that asks to stop, as Ctrl-C does, once so many blocks are done."""
    calls = 0

    def report(done: int, total: int) -> None:
        nonlocal calls
        calls += done > 0
        if calls == blocks:
            signal.raise_signal(signal.SIGINT)

    return report


def test_what_is_done_is_kept_and_gone_on_from(recorded: Record, restorer: Restorer, tmp_path: Path) -> None:
    """A part is a result of its own; the same call completes it to what an undisturbed run writes."""
    path = recorded(150, 16, 16)
    part, result = path.with_name("capture.sr.part.h5"), path.with_name("capture.sr.h5")
    with open_capture(path) as capture, pytest.raises(Stopped, match="stopped after 128 of 150 images") as stop:
        restore_capture(capture, restorer, 2, None, None, stopping_after(2))
    assert stop.value.exit_code == 130
    assert sorted(each.name for each in tmp_path.iterdir()) == ["capture.h5", "capture.sr.part.h5"]
    whole = restored(path, restorer, output=tmp_path / "whole.h5")
    with read_result(part) as kept:
        assert len(kept) == 128
        assert "only the first 128 of 150 images: restoring was stopped" in kept.warnings
        np.testing.assert_array_equal(kept.read(0, 128).rate, answer(whole.result)[0][:128])
    with pytest.raises(InputError, match="part of another result, or one made with other options"):
        restored(path, restorer, 4)
    done = restored(path, restorer)
    assert (done.images, done.taken_over, done.warnings) == (150, 128, whole.warnings)
    for one, other in zip(answer(result), answer(whole.result), strict=True):
        np.testing.assert_array_equal(one, other)
    assert done.check == whole.check
    assert not part.exists()


def test_stopping_while_looking_through_what_is_done_loses_nothing(recorded: Record, restorer: Restorer) -> None:
    """An interrupted run is gone on from, stopped before the first new image, and gone on from again."""
    path = recorded(150, 16, 16)
    part = path.with_name("capture.sr.part.h5")
    with open_capture(path) as capture, pytest.raises(Stopped):
        restore_capture(capture, restorer, 2, None, None, stopping_after(2))
    before = part.read_bytes()
    with open_capture(path) as capture:
        read, asked = capture.source.read, iter([True])

        def reading(start: int, stop: int) -> Any:
            if next(asked, False):  # a second time would end the program at once
                signal.raise_signal(signal.SIGINT)
            return read(start, stop)

        held = replace(capture, source=replace(capture.source, read=reading))
        with pytest.raises(Stopped, match=r"capture\.sr\.h5: stopped before the first new image") as stop:
            restore_capture(held, restorer, 2, None, None, silent)
    assert any("goes on from there" in note for note in stop.value.__notes__)
    assert part.read_bytes() == before
    assert restored(path, restorer).taken_over == 128


def test_what_a_killed_run_wrote_is_gone_on_from(
    recorded: Record, restorer: Restorer, small_weights: Path, tmp_path: Path
) -> None:
    """Whatever it was about to write; in the same file, which says until the end that it is unfinished."""
    path = recorded(150, 16, 16)
    part, result = path.with_name("capture.sr.part.h5"), path.with_name("capture.sr.h5")
    whole = restored(path, restorer, output=tmp_path / "whole.h5")
    script = [sys.executable, "-c", _KILLED, str(path), str(small_weights)]
    assert subprocess.run(script, check=False).returncode == -signal.SIGKILL
    with h5py.File(part, "r+") as file:  # as if killed between two of its arrays
        file[f"{DETECTOR}/data"].resize(150, axis=0)
    with read_result(part) as kept:
        assert len(kept) == 128
        assert kept.warnings == ("restoring was not finished",)
    inode = part.stat().st_ino
    done = restored(path, restorer)
    assert (done.images, done.taken_over, done.warnings, done.check) == (150, 128, whole.warnings, whole.check)
    for one, other in zip(answer(result), answer(whole.result), strict=True):
        np.testing.assert_array_equal(one, other)
    assert result.stat().st_ino == inode
    assert not part.exists()


def test_a_part_of_other_counts_is_not_gone_on_from(recorded: Record, restorer: Restorer) -> None:
    path = recorded(80, 16, 16)
    with open_capture(path) as capture, pytest.raises(Stopped):
        restore_capture(capture, restorer, 2, None, None, stopping_after(1))
    with h5py.File(path, "r+") as file:
        file[f"{DETECTOR}/data"][63] = 0
    with pytest.raises(InputError, match="part of another result"):
        restored(path, restorer)


def test_a_stopped_stack_leaves_nothing(recorded: Record, restorer: Restorer, tmp_path: Path) -> None:
    path = recorded(150, 16, 16)
    with open_capture(path) as capture, pytest.raises(Stopped):
        restore_capture(capture, restorer, 2, None, tmp_path / "a.tif", stopping_after(1))
    assert list(tmp_path.iterdir()) == [path]


def test_a_region_of_a_calibrated_sensor(recorded: Record) -> None:
    """The maps of the region; a sensor of another array is refused all the same."""
    path = recorded(2, 16, 24)
    dark = torch.arange(16 * 24, dtype=torch.float32).reshape(16, 24)
    whole = Sensor("mine", torch.ones(16, 24), dark, 0.0, 1, pixel_mask=torch.eye(16, 24, dtype=torch.int32))
    with open_capture(path, roi=(slice(2, 10), slice(4, 8))) as capture:
        sensor, _ = sensor_of(capture, whole)
        assert torch.equal(sensor.dark_count_rate, dark[2:10, 4:8])
        assert torch.equal(sensor.good, whole.good[2:10, 4:8])
        other = replace(whole, pde=torch.ones(32, 32), dark_count_rate=torch.ones(32, 32), pixel_mask=None)
        with pytest.raises(InputError, match="a sensor of 32 x 32 pixels"):
            sensor_of(capture, other)


class Interrupted:
    """A progress report that raises when the second block is done."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.calls = error, 0

    def __call__(self, done: int, total: int) -> None:
        self.calls += 1
        if self.calls == 2:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory"), InputError("no")])
@pytest.mark.parametrize("existing", [False, True])
def test_an_interrupted_restoration_leaves_what_was_there(
    recorded: Record, restorer: Restorer, error: BaseException, existing: bool
) -> None:
    path = recorded(150, 16, 16)
    if existing:
        restored(path, restorer, 2)
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    with open_capture(path) as capture, pytest.raises(type(error)):
        restore_capture(capture, restorer, 1, None, None, Interrupted(error))
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


def test_an_impossible_count_late_in_a_capture_leaves_nothing(recorded: Record, restorer: Restorer) -> None:
    path = recorded(150, 16, 16)
    with h5py.File(path, "r+") as file:
        file[f"{DETECTOR}/data"][140, 3, 3] = 17
    with pytest.raises(InputError, match="image 140 holds the count 17"):
        restored(path, restorer)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("sum", [1, 4])
def test_counts_that_no_exposure_as_short_gives_are_refused(tmp_path: Path, restorer: Restorer, sum: int) -> None:
    path = tmp_path / "counts.npy"
    counts = np.random.default_rng(0).integers(0, 2, (8, 8, 8)).astype(np.uint8)
    counts[6, 3, 3] = 9
    np.save(path, counts)
    words = rf"image {6 // sum} holds \d+ counts, but {sum} hardware frames? of 2e-08 s, no longer than the dead"
    with (
        open_capture(path, count_time=20e-9, dead_time=50e-9, counter_bits=8, cycles=1) as capture,
        pytest.raises(InputError, match=words) as caught,
    ):
        restore_capture(capture.summed(sum), restorer, 1, None, None, silent)
    assert caught.value.arguments == ("count_time", "cycles", "sensor")
    assert list(tmp_path.iterdir()) == [path]


def calibrated(shape: tuple[int, int], bits: int = 1, mask: torch.Tensor | None = None) -> Sensor:
    dark = torch.full(shape, 100.0)
    return Sensor("mine", torch.full(shape, 0.3), dark, 0.0 if bits == 1 else 60e-9, bits, pixel_mask=mask)


@pytest.fixture
def capture(recorded: Record) -> Capture:
    return open_capture(recorded(2, 4, 6))


def test_without_a_sensor_it_is_the_header(capture: Capture) -> None:
    sensor, warnings = sensor_of(capture, None)
    assert (sensor.shape, sensor.binary, warnings) == ((4, 6), True, [])


def test_a_calibrated_sensor_keeps_its_maps_and_takes_the_settings_of_the_capture(recorded: Record) -> None:
    counting = open_capture(recorded(2, 4, 6, bits=8))
    sensor, warnings = sensor_of(counting, calibrated((4, 6), bits=9))
    assert (sensor.dead_time, sensor.counter_bits) == (50e-9, 8)
    assert set(sensor.dark_count_rate.flatten().tolist()) == {100.0}
    assert warnings == []


def test_masks_of_sensor_and_capture_add_up(capture: Capture) -> None:
    mask, other = torch.zeros(4, 6, dtype=torch.int32), np.zeros((4, 6), np.uint32)
    mask[0, 0], other[1, 1] = HOT, USER
    sensor, _ = sensor_of(replace(capture, pixel_mask=other), calibrated((4, 6), mask=mask))
    assert (~sensor.good).nonzero().tolist() == [[0, 0], [1, 1]]


def test_a_preset_serves_any_size_and_says_so(recorded: Record) -> None:
    sensor, warnings = sensor_of(open_capture(recorded(2, 4, 6, bits=8)), Sensor.load("spc3"))
    assert sensor.shape == (4, 6)
    assert "spc3 is a preset" in warnings[0]


@pytest.mark.parametrize(
    ("sensor", "words"),
    [
        (calibrated((6, 4)), "a sensor of 6 x 4 pixels, but capture.h5 has 4 x 6"),
        (calibrated((4, 6), bits=8), "a counting array, but capture.h5 was taken by a binary one"),
        (Sensor.load("spc3"), "a counting array"),
    ],
)
def test_a_sensor_that_did_not_take_it(capture: Capture, sensor: Sensor, words: str) -> None:
    with pytest.raises(InputError, match=words):
        sensor_of(capture, sensor)


def test_processed_counts_are_warned_of(capture: Capture) -> None:
    settings = replace(capture.settings, corrected=True, background_subtracted=True)
    _, warnings = sensor_of(replace(capture, settings=settings), None)
    assert ["dead time" in warnings[0], "background" in warnings[1]] == [True, True]
