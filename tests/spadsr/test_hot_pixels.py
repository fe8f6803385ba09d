"""Hot pixels are found by their counts and leave no trace; light, noise and texture are not taken for them."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import erf

from noise_model.errors import Note
from noise_model.forward_model import ForwardModel
from noise_model.sensor import HOT, Exposure, Sensor
from spadsr.restoration.hot_pixels import _BESIDE, _BEYOND, _TIMES, AS_COUNTED, LEFT_OUT, HotPixels, _Images, find_hot
from spadsr.restoration.restored import Restored
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.weights import load_restorer

N, SIDE = 1000, 32
Places = dict[tuple[int, int], float]


def counted(background: float, hot: Places, images: int = 1, side: int = SIDE) -> NDArray[np.int64]:
    """Counts of N binary frames in an even scene; hot pixels count as many times as much."""
    rate = np.full((images, side, side), background / N)
    for (row, column), times in hot.items():
        rate[:, row, column] *= times
    return np.random.default_rng(0).binomial(N, -np.expm1(-rate))


def array(**known: object) -> Sensor:
    return replace(Sensor("binary", torch.ones(SIDE, SIDE), torch.zeros(SIDE, SIDE), 0.0, 1, measured=False), **known)


@cache
def restorer() -> Restorer:
    return load_restorer()


def restored(background: float, hot: Places, sensor: Sensor | None = None) -> tuple[NDArray[np.float32], Restored]:
    """Rates over those of the background, and all that is restored."""
    counts = torch.from_numpy(counted(background, hot))
    answer = restorer().restore(counts, ForwardModel(sensor or array(), Exposure(1.0, N)), 4)[0]
    return answer.rate * (N / background), answer


@pytest.mark.parametrize(("background", "hot"), [(1, 2000), (5, 100), (20, 100), (50, 10)])
def test_a_hot_pixel_leaves_no_trace(background: float, hot: float) -> None:
    rate, answer = restored(background, {(16, 16): hot})
    clean, _ = restored(background, {})
    assert answer.hot is not None
    assert np.argwhere(answer.hot).tolist() == [[16, 16]]
    assert answer.hot[16, 16] == LEFT_OUT
    assert rate.min() > 0.6
    assert rate.max() < max(1.1, clean.max() + 0.02)


@pytest.mark.parametrize(("background", "share"), [(1, 0.4), (1.5, 0.65), (2, 0.75), (5, 0.95), (10, 0.99)])
def test_most_hot_pixels_of_dim_scenes_are_found(background: float, share: float) -> None:
    """Of 400 that count ten times as much as their background; of one count, four of five that count ten or more."""
    counts = counted(background, {(8, 8): 10}, images=400, side=17)
    found = find_hot(counts, np.float64(N))[:, 8, 8] == LEFT_OUT
    assert found.mean() > share
    assert found[counts[:, 8, 8] >= 10].mean() > 0.7


@pytest.mark.parametrize("background", [1, 1.5, 2])
def test_hot_pixels_of_dim_scenes_leave_no_trace(background: float) -> None:
    """What is restored is what the same counts give without the pixel: within 5 %, and 2 % three pixels away."""
    counts = torch.from_numpy(counted(background, {}))
    model = ForwardModel(array(), Exposure(1.0, N))
    clean = restorer().restore(counts, model, 4)[0].rate
    counts[0, 16, 16] = round(12 * background)
    answer = restorer().restore(counts, model, 4)[0]
    changed = np.abs(answer.rate - clean) * (N / background)
    assert answer.hot is not None
    assert answer.hot[16, 16] == LEFT_OUT
    assert changed.max() < 0.05
    changed[52:80, 52:80] = 0
    assert changed.max() < 0.03


@pytest.mark.parametrize("background", [10, 20, 50])
@pytest.mark.parametrize("second", [(16, 17), (17, 16), (17, 17)])
def test_touching_hot_pixels_are_shown_as_they_were_counted(background: float, second: tuple[int, int]) -> None:
    rate, answer = restored(background, {(16, 16): 10, second: 10})
    assert answer.hot is not None
    assert answer.counts is not None
    touching = np.zeros((SIDE, SIDE), bool)
    touching[16, 16] = touching[second] = True
    assert ((answer.hot == AS_COUNTED) == touching).all()
    inside = np.kron(touching, np.ones((4, 4), bool))
    expected = -np.log1p(-np.kron(answer.counts, np.ones((4, 4))) / N) * N / background
    np.testing.assert_allclose(rate[inside], expected[inside], rtol=1e-4)
    assert rate[~inside].min() > 0.6
    assert rate[~inside].max() < 1.1
    [line] = said(answer)
    assert line.startswith("1 spot of up to four touching pixels")
    assert "16" in line


def said(*answers: Restored) -> list[str]:
    found = HotPixels()
    for answer in answers:
        assert answer.hot is not None
        found.add(answer.hot[None])
    return found.warnings()


def test_one_far_above_those_that_it_touches_is_left_out_with_them() -> None:
    rate, answer = restored(20, {(16, 16): 100, (16, 17): 10})
    assert answer.hot is not None
    assert answer.hot[16, 16:18].tolist() == [LEFT_OUT, LEFT_OUT]
    assert (answer.hot > 0).sum() == 2
    assert rate.min() > 0.6
    assert rate.max() < 1.1
    [line] = said(answer)
    assert line.startswith("2 pixels (0.2%) far above all around: hot, left out (some touch: row 16, columns 16 to 17)")
    assert isinstance(line, Note)
    assert line.arguments == ("dark", "sensor")


def test_a_point_of_light_is_kept_where_dark_counts_are_known() -> None:
    rate, answer = restored(20, {(16, 16): 100}, array(measured=True))
    assert answer.hot is not None
    assert np.argwhere(answer.hot).tolist() == [[16, 16]]
    assert answer.hot[16, 16] == AS_COUNTED
    [line] = said(answer)
    assert line.startswith("1 spot of up to four touching pixels")
    assert rate[64:68, 64:68].mean() == pytest.approx(100, rel=0.05)
    rate[64:68, 64:68] = 1
    assert rate.min() > 0.6
    assert rate.max() < 1.1


def test_known_dark_counts_are_no_point_of_light() -> None:
    dark = torch.zeros(SIDE, SIDE)
    dark[16, 16] = 99 * 20 / N
    rate, answer = restored(20, {(16, 16): 100}, array(measured=True, dark_count_rate=dark))
    assert answer.hot is not None
    assert not answer.hot.any()
    assert rate[64:68, 64:68].mean() < 5


def test_pixels_of_a_mask_are_not_compared_with() -> None:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.int32)
    mask[16, 17] = HOT
    _, answer = restored(20, {(16, 16): 100, (16, 17): 300}, array(pixel_mask=mask))
    assert answer.hot is not None
    assert np.argwhere(answer.hot).tolist() == [[16, 16]]


def test_hot_pixels_are_found_among_other_hot_ones() -> None:
    """One in twelve, of three sizes; those alone, with no other within two pixels, are all found."""
    rng = np.random.default_rng(1)
    hot = rng.random((64, 64)) < 1 / 12
    rate = np.where(hot, rng.choice([100, 1000, 10_000], (64, 64)), 10)
    found = find_hot(rng.poisson(rate)[None], np.float64(1e6))[0]
    assert (found[~hot] == 0).all()
    assert np.mean(found[hot] > 0) > 0.85


@pytest.mark.parametrize("background", [0.02, 0.1, 0.3, 1, 3, 10, 100])
def test_noise_of_an_even_scene_is_not_hot(background: float) -> None:
    """Of 2 million pixels; one in a million is the most that was seen of 20 million, at 0.3 counts."""
    counts = np.random.default_rng(1).binomial(N, background / N, (8, 512, 512))
    assert (find_hot(counts, np.float64(N)) > 0).sum() < 10


@pytest.mark.parametrize("flux", [20, 200, 2000])
def test_points_of_light_through_optics_are_not_left_out(flux: float) -> None:
    """Of 400 points, Gaussians 1 pixel wide at half their height, anywhere in a pixel, 2 % at the dimmest are left out;
    of those 1.5 pixels wide none, nor are they shown as counted."""
    for width, left_out, as_counted in ((1.0, 0.05, 1.0), (1.5, 0.0, 0.0), (2.5, 0.0, 0.0)):
        rng = np.random.default_rng(2)
        spread = width / 2.355 * 2**0.5
        edges = np.arange(12) - 5.5
        across = [np.diff(erf((edges - place[:, None]) / spread)) / 2 for place in rng.uniform(-0.5, 0.5, (2, 400))]
        light = flux * across[0][:, :, None] * across[1][:, None]
        found = find_hot(rng.poisson(light + 1), np.float64(1e6))
        assert (found == LEFT_OUT).any(axis=(1, 2)).mean() <= left_out
        assert (found == AS_COUNTED).any(axis=(1, 2)).mean() <= as_counted


def test_lines_edges_and_corners_are_not_hot() -> None:
    scene = np.ones((64, 64))
    scene[10, 5:40] = scene[20:50, 8] = scene[40:60, 30:60] = 100
    scene[range(15, 35), range(20, 40)] = 100
    scene[50:53, 15:18] = 100
    counts = np.random.default_rng(3).poisson(np.stack([scene * level for level in (0.1, 1, 10, 100)]))
    assert not find_hot(counts, np.float64(1e6)).any()


def test_frames_of_each_pixel_are_known() -> None:
    """A pixel with a hundred times the frames counts as much more, and is not hot."""
    frames = np.full((SIDE, SIDE), 100.0)
    frames[8, 8] = 10_000
    frames[20, 20] = 0
    counts = np.random.default_rng(4).poisson(np.where(frames == 0, 1000, 0.2 * frames))[None]
    assert not find_hot(counts, frames).any()
    assert np.argwhere(find_hot(counts, np.float64(100))[0]).tolist() == [[8, 8], [20, 20]]


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 7), (1, 2, 2), (0, 5, 5)])
@pytest.mark.parametrize("frames", [0.0, 10.0])
def test_images_of_any_size_have_an_answer(shape: tuple[int, ...], frames: float) -> None:
    assert find_hot(np.full(shape, 5), np.float64(frames)).shape == shape


def test_an_image_alone_has_the_hot_pixels_that_it_has_among_others() -> None:
    counts = counted(5, {(3, 3): 50, (20, 20): 10, (20, 21): 10}, images=4)
    together = find_hot(counts, np.float64(N))
    for one, found in zip(counts, together, strict=True):
        assert (find_hot(one[None], np.float64(N))[0] == found).all()


def test_groups_are_named() -> None:
    hot = np.zeros((2, 9, 9), np.uint8)
    hot[0, 2, 3:5] = hot[1, 7:9, 7:9] = AS_COUNTED
    found = HotPixels()
    found.add(hot)
    assert found.warnings() == [
        "2 spots of up to four touching pixels far above all around: hot, or a point of light; shown as counted"
        " (row 2, columns 3 to 4; rows 7 to 8, columns 7 to 8)"
    ]


def reflected(place: int, size: int) -> int:
    """The place within a side that one beyond its edge is the mirror image of."""
    return -place if place < 0 else 2 * (size - 1) - place if place >= size else place


def test_candidates_and_what_they_are_compared_with_are_those_found_pixel_by_pixel() -> None:
    """To the last bit, with masked pixels and equal counts, at edges and corners."""
    random = np.random.default_rng(3)
    for rows, columns in ((7, 6), (2, 9), (16, 16)):
        frames = 4.0 * random.integers(0, 3, (3, rows, columns))
        counts = random.poisson(0.7, frames.shape) * random.choice([1.0, 1, 1, 9], frames.shape) * (frames > 0)
        images = _Images(counts, frames)
        rate, apart = counts / np.maximum(frames, 1), random.random(counts.shape) < 0.1
        candidates = images.candidates()
        picked = random.random(counts.shape) < 0.3
        around, live = images._of(_BESIDE + _BEYOND, picked, apart)
        for index, (image, row, column) in enumerate(np.argwhere(picked)):
            for place, (down, right) in enumerate(_BESIDE + _BEYOND):
                at = (image, row + down, column + right)
                there = 0 <= at[1] < rows and 0 <= at[2] < columns and not apart[at]
                assert around[index, place] == (counts[at] if there else 0)
                assert live[index, place] == (frames[at] if there else 0)
        for image, row, column in np.ndindex(counts.shape):
            beside = sorted(
                rate[image, reflected(row + down, rows), reflected(column + right, columns)] for down, right in _BESIDE
            )
            expected = counts[image, row, column] > 0 and rate[image, row, column] > _TIMES * beside[4]
            assert candidates[image, row, column] == expected
