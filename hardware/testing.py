"""Contract tests for cameras and file formats: those of this package, and your own.

A class of tests for a camera is `class TestMine(CameraContract)` with the fixtures `camera` and, where the camera wants
other settings, `settings`; one for a format is `class TestMine(FormatContract)` with the fixture `example`. They need
pytest (pip install pytest). docs/extend.md has a whole example.
"""

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hardware.camera import Block, Camera, CameraError
from hardware.captures.capture import open_capture
from hardware.formats.registry import HEAD_BYTES, formats
from hardware.settings import Settings
from noise_model.errors import InputError

#: s within which a camera has to end after `stop`.
STOP_TIME = 5.0


class CameraContract:
    """Tests of a camera that can hand over eight blocks of images and more."""

    @pytest.fixture
    def camera(self) -> Camera:
        """The camera, not opened, as `open_camera` gives it."""
        raise NotImplementedError("give your class of tests a fixture `camera` that returns the camera, not opened")

    @pytest.fixture
    def settings(self) -> Settings:
        """Settings that the camera can come near."""
        return Settings(count_time=1e-5, counter_bits=8)

    def test_blocks_are_what_they_say(self, camera: Camera, settings: Settings) -> None:
        with camera:
            applied = camera.configure(settings)
            before = time.monotonic()
            blocks = first_blocks(camera, 5)
        assert len(blocks) == 5, "the camera ended before its fifth block"
        types = {block.counts.dtype for block in blocks}
        assert types <= {np.dtype(kind) for kind in ("u1", "u2", "u4")}, f"counts of type {types}"
        assert len(types) == 1, "counts are of one type throughout a run"
        for block in blocks:
            assert block.counts.ndim == 3, "counts are (images, rows, columns)"
            assert len(block.counts) > 0, "a block holds at least one image"
            assert block.counts.shape[1:] == camera.shape, "images have the shape of the camera"
            assert block.counts.max() <= applied.saturation_value, "a count is above the largest that settings allow"
            saturated = np.mean(block.counts == applied.saturation_value)
            assert block.saturated == pytest.approx(saturated, abs=1e-12), "the share of saturated counts is another"
            assert applied.frame_time in (None, block.period), "the period is not the frame time of the settings"
            assert before <= block.host_time <= time.monotonic(), "host_time is time.monotonic() at arrival"

    def test_indices_follow_each_other_but_for_the_lost(self, camera: Camera, settings: Settings) -> None:
        with camera:
            camera.configure(settings)
            blocks = first_blocks(camera, 8)
        assert blocks[0].first == blocks[0].lost, "images are counted from 0, the lost ones included"
        for before, after in itertools.pairwise(blocks):
            assert after.first == before.stop + after.lost, "an index is skipped that is not among the lost"
            assert after.host_time >= before.host_time, "host_time goes back"

    def test_settings_applied_can_be_applied(self, camera: Camera, settings: Settings) -> None:
        with camera:
            applied = camera.configure(settings)
            assert camera.configure(applied) == applied, "what was applied is changed when it is asked for"

    def test_choices_can_be_applied(self, camera: Camera, settings: Settings) -> None:
        known = {field.name for field in fields(Settings)}
        with camera:
            applied = camera.configure(settings)
            for name, choice in camera.choices().items():
                assert name in known, f"{name} is no setting"
                assert choice.low <= choice.high, f"{name}: the smallest value is above the largest"
                assert not choice.values or (choice.low, choice.high) == (min(choice.values), max(choice.values))
                now = getattr(applied, name)
                assert now is None or choice.low <= now <= choice.high, f"{name} {now} is applied, and not offered"

    def test_the_receiver_owns_the_counts(self, camera: Camera, settings: Settings) -> None:
        with camera:
            camera.configure(settings)
            first, second = itertools.islice(camera.blocks(), 2)
            kept = first.counts.copy()
            second.counts[:] = 0
            assert (first.counts == kept).all(), "two blocks share their memory"
            camera.stop()

    def test_it_starts_again_from_zero(self, camera: Camera, settings: Settings) -> None:
        with camera:
            camera.configure(settings)
            first_blocks(camera, 3)
            (block,) = first_blocks(camera, 1)
            assert block.first == block.lost, "a second run begins with index 0 again"

    def test_stop_from_another_thread(self, camera: Camera, settings: Settings) -> None:
        with camera:
            camera.configure(settings)
            timer = threading.Timer(0.1, camera.stop)
            timer.start()
            began = time.monotonic()
            for _ in camera.blocks():
                pass
            assert time.monotonic() - began < STOP_TIME, f"blocks did not end within {STOP_TIME:g} s"
            timer.join()
            camera.stop()
            camera.stop()

    def test_it_can_be_entered_again(self, camera: Camera, settings: Settings) -> None:
        for _ in range(2):
            with camera:
                camera.configure(settings)
                first_blocks(camera, 1)
        camera.__exit__(None, None, None)

    def test_it_is_released_after_a_failure(self, camera: Camera, settings: Settings) -> None:
        with pytest.raises(ZeroDivisionError):
            _fail_within(camera, settings)
        with camera:
            camera.configure(settings)
            assert len(first_blocks(camera, 1)) == 1, "no block after a run that failed"

    def test_blocks_need_settings(self, camera: Camera) -> None:
        with pytest.raises(CameraError, match=f"(?i){camera.name}"):
            next(iter(camera.blocks()))

    def test_identity_is_text(self, camera: Camera, settings: Settings) -> None:
        with camera:
            camera.configure(settings)
            known = camera.identity()
        assert all(isinstance(text, str) for pair in known.items() for text in pair), "identity holds more than text"


