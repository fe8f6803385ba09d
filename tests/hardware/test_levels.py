"""Counts come back out of frames that were stretched, shifted or averaged, and real counts are left alone."""

from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray

from hardware.captures.capture import open_capture
from hardware.parsing.levels import counts_of_levels
from hardware.parsing.source import Source
from hardware.settings import NOTHING_KNOWN, PartialSettings, Settings
from noise_model.errors import InputError
from noise_model.sensor import Exposure

SEEDS = st.integers(0, 2**32 - 1)


def as_source(images: NDArray[Any], pixel_mask: Any = None) -> Source:
    shape = (len(images), *images.shape[1:])
    return Source(shape, images.dtype, lambda start, stop: images[start:stop], lambda: None, pixel_mask=pixel_mask)


def read(images: NDArray[Any], known: PartialSettings = NOTHING_KNOWN, pixel_mask: Any = None) -> tuple[Source, Any]:
    """What is made of images, and what is then read."""
    source = counts_of_levels(Path("a"), as_source(images, pixel_mask), known)
    return source, source.read(0, len(images))


def scene(rng: np.random.Generator, frames: int, images: int = 5, mean: float = 0.3) -> NDArray[np.int64]:
    """Sums of binary frames of a bright and a dark half, (images, 16, 12)."""
    seen = np.full((16, 12), mean)
    seen[:, 6:] /= 8
    return rng.binomial(frames, seen, (images, 16, 12))


@given(frames=st.integers(2, 120), white=st.sampled_from([255, 256]), down=st.booleans(), seed=SEEDS)
def test_averages_of_frames_in_eight_bits(frames: int, white: int, down: bool, seed: int) -> None:
    counts = scene(np.random.default_rng(seed), frames)
    exact = counts * white / frames
    levels = np.minimum(np.floor(exact) if down else np.floor(exact + 0.5), 255).astype(np.uint8)
    for known in (NOTHING_KNOWN, PartialSettings(cycles=frames), PartialSettings(cycles=frames, counter_bits=1)):
        if known.cycles and levels.max() <= known.cycles:
            continue
        source, back = read(levels, known)
        np.testing.assert_array_equal(back, counts)
        assert f"counts 0 to {counts.max()} recovered" in source.remarks[0]


def test_an_average_says_of_how_many_frames(save: Any) -> None:
    counts = scene(np.random.default_rng(0), 16)
    for name, options in (("a.npy", {}), ("a.tif", {"cycles": 16}), ("b.npy", {"cycles": 16, "counter_bits": 1})):
        with open_capture(save(name, (counts * 16).clip(0, 255).astype(np.uint8)), **options) as capture:
            assert (capture.exposure.cycles, capture.settings.counter_bits, capture.dtype) == (16, 1, np.uint8)
            np.testing.assert_array_equal(next(capture.blocks()), counts)


@given(shift=st.integers(2, 8), seed=SEEDS)
def test_counts_of_few_bits_at_the_upper_end_of_sixteen(shift: int, seed: int) -> None:
    counts = scene(np.random.default_rng(seed), (1 << 16 - shift) - 1)
    source, back = read((counts << shift).astype(np.uint16))
    np.testing.assert_array_equal(back, counts)
    assert source.usual == NOTHING_KNOWN


@given(step=st.integers(2, 40), seed=SEEDS)
def test_shifted_counts_of_frames_that_are_told(step: int, seed: int) -> None:
    counts = scene(np.random.default_rng(seed), 16)
    for known in (PartialSettings(cycles=16), PartialSettings(cycles=16, counter_bits=1)):
        np.testing.assert_array_equal(read((counts * step).astype(np.uint16), known)[1], counts)


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "folder", "a.h5"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_two_levels_are_binary_frames(save: Any, tmp_path: Path, name: str, dtype: Any) -> None:
    frames = scene(np.random.default_rng(1), 1)
    levels = (frames * np.iinfo(dtype).max).astype(dtype)
    if name == "folder":
        path = tmp_path
        for number, image in enumerate(levels):
            cv2.imwrite(str(path / f"{number}.png"), image)
    elif name == "a.h5":
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            file["entry/instrument/detector/data"] = levels
    else:
        path = save(name, levels)
    for options in ({}, {"counter_bits": 1, "cycles": 1}):
        with open_capture(path, **options) as capture:
            assert (capture.settings.counter_bits, capture.exposure.cycles) == (1, 1)
            np.testing.assert_array_equal(next(capture.blocks()), frames)
            assert "read as binary frames" in capture.assumptions[0]


