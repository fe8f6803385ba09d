"""The sums of a recording against the same sums written out with numpy, however the recording is cut into blocks."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise_model.calibration.streams import LAGS, NEAR, SEGMENTS, Stream, StreamStatistics, far_offsets, gather, pair
from noise_model.errors import InputError
from noise_model.sensor import Exposure


def recording(counts: np.ndarray, cuts: list[int] | None = None, cycles: int = 1, bits: int = 1) -> Stream:
    """The counts (T, H, W) as a stream whose blocks end at `cuts`."""
    return Stream(
        "flat.h5", counts.shape, Exposure(1e-5, cycles), None, bits, lambda: iter(np.split(counts, cuts or []))
    )


def drawn(size: tuple[int, int, int], largest: int, dtype: type = np.uint16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, largest, size, dtype=dtype, endpoint=True)


def check_sums(statistics: StreamStatistics, counts: np.ndarray) -> None:
    k = counts.astype(np.int64)
    assert statistics.images == len(k)
    assert np.array_equal(statistics.total, k.sum(axis=0))
    assert np.array_equal(statistics.square, (k * k).sum(axis=0))
    for m, lag in enumerate(LAGS):
        early, late = k[: max(0, len(k) - lag)], k[lag:]
        assert np.array_equal(statistics.lagged[m], (early * late).sum(axis=0))
        assert np.array_equal(statistics.leading[m], early.sum(axis=0))
        assert np.array_equal(statistics.trailing[m], late.sum(axis=0))
    for offset, products in statistics.beside.items():
        (rows, columns), (other_rows, other_columns) = pair(offset, k.shape[1:])
        expected = np.zeros(k.shape[1:], dtype=np.int64)
        expected[rows, columns] = (k[:, rows, columns] * k[:, other_rows, other_columns]).sum(axis=0)
        assert np.array_equal(products, expected)


@given(st.integers(1, 700), st.lists(st.integers(0, 700), max_size=6).map(sorted))
@settings(max_examples=25)
def test_sums_do_not_depend_on_the_blocks(images: int, cuts: list[int]) -> None:
    counts = drawn((images, 9, 7), 500)
    inside = [cut for cut in dict.fromkeys(cuts) if 0 < cut < images]
    check_sums(gather(recording(counts, inside, bits=9)), counts)


@pytest.mark.parametrize("largest", [1, 255, 511, 70_000, 3_000_000])
def test_sums_of_long_recordings_are_exact(largest: int) -> None:
    """More images than are held at once, of counts of 1, 2 and 4 bytes, at both ends of their range."""
    counts = drawn((2500, 6, 16), largest, np.uint32)
    counts[:, 0, 0], counts[:, 5, 15] = largest, 0
    statistics = gather(recording(counts, [1000, 1001], cycles=largest))
    check_sums(statistics, counts)
    assert statistics.saturated[0, 0] == 2500
    assert np.array_equal(statistics.saturated, (counts == largest).sum(axis=0))


def test_moments() -> None:
    counts = drawn((1000, 12, 9), 40)
    statistics = gather(recording(counts, bits=9))
    k = counts.astype(float)
    assert np.allclose(statistics.mean, k.mean(axis=0))
    assert np.allclose(statistics.variance, k.var(axis=0, ddof=1))
    for m, lag in enumerate(LAGS):
        early, late = k[:-lag], k[lag:]
        expected = ((early - early.mean(axis=0)) * (late - late.mean(axis=0))).mean(axis=0)
        assert np.allclose(statistics.lag_covariance[m], expected)
    offset = (2, -1)
    (rows, columns), (other_rows, other_columns) = pair(offset, (12, 9))
    a, b = k[:, rows, columns], k[:, other_rows, other_columns]
    expected = ((a - a.mean(axis=0)) * (b - b.mean(axis=0))).sum(axis=0) / 999
    covariance = statistics.covariance(offset)
    assert np.allclose(covariance[rows, columns], expected)
    assert np.isnan(covariance[-2:]).all()
    assert np.isnan(covariance[:, :1]).all()


def test_a_short_recording_knows_no_long_lags() -> None:
    statistics = gather(recording(drawn((5, 8, 8), 1)))
    assert np.isfinite(statistics.lag_covariance[:4]).all()
    assert np.isnan(statistics.lag_covariance[LAGS.index(6) :]).all()
    assert np.isnan(gather(recording(drawn((1, 8, 8), 1))).variance).all()


def test_offsets_see_every_pair_of_the_surroundings_once() -> None:
    both = {*NEAR, *((-row, -column) for row, column in NEAR)}
    assert len(NEAR) == 12
    assert both == {(row, column) for row in range(-2, 3) for column in range(-2, 3)} - {(0, 0)}


@pytest.mark.parametrize("shape", [(64, 32), (512, 512), (10, 10), (1, 40)])
def test_far_pairs_are_out_of_reach_of_crosstalk(shape: tuple[int, int]) -> None:
    for offset in far_offsets(shape):
        assert max(map(abs, offset)) > 3
        assert np.zeros(shape)[pair(offset, shape)[0]].size


@pytest.mark.parametrize("images", [7, 100, 1234])
def test_segments_share_out_the_images(images: int) -> None:
    counts = drawn((images, 4, 4), 1)
    statistics = gather(recording(counts, [3, 5]))
    sizes = statistics.segment_images
    assert len(sizes) == min(images, SEGMENTS)
    assert sizes.sum() == images
    assert sizes.max() - sizes.min() <= 1
    parts = np.split(counts, np.cumsum(sizes)[:-1])
    assert np.array_equal(statistics.segment_counts, [part.sum() for part in parts])


def test_progress_is_told_after_every_block() -> None:
    told = []
    gather(recording(drawn((90, 4, 4), 1), [30, 60]), lambda done, of: told.append((done, of)))
    assert told == [(30, 90), (60, 90), (90, 90)]


def test_derived_times() -> None:
    statistics = gather(recording(drawn((50, 4, 4), 20), cycles=20))
    assert statistics.frames == 1000
    assert statistics.live_time == pytest.approx(0.01)


def test_memory_does_not_depend_on_the_length() -> None:
    """Beside the block in hand: 64x32 pixels, 20,000 images of which would be 41 MB as bytes and 328 MB as int64."""
    block = drawn((500, 64, 32), 1, np.uint8)

    def blocks() -> Iterator[np.ndarray]:
        return (block for _ in range(40))

    stream = Stream("long.h5", (20_000, 64, 32), Exposure(1e-5), 0.0, 1, blocks)
    gather(Stream("warm-up.h5", (1000, 64, 32), Exposure(1e-5), 0.0, 1, lambda: iter([block, block])))
    tracemalloc.start()
    try:
        gather(stream)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12e6


def test_counts_above_the_largest_are_refused() -> None:
    with pytest.raises(InputError, match=r"flat\.h5: holds the count 9, above the largest possible, 7"):
        gather(recording(np.full((3, 4, 4), 9, dtype=np.uint8), bits=3))


def test_sums_that_could_overflow_are_refused() -> None:
    stream = Stream("sums.h5", (10, 4, 4), Exposure(1e-5, 1 << 25), 50e-9, 9, lambda: iter([]))
    with pytest.raises(InputError, match="63 bits; sum fewer frames"):
        gather(stream)