@dataclass(frozen=True)
class Example:
    """A file of a format, and what is in it.

    Attributes:
        path: the file, of 4 images or more.
        counts: (T, H, W).
        settings: how they were taken, if the file says.
    """

    path: Path
    counts: NDArray[np.integer]
    settings: Settings | None = None


class FormatContract:
    """Tests of a file format."""

    @pytest.fixture
    def example(self, tmp_path: Path) -> Example:
        """A file that was written for the tests."""
        raise NotImplementedError("give your class of tests a fixture `example` that writes a file")

    def test_counts_are_those_in_the_file(self, example: Example) -> None:
        with open_capture(example.path) as capture:
            assert capture.shape == example.counts.shape, "the file has another shape"
            read = np.concatenate(list(capture.blocks()))
        np.testing.assert_array_equal(read, example.counts)

    def test_any_range_can_be_read(self, example: Example) -> None:
        with open_capture(example.path) as capture:
            images = len(example.counts)
            for start, stop in ((images - 1, images), (1, 3), (0, images)):
                np.testing.assert_array_equal(capture.read(start, stop), example.counts[start:stop])

    def test_settings_are_those_in_the_file(self, example: Example) -> None:
        with open_capture(example.path) as capture:
            assert example.settings in (None, capture.settings), "the settings are others"
            assert example.settings is None or not capture.assumed, f"assumed though the file says: {capture.assumed}"

    def test_a_file_cut_off_is_refused_or_shorter(self, example: Example) -> None:
        whole = example.path.read_bytes()
        for share in (0.01, 0.3, 0.6, 0.99):
            example.path.write_bytes(whole[: max(1, int(share * len(whole)))])
            for block in _readable(example.path):
                assert block.shape != example.counts.shape, "a file that was cut off has all its images"

    def test_damage_is_refused_or_gives_possible_counts(self, example: Example) -> None:
        whole, random = example.path.read_bytes(), np.random.default_rng(0)
        for _ in range(50):
            damaged = bytearray(whole)
            place = int(random.integers(min(len(whole), HEAD_BYTES)))
            damaged[place] ^= 1 << int(random.integers(8))
            example.path.write_bytes(damaged)
            list(_readable(example.path))

    def test_files_of_other_formats_are_left_alone(self, example: Example, tmp_path: Path) -> None:
        with open_capture(example.path) as capture:
            own = next(each for each in formats() if capture.format == each.NAME)
        mine = example.path.read_bytes()[:4]
        for name, head in (("a.npy", b"\x93NUMPY"), ("a.tif", b"II*\0"), ("a.txt", b"0 1 2\n"), ("a.doc", b"photons")):
            (tmp_path / name).write_bytes(head)
            assert head[:4] == mine or not own.recognises(tmp_path / name, head), f"takes {head!r} for its own"


def first_blocks(camera: Camera, blocks: int) -> list[Block]:
    """The first blocks of a run, stopped after them."""
    taken = []
    for block in camera.blocks():
        taken.append(block)
        if len(taken) >= blocks:
            camera.stop()
            break
    return taken


def _fail_within(camera: Camera, settings: Settings) -> None:
    with camera:
        camera.configure(settings)
        next(iter(camera.blocks()))
        raise ZeroDivisionError


def _readable(path: Path) -> Iterator[NDArray[np.integer]]:
    """All counts of a damaged file in one block, or nothing where it is refused in one line."""
    try:
        with open_capture(path) as capture:
            yield np.concatenate(list(capture.blocks()))
    except InputError as error:
        lines = str(error).splitlines()
        if len(lines) != 1:
            pytest.fail(f"an error of {len(lines)} lines")