def test_a_single_binary_frame(save: Any) -> None:
    frame = np.eye(8, dtype=np.uint8)
    with open_capture(save("a.tif", 255 * frame)) as capture:
        assert (capture.settings.counter_bits, capture.exposure.cycles) == (1, 1)
        np.testing.assert_array_equal(next(capture.blocks())[0], frame)


@pytest.mark.parametrize("frames", [2, 5, 40])
def test_beside_a_tooth_counts_are_at_least_half_as_likely_as_on_it(frames: int) -> None:
    """The law that the rule rests on, for every mixture of binomial distributions, as it holds for each of them."""
    k = np.arange(frames + 1)
    for chance in np.linspace(0.001, 0.999, 97):
        likely = scipy.stats.binom.pmf(k, frames, chance)
        for step in (2, 3, 7, 16):
            inner = list(range(step, frames, step))
            beside = sorted({each + off for each in inner for off in (-1, 1)})
            assert likely[inner].sum() <= 2 * likely[beside].sum() * (1 + 1e-9)


@given(
    frames=st.sampled_from([1, 2, 3, 16, 255, 4096]),
    mean=st.sampled_from([1e-4, 1e-3, 0.01, 0.1, 0.5, 0.97]),
    images=st.sampled_from([1, 2, 20, 100]),
    hot=st.integers(0, 6),
    seed=SEEDS,
)
@examples(max_examples=200)
def test_real_counts_are_left_alone(frames: int, mean: float, images: int, hot: int, seed: int) -> None:
    """Dim and sparse ones, saturated ones, of few levels, and with hot, full and dead pixels."""
    rng = np.random.default_rng(seed)
    counts = scene(rng, frames, images, mean).reshape(images, -1)
    places = rng.permutation(counts.shape[1])
    counts[:, places[:hot]] = rng.binomial(frames, rng.random(hot), (images, hot))
    counts[:, places[hot : 2 * hot]] = frames
    counts[:, places[2 * hot : 3 * hot]] = 0
    levels = counts.reshape(images, 16, 12).astype(np.uint8 if frames < 256 else np.uint16)
    if images == 1 and frames == 255 and set(np.unique(levels)) == {0, 255}:
        return  # one image of 0 and 255 is a binary frame
    source, back = read(levels)
    np.testing.assert_array_equal(back, levels)
    assert source.remarks == ()


@given(brightest=st.sampled_from([0.01, 0.3, 1.0, 5.0, 50.0, 500.0]), seed=SEEDS)
def test_counts_that_a_dead_time_limits_are_left_alone(brightest: float, seed: int) -> None:
    """Exposures of 17.5 dead times: bright pixels nearly always count 17, far less at random than Poisson's."""
    rng = np.random.default_rng(seed)
    light = brightest * rng.choice([0.0, 0.01, 0.5, 1.0], (16, 12, 1))  # photons in a dead time
    waits = rng.exponential(1.0, (8, 16, 12, 20)) / np.maximum(light, 1e-9)
    counts = (np.cumsum(waits + 1, axis=-1) - 1 <= 17.5).sum(-1).astype(np.uint8)
    np.testing.assert_array_equal(read(counts)[1], counts)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_full_and_dead_pixels_are_no_binary_frames(dtype: Any) -> None:
    dark = np.zeros((50, 16, 12), dtype)
    dark[:, 3, ::2] = np.iinfo(dtype).max
    np.testing.assert_array_equal(read(dark)[1], dark)


def test_one_pixel_that_repeats_itself_decides_nothing() -> None:
    images = np.zeros((200, 16, 12), np.uint8)
    images[:, 3, 3], images[:, 4, 4] = 10, 20
    np.testing.assert_array_equal(read(images)[1], images)


def test_what_is_possible_by_what_is_said_is_read_as_it_stands() -> None:
    levels = (scene(np.random.default_rng(0), 16, mean=0.2) * 16).astype(np.uint8)
    for known in (PartialSettings(counter_bits=8), PartialSettings(cycles=256, counter_bits=1)):
        source, back = read(levels, known)
        np.testing.assert_array_equal(back, levels)
        assert "levels lie 16 apart" in source.remarks[0]
        assert source.remarks[0].arguments == ("cycles", "counter_bits")  # type: ignore[attr-defined]


def test_masked_pixels_have_no_say() -> None:
    counts = scene(np.random.default_rng(0), 16)
    mask = np.zeros((16, 12), np.uint32)
    mask[2, 2] = 1
    levels = (counts * 16).clip(0, 255).astype(np.uint8)
    levels[:, 2, 2] = 7
    np.testing.assert_array_equal(read(levels, pixel_mask=mask)[1][:, mask == 0], counts[:, mask == 0])


