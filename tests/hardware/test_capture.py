"""Reading captures: what comes out is what went in, in any block size, with every assumption stated."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardware.captures.capture import Capture, open_capture
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.sensor import Exposure

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 9), st.integers(1, 9))
STACKS = st.sampled_from([np.uint8, np.uint16, np.uint32]).flatmap(
    lambda dtype: hnp.arrays(dtype, SHAPES, elements=st.integers(0, 200))
)
NAMES = ["a.h5", "a.tif", "zlib.tif", "a.npy"]


def whole(capture: Capture, size: int | None = None) -> np.ndarray[Any, Any]:
    return np.concatenate(list(capture.blocks(size)))


@pytest.mark.parametrize("name", NAMES)
@given(counts=STACKS, size=st.integers(1, 15))
def test_every_format_gives_back_the_counts_in_blocks_of_any_size(
    save: Any, name: str, counts: np.ndarray[Any, Any], size: int
) -> None:
    how = {"compression": "zlib"} if name.startswith("zlib") else {}
    with open_capture(save(name, counts, **how)) as capture:
        assert capture.shape == counts.shape
        assert capture.dtype == counts.dtype
        np.testing.assert_array_equal(whole(capture, size), counts)


@given(counts=STACKS, cycles=st.integers(1, 5), size=st.integers(1, 5))
def test_sums_of_consecutive_images_are_exact_and_say_what_they_leave_out(
    save: Any, counts: np.ndarray[Any, Any], cycles: int, size: int
) -> None:
    groups = len(counts) // cycles
    with open_capture(save("a.h5", counts)) as capture:
        if not groups:
            with pytest.raises(InputError, match="no group"):
                capture.summed(cycles)
            return
        summed = capture.summed(cycles)
        expected = counts[: groups * cycles].reshape(groups, cycles, *counts.shape[1:]).sum(axis=1)
        np.testing.assert_array_equal(whole(summed, size), expected)
        assert summed.exposure == Exposure(10.4e-6, 4 * cycles)
        assert summed.settings.saturation_value == capture.settings.saturation_value * cycles
        assert bool(summed.assumptions) == (len(counts) % cycles > 0)


def test_sums_larger_than_a_block_are_read_in_slabs(save: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.arange(60, dtype=np.uint8).reshape(60, 1, 1)
    monkeypatch.setattr("hardware.captures.capture.BLOCK_BYTES", 7)
    with open_capture(save("a.h5", counts)) as capture:
        np.testing.assert_array_equal(whole(capture.summed(20)).ravel(), counts.reshape(3, 20).sum(axis=1))


def test_only_scene_images_are_summed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with CaptureWriter(path, (1, 1), "u1", Settings(1e-5, counter_bits=8)) as writer:
        for key, first, after in ((0, 0, 4), (2, 4, 7), (0, 7, 12)):
            block = np.full((after - first, 1, 1), 1 + key, np.uint8)
            writer.append(block, image_key=key, sequence_number=np.arange(first, after))
    with open_capture(path) as capture:
        np.testing.assert_array_equal(whole(capture.summed(1)).ravel(), np.ones(9))
        summed = capture.summed(2)
        np.testing.assert_array_equal(whole(summed).ravel(), [2, 2, 2, 2])
        assert "4 of 12 images" in summed.assumptions[-1]


def test_a_single_image_may_be_two_dimensional(save: Any) -> None:
    with open_capture(save("a.npy", np.eye(3, 5, dtype=np.uint16))) as capture:
        assert capture.shape == (1, 3, 5)
        np.testing.assert_array_equal(whole(capture)[0], np.eye(3, 5))


def test_truth_values_are_binary_frames(save: Any) -> None:
    frames = np.random.default_rng(0).random((5, 4, 3)) < 0.3
    for name in ("a.npy", "a.tif"):
        with open_capture(save(name, frames)) as capture:
            assert (capture.settings.counter_bits, capture.exposure.cycles, capture.dtype) == (1, 1, np.dtype(np.uint8))
            np.testing.assert_array_equal(whole(capture), frames)


@pytest.mark.parametrize("order", ["<", ">"])
def test_byte_order_does_not_matter(save: Any, order: str) -> None:
    counts = np.arange(24).reshape(2, 3, 4).astype(f"{order}u2")
    for path in (save("a.npy", counts), save("a.tif", counts.astype("u2"), byteorder=order)):
        with open_capture(path) as capture:
            assert capture.dtype == np.uint16
            np.testing.assert_array_equal(whole(capture), counts)


def test_imagej_and_ome_stacks_are_read_page_by_page(save: Any) -> None:
    counts = np.random.default_rng(0).integers(0, 9, (7, 6, 5)).astype(np.uint16)
    flavours: list[dict[str, Any]] = [{"imagej": True}, {"ome": True}, {"bigtiff": True}, {"metadata": {}}]
    for how in flavours:
        with open_capture(save("a.tif", counts, **how)) as capture:
            np.testing.assert_array_equal(whole(capture, 2), counts)


def test_a_closed_capture_says_so(tmp_path: Path) -> None:
    with CaptureWriter(tmp_path / "a.h5", (2, 2), "u1", Settings(1e-5, 16)) as writer:
        writer.append(np.ones((4, 2, 2), np.uint8), sequence_number=np.arange(4))
    capture = open_capture(tmp_path / "a.h5")
    sums = capture.summed(2)
    capture.close()
    for read in (capture.read, capture.sequence_number, sums.read):
        with pytest.raises(InputError, match=r"a\.h5: was closed; open it again to read more of it"):
            read(0, 1)


@pytest.mark.parametrize("name", ["a.npy", "a.h5"])
def test_memory_does_not_depend_on_the_number_of_images(tmp_path: Path, name: str) -> None:
    """100,000 images of 64 x 32, 205 MB, read whole and summed."""
    block = np.random.default_rng(0).integers(0, 3, (1000, 64, 32)).astype(np.uint8)
    path = tmp_path / name
    _write_long(path, block, 100)
    tracemalloc.start()
    with open_capture(path, cycles=4 if name == "a.npy" else None) as capture:
        images = sum(len(part) for part in capture.blocks())
        totals = sum(int(part.sum()) for part in capture.summed(50_000).blocks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert images == 100_000
    assert totals == 100 * int(block.sum())
    assert peak < 80e6


def _write_long(path: Path, block: np.ndarray[Any, Any], times: int) -> None:
    if path.suffix == ".h5":
        with CaptureWriter(path, (64, 32), "u1", Settings(1e-5, 4)) as writer:
            for _ in range(times):
                writer.append(block)
        return
    mapped = np.lib.format.open_memmap(path, "w+", block.dtype, (times * len(block), 64, 32))
    mapped.reshape(times, *block.shape)[:] = block


@pytest.mark.parametrize(("peak", "cycles"), [(0, 1), (1, 1), (2, 2), (3, 4), (16, 16), (17, 32), (255, 256)])
def test_counts_without_a_header_are_a_binary_array_of_the_smallest_power_of_two(
    save: Any, peak: int, cycles: int
) -> None:
    counts = np.zeros((3, 4, 4), np.uint8)
    counts[1, 2, 3] = peak
    with open_capture(save("a.npy", counts)) as capture:
        assert capture.settings == Settings(10.4e-6, cycles, counter_bits=1, dead_time=0)
        assert (capture.exposure, capture.settings.saturation_value) == (Exposure(10.4e-6, cycles), cycles)
        assert len(capture.assumptions) == 3
        assert any("10.4 us" in sentence for sentence in capture.assumptions)


def test_what_the_user_says_is_not_assumed(save: Any) -> None:
    path = save("a.npy", np.full((2, 2, 2), 200, np.uint8))
    options: dict[str, Any] = {"count_time": 1e-6, "cycles": 2, "dead_time": 30e-9, "counter_bits": 8}
    with open_capture(path, **options) as capture:
        assert capture.settings == Settings(1e-6, 2, 8, 30e-9)
        assert capture.settings.saturation_value == 510
        assert capture.assumptions == ()


def test_a_dead_time_means_a_counting_array(save: Any) -> None:
    with open_capture(save("a.npy", np.full((2, 2, 2), 300, np.uint16)), dead_time=50e-9) as capture:
        assert (capture.settings.counter_bits, capture.exposure.cycles) == (9, 1)


def test_cycles_of_a_given_counter_follow_from_the_peak(save: Any) -> None:
    with open_capture(save("a.npy", np.full((2, 2, 2), 300, np.uint16)), counter_bits=8) as capture:
        assert (capture.exposure.cycles, capture.settings.dead_time) == (2, 50e-9)


def test_options_may_repeat_the_file_but_not_contradict_it(save: Any) -> None:
    path = save("a.h5", np.ones((2, 2, 2), np.uint8))
    open_capture(path, cycles=4, count_time=10.4e-6).close()
    with pytest.raises(InputError, match=r"the file says cycles = 4, not 5; leave it to the file") as refused:
        open_capture(path, cycles=5)
    assert refused.value.arguments == ("cycles",)


def test_the_header_describes_an_ideal_sensor(save: Any) -> None:
    mask = np.zeros((3, 5), np.uint32)
    mask[1, 2], mask[0, 0] = 8, 1 << 31
    with open_capture(save("a.h5", np.ones((1, 3, 5), np.uint8), pixel_mask=mask)) as capture:
        sensor = capture.sensor
        assert (sensor.shape, sensor.dead_time, sensor.counter_bits) == ((3, 5), 50e-9, 9)
        assert float(sensor.mean_pde) == 1
        assert (~sensor.good).nonzero().tolist() == [[0, 0], [1, 2]]
        assert sensor.saturation_value(4) == capture.settings.saturation_value


def test_a_capture_shows_itself_in_a_line(save: Callable[..., Path]) -> None:
    with open_capture(save("shown.h5", np.zeros((3, 4, 6), np.uint16))) as capture:
        assert repr(capture) == (
            "<Capture shown.h5: 3 images of 4 x 6 pixels, Exposure(count_time=1.04e-05, cycles=4)>"
        )


@pytest.mark.parametrize("bits", [4, 8, 10, 12])
@pytest.mark.parametrize("name", ["a.npy", "a.tif"])
def test_sums_with_saturated_pixels_are_of_as_many_frames_as_those_count(save: Any, bits: int, name: str) -> None:
    """Cameras sum 2^b - 1 binary frames: of one frame more, no pixel would be full, and nobody told of saturation."""
    frames, rng = (1 << bits) - 1, np.random.default_rng(0)
    chances = np.full((2, 16, 16), 0.02)
    chances[:, 5:9, 5:9] = 1.0
    dtype = np.uint8 if bits <= 8 else np.uint16
    with open_capture(save(name, rng.binomial(frames, chances).astype(dtype))) as capture:
        assert capture.exposure.cycles == frames
        assert (next(capture.blocks()) == capture.settings.saturation_value).any()
    hot = rng.binomial(frames, 0.02, (2, 16, 16)).astype(np.uint16)
    hot[:, 3, 3] = frames, frames - 1
    with open_capture(save(name, hot)) as capture:
        assert capture.exposure.cycles == frames + 1


def test_a_part_is_what_the_whole_holds_there(tmp_path: Path) -> None:
    """Images from first to last, a region of each, with their mask, keys and sequence numbers; sums are of those."""
    path, counts = tmp_path / "a.h5", np.random.default_rng(0).integers(0, 9, (20, 6, 8)).astype(np.uint8)
    mask, keys = np.arange(48, dtype=np.uint32).reshape(6, 8), np.repeat([0, 2], 10).astype(np.uint8)
    with CaptureWriter(path, (6, 8), "u1", Settings(1e-6, counter_bits=4), pixel_mask=mask) as writer:
        writer.append(counts, sequence_number=np.arange(20) * 2, image_key=keys)
    with open_capture(path, first=3, last=12, roi=(slice(1, 5), slice(None, 3))) as part:
        assert part.shape == (10, 4, 3)
        np.testing.assert_array_equal(part.read(0, 10), counts[3:13, 1:5, :3])
        np.testing.assert_array_equal(whole(part, 4), counts[3:13, 1:5, :3])
        np.testing.assert_array_equal(part.pixel_mask, mask[1:5, :3])  # type: ignore[arg-type]
        np.testing.assert_array_equal(part.image_key, keys[3:13])  # type: ignore[arg-type]
        np.testing.assert_array_equal(part.sequence_number(0, 10), np.arange(3, 13) * 2)  # type: ignore[arg-type]
        assert part.lost == 9
        np.testing.assert_array_equal(part.summed(3).read(1, 2)[0], counts[6:9, 1:5, :3].sum(axis=0))


def test_what_is_assumed_does_not_depend_on_the_part(tmp_path: Path) -> None:
    counts = np.zeros((4, 4, 4), np.uint8)
    counts[3, 3, 3] = 100
    np.save(tmp_path / "a.npy", counts)
    with open_capture(tmp_path / "a.npy") as all_of_it, open_capture(tmp_path / "a.npy", last=1) as part:
        assert part.settings == all_of_it.settings


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"first": 4}, "images 4 to 3 of 0 to 3"),
        ({"last": 4}, "images 0 to 4 of 0 to 3"),
        ({"first": -1}, "images -1 to 3"),
        ({"first": 2, "last": 1}, "images 2 to 1"),
        ({"roi": (slice(0, 5), slice(None))}, "rows 0:5 and columns 0:4 of 4 x 4"),
        ({"roi": (slice(2, 2), slice(None))}, "rows 2:2"),
    ],
)
def test_parts_that_are_not_there(tmp_path: Path, part: dict[str, Any], words: str) -> None:
    np.save(tmp_path / "a.npy", np.ones((4, 4, 4), np.uint8))
    with pytest.raises(InputError, match=words):
        open_capture(tmp_path / "a.npy", **part)


@pytest.mark.parametrize("roi", ["0:3,1:2", (slice(0, 4),), (slice(0, 4, 2), slice(0, 4)), (slice(0.0, 4.0), slice(4))])
def test_what_is_no_region_is_refused(roi: Any, tmp_path: Path) -> None:
    """And is not taken for damage of the file, nor its step left out without a word."""
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8), np.uint8))
    with pytest.raises(InputError, match="expected two slices without steps"):
        open_capture(tmp_path / "a.npy", roi=roi)