def test_an_image_between_the_levels_is_named(save: Any) -> None:
    levels = (scene(np.random.default_rng(0), 16, images=5000) * 16).clip(0, 255).astype(np.uint8)
    levels[3001, 3, 3] = 37
    with (
        open_capture(save("a.npy", levels)) as capture,
        pytest.raises(InputError, match="image 3001 holds 37") as error,
    ):
        list(capture.blocks())
    assert error.value.arguments == ("cycles", "counter_bits")


def stretched(counts: NDArray[Any], dtype: type) -> NDArray[np.uint8]:
    """round(255 k / M), in the arithmetic of `dtype`."""
    scaled = counts.astype(dtype) / dtype(counts.max()) * dtype(255)
    levels: NDArray[np.uint8] = np.floor(scaled + dtype(0.5)).astype(np.uint8)
    return levels


@given(largest=st.integers(6, 64), seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]))
def test_frames_stretched_to_their_peak(largest: int, seed: int, dtype: type) -> None:
    counts = np.random.default_rng(seed).integers(0, largest + 1, (1, 64, 32))
    counts[0, 0, :2] = largest, largest - 1  # neighbouring counts leave no coarser comb
    source, back = read(stretched(counts, dtype))
    np.testing.assert_array_equal(back, counts)
    assert source.remarks[0].startswith("peak-normalised")


def test_options_replace_the_public_camera(save: Any) -> None:
    frame = np.arange(0, 256, 17, dtype=np.uint8).reshape(4, 4)
    with open_capture(save("a.tif", frame), cycles=16, counter_bits=1, count_time=1e-6) as capture:
        assert capture.settings == Settings(1e-6, 16, counter_bits=1, dead_time=0)
        assert capture.settings.saturation_value == 16
        np.testing.assert_array_equal(next(capture.blocks()).ravel(), np.arange(16))


@pytest.mark.parametrize("number", range(1, 24))
def test_the_public_frames_hold_counts_of_a_dead_time_limited_camera(shared: Path, number: int) -> None:
    with open_capture(shared / f"data/real/bianlab/input/{number}.tiff") as capture:
        counts = next(capture.blocks())
        assert capture.shape == (1, 64, 32)
        assert (capture.exposure, capture.settings.dead_time) == (Exposure(875e-9), 50e-9)
        assert capture.settings.counter_bits == 9
        assert 6 <= counts.max() <= 18  # exposure / dead time is 17.5
        assert f"counts 0 to {counts.max()} recovered" in capture.assumptions[0]


def test_public_frames_in_one_folder_are_each_of_their_own_peak(shared: Path) -> None:
    folder = shared / "data/real/bianlab/input"
    with open_capture(folder) as together:
        images = together.read(0, 23)
        assert "each image's largest count, up to" in " ".join(together.assumptions)
        assert (together.exposure, together.settings.dead_time) == (Exposure(875e-9), 50e-9)
        assert together.source.peak_normalised
    for number in (1, 7, 23):
        with open_capture(folder / f"{number}.tiff") as alone:
            np.testing.assert_array_equal(images[number - 1], alone.read(0, 1)[0])


def test_an_image_that_is_not_stretched_as_the_others_are_is_named(save: Any) -> None:
    """Far from the images that are looked at; and with what the user says, all are counts as they stand."""
    rng = np.random.default_rng(0)
    largest = rng.integers(6, 19, 200)
    stack = np.stack([stretched(rng.integers(0, each + 1, (1, 64, 32)), np.uint8)[0] for each in largest])
    stack[:, 0, 0] = 255
    path = save("a.tif", stack)
    with open_capture(path) as capture:
        assert capture.read(0, 200).max(axis=(1, 2)).tolist() == largest.tolist()
    stack[5] = rng.integers(0, 255, (64, 32))
    spoilt = save("b.tif", stack)
    with pytest.raises(InputError, match="image 5 is not stretched"), open_capture(spoilt) as capture:
        capture.read(0, 200)
    with open_capture(path, cycles=255, counter_bits=1, count_time=1e-6) as capture:
        np.testing.assert_array_equal(capture.read(0, 4).max(axis=(1, 2)), 255)


@pytest.mark.parametrize("frames", [1, 4, 16, 64])
def test_public_averages_of_binary_frames(shared: Path, frames: int) -> None:
    """The value is round(255 k / N); all are averages of one scene, whose mean agrees with that of 256 frames."""
    folder = shared / "data/real/swissspad2"
    with open_capture(folder / f"average{frames:03}_left.png") as capture:
        assert (capture.exposure.cycles, capture.settings.counter_bits) == (frames, 1)
        mean = next(capture.blocks()).mean() / frames
    assert mean == pytest.approx(cv2.imread(str(folder / "average256_left.png"), -1).mean() / 255, rel=0.02)
