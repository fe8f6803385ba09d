"""Motion: paths from counts, counts merged whole, and what is said of a scene that moves within a sum."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from moving_scenes import (
    MARGIN,
    SECONDS,
    SHAPE,
    MovingScene,
    binary_array,
    counted,
    counting_array,
    crossing,
    drawn,
    drift,
    flow,
    moving,
    seen_along,
    shake,
)
from scipy import fft, stats

from noise_model.forward_model import ForwardModel
from noise_model.sensor import PLACES, Exposure, Sensor
from simulate.moving import sample_moving
from spadsr.motion.blocks import Blocks
from spadsr.motion.changes import _waves, change_within
from spadsr.motion.fine import sharpened
from spadsr.motion.kernels import Explained, bend_evidence, explain_counts
from spadsr.motion.merging import Merged, merge, pixels_of
from spadsr.motion.motion import Path
from spadsr.motion.path import block_law, estimate_path
from spadsr.motion.seen import at_rest, seen_of, smoothed
from spadsr.motion.smoothness import smooth_path
from spadsr.motion.standing import second_brightest, standing_out
from spadsr.motion.sweep import Lines, find_lines, gather
from spadsr.motion.verdict import judge
from spadsr.networks.measurement import measure

REST = drift(0, 0, 0)


def error(path: Path, scene: MovingScene) -> float:
    """Root mean square error of the shifts, native pixels."""
    return float(np.sqrt(np.square(path.poses - scene.path)[:, :2].mean()))


def unknown(sensor: Sensor) -> Sensor:
    """What is known of a sensor of that kind that was not measured."""
    blank = sensor.uniform(SHAPE)
    return replace(blank, dark_count_rate=torch.zeros(SHAPE), pixel_mask=None, measured=False)


@pytest.mark.parametrize("white", [0.02, 0.2])
def test_the_scene_at_rest_gives_no_warning(white: float) -> None:
    for seed in range(25):
        light = np.repeat(seen_along(drawn(seed), REST[:1]), len(REST), axis=0)
        change = change_within(counted(light, white, binary_array(seed), seed))
        assert not change.moves, (seed, change)


@pytest.mark.parametrize("white", [0.02, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_motion_within_the_sum_is_always_seen(white: float, seed: int) -> None:
    sensor = binary_array(seed)
    shaken = seen_along(drawn(seed), shake(2, seed))
    for light in (shaken, crossing(drawn(seed), 12), flow(seed, 20)):
        assert change_within(counted(light, white, sensor, seed)).moves


def test_a_lamp_that_flickers_and_a_pixel_that_blinks_are_no_motion() -> None:
    rng, light = np.random.default_rng(0), np.repeat(seen_along(drawn(1), REST[:1]), len(REST), axis=0)
    light = light * rng.uniform(0.8, 1.2, len(REST))[:, None, None]
    light[:40, 20, 10] = 3
    assert not change_within(counted(light, 0.1, binary_array(1), 2)).moves


def test_too_few_blocks_or_counts_say_nothing() -> None:
    sensor = binary_array()
    assert not change_within(Blocks.consecutive(np.zeros((128, *SHAPE), np.uint8), 1, sensor, SECONDS)).moves
    assert not change_within(counted(seen_along(drawn(0), shake(8, 0))[:2], 0.2, sensor, 0)).moves


@pytest.mark.parametrize(("white", "largest"), [(0.02, 0.35), (0.2, 0.1)])
@pytest.mark.parametrize("kind", ["shake", "drift", "turn"])
def test_the_path_is_found(kind: str, white: float, largest: float) -> None:
    path = {"shake": shake(4, 5), "drift": drift(6, -5, 0), "turn": drift(0, 0, np.radians(20))}[kind]
    scene = moving(path, white, 1)
    found = estimate_path(scene.blocks)
    assert error(found, scene) < largest
    assert np.abs(found.poses - path)[:, 2].max() < np.radians(10 * largest)
    inside = np.abs(found.poses - found.poses.mean(axis=0) - path + path.mean(axis=0)) < 4 * found.sd + 0.02
    assert inside.mean() > 0.9


def test_waves_in_time_are_cosines_of_what_differs_from_the_mean() -> None:
    """As a transform of scipy's has them, of blocks of unequal light, beside masked pixels."""
    random = np.random.default_rng(0)
    light = random.uniform(0.5, 2, 24)
    counts = random.poisson(30 * light[:, None, None] * random.uniform(0.2, 1, (9, 7)))
    good = random.random((9, 7)) < 0.9
    sensor = replace(binary_array(0), pde=torch.ones(9, 7), dark_count_rate=torch.zeros(9, 7), pixel_mask=None)
    waves = _waves(Blocks.consecutive(counts, 100, sensor, SECONDS), counts.sum(axis=0) * good, good)
    whole = counts[:, good].sum(axis=1)
    residual = (counts - counts.sum(axis=0) * (whole / whole.sum())[:, None, None]) * good
    evened = residual / np.sqrt(whole / whole.mean())[:, None, None]
    expected = fft.dct(evened, axis=0, norm="ortho")[1:]
    np.testing.assert_allclose(np.moveaxis(waves, -1, 0), expected, atol=1e-4)


def test_the_second_brightest_neighbour() -> None:
    values = np.random.default_rng(0).poisson(3, (12, 9))
    found = second_brightest(values)
    wide = np.pad(values, 1, mode="reflect")
    for row, column in np.ndindex(values.shape):
        around = np.delete(wide[row : row + 3, column : column + 3].ravel(), 4)
        assert found[row, column] == np.sort(around)[-2]


def test_a_counting_array_is_aligned_as_well() -> None:
    scene = moving(shake(4, 5), 2.0, 1, counting_array(1))
    assert error(estimate_path(scene.blocks), scene) < 0.1


def test_dropped_frames_and_a_flickering_lamp_do_not_lead_the_path_astray() -> None:
    path, rng = shake(4, 5), np.random.default_rng(0)
    light = seen_along(drawn(1), path) * rng.uniform(0.8, 1.2, len(path))[:, None, None]
    kept = np.delete(np.arange(len(path)), np.r_[20:25, 90])
    blocks = counted(light, 0.1, binary_array(1), 1).only(np.isin(np.arange(len(path)), kept))
    found = estimate_path(blocks)
    assert np.sqrt(np.square(found.poses - path[kept])[:, :2].mean()) < 0.2
    assert abs(np.corrcoef(found.brightness, light.mean(axis=(1, 2))[kept])[0, 1]) > 0.9


def test_a_scene_at_rest_is_summed_plainly_and_one_without_features_too() -> None:
    flat = np.full_like(drawn(0), 0.5)
    for picture, path in ((drawn(1), REST), (flat, shake(4, 5))):
        scene = moving(path, 0.1, 2, picture=picture)
        verdict = judge(scene.blocks, estimate_path(scene.blocks))
        assert not verdict.moves
        merged = merge(scene.blocks, verdict.path.poses)
        good = scene.blocks.good
        assert np.array_equal(merged.counts[good], scene.blocks.counts.sum(axis=0)[good])


def test_stripes_are_followed_across_and_not_along() -> None:
    columns = np.arange(drawn(0).shape[1])
    stripes = np.broadcast_to((0.5 + 0.4 * np.sin(columns / 6)).astype(np.float32), drawn(0).shape).copy()
    scene = moving(shake(4, 5), 0.1, 2, picture=stripes)
    verdict = judge(scene.blocks, estimate_path(scene.blocks))
    off = verdict.path.poses - scene.path
    assert verdict.unknown == 1
    assert np.abs(verdict.path.poses[:, 0]).max() < 0.05
    assert np.sqrt(np.square(off[:, 1]).mean()) < 0.1
    assert verdict.repeats
    assert any("one direction" in each for each in verdict.sentences())


def test_the_verdict_tells_motion_of_all_from_motion_of_parts() -> None:
    shaken = moving(shake(4, 5), 0.1, 1)
    whole = judge(shaken.blocks, estimate_path(shaken.blocks))
    assert whole.moves
    assert not whole.local
    assert whole.used.all()
    assert whole.sentences() == []
    crossed = counted(crossing(drawn(1), 12), 0.1, binary_array(1), 4)
    part = judge(crossed, estimate_path(crossed))
    assert part.local
    assert any("parts of the scene" in each for each in part.sentences())


def test_blocks_that_show_another_scene_are_left_out() -> None:
    scene = moving(shake(4, 5), 0.1, 1)
    other = counted(seen_along(drawn(9), REST[:6]), 0.1, binary_array(1), 5)
    counts = scene.blocks.counts.copy()
    counts[90:96] = other.counts
    blocks = replace(scene.blocks, counts=counts)
    verdict = judge(blocks, estimate_path(blocks))
    assert not verdict.used[90:96].any()
    assert verdict.used.sum() > 110


@pytest.mark.parametrize("white", [0.02, 0.2])
def test_hot_pixels_of_an_unknown_sensor_are_found_and_lead_no_path_astray(white: float) -> None:
    known = binary_array(1)
    dark = known.dark_count_rate.numpy() * SECONDS
    counts = moving(shake(4, 5), white, 1, replace(known, pixel_mask=None)).blocks.counts
    blocks = Blocks.consecutive(counts, 16, unknown(known), SECONDS)
    path = estimate_path(blocks)
    assert np.sqrt(np.square(path.poses - shake(4, 5))[:, :2].mean()) < (0.3 if white < 0.1 else 0.1)
    verdict = judge(blocks, path)
    assert verdict.hot[dark > white].all()
    assert not verdict.hot[dark < 0.003].any()
    assert blocks.without(verdict.hot).good.sum() == blocks.good.sum() - verdict.hot.sum()
    assert any("stand still" in each for each in verdict.sentences())


def test_points_of_light_that_move_are_no_hot_pixels() -> None:
    """Beads of 1.5 pixels at half height, on a dark ground: nothing else tells the path."""
    picture, rng = np.zeros_like(drawn(0)), np.random.default_rng(4)
    for row, column in rng.integers(0, [len(picture), picture.shape[1]], (150, 2)):
        picture[row, column] = 1
    picture = cv2.GaussianBlur(picture, (0, 0), 4 * 1.5 / 2.355)
    scene = moving(shake(4, 5), 0.2, 1, unknown(binary_array(1)), 0.02 + picture / picture.max())
    assert not standing_out(scene.blocks).any()
    path = estimate_path(scene.blocks)
    assert error(path, scene) < 0.15
    assert not judge(scene.blocks, path).hot.any()


@pytest.mark.parametrize("scale", [1, 4])
def test_merged_counts_of_a_flat_scene_are_binomial_and_independent(scale: int) -> None:
    """Chi-squared of the counts over 1,000 merges, of all cells, and of neighbouring cells beside each other."""
    sensor = replace(Sensor.load("spad512").uniform((12, 10)), dark_count_rate=torch.zeros(12, 10))
    sensor = replace(sensor, crosstalk=torch.zeros(1, 1), afterpulse_probability=0.0)
    path, white, merges = shake(3, 1, 16) + drift(0, 0, 0.3, 16), 0.15, 1000
    light = np.ones((16 * merges, 12, 10), np.float32)
    blocks = counted(light, white, sensor, 7, frames=8)
    merged = [merge(blocks.only(slice(16 * i, 16 * i + 16)), path, scale) for i in range(merges)]
    counts, frames = np.stack([each.counts for each in merged]).astype(np.int64), merged[0].frames.astype(np.int64)
    assert counts.sum() > 0.7 * blocks.counts.sum()
    assert (frames % 8 == 0).all()
    looked = frames > 0
    standard = (counts - frames * white)[:, looked] / np.sqrt(frames * white * (1 - white))[looked]
    kurtosis = (1 - 6 * white * (1 - white)) / (frames * white * (1 - white))[looked]
    spread = np.sqrt((2 + kurtosis).sum() * merges)
    assert abs(np.square(standard).sum() - standard.size) < 4 * spread
    upper = np.full(frames.shape, np.nan)
    z = np.where(looked, (counts - frames * white) / np.sqrt(np.maximum(frames, 1) * white * (1 - white)), upper)
    for product in (z[:, 1:] * z[:, :-1], z[:, :, 1:] * z[:, :, :-1]):
        pairs = product[np.isfinite(product)]
        assert abs(pairs.mean()) < 4 / np.sqrt(pairs.size)
    several = frames.max() == frames
    cell = counts[:, several].ravel()
    law = stats.binom(int(frames.max()), white).pmf(np.arange(frames.max() + 1)) * cell.size
    common = law >= 5
    seen = np.bincount(cell, minlength=len(law))[: len(law)]
    assert stats.chisquare(seen[common], law[common] / law[common].sum() * seen[common].sum()).pvalue > 1e-4


def test_merging_moves_whole_counts_to_the_cells_that_were_looked_at() -> None:
    sensor = replace(binary_array(0, (8, 6)), pixel_mask=None)
    counts = np.arange(2 * 48, dtype=np.uint16).reshape(2, 8, 6)
    blocks = Blocks.consecutive(counts, 100, sensor, SECONDS)
    merged = merge(blocks, np.array([[0.0, 0, 0], [1.2, -0.8, 0]]))
    expected = counts[0].astype(np.int64)
    expected[1:, :-1] += counts[1][:-1, 1:]
    assert np.array_equal(merged.counts, expected)
    assert merged.frames[0, 0] == 100
    assert merged.frames[4, 3] == 200
    pde = sensor.pde.numpy()
    assert merged.sensor.pde[4, 3] == pytest.approx((pde[4, 3] + pde[3, 4]) / 2)
    fine = merge(blocks, np.array([[0.0, 0, 0], [0.3, 0, 0]]), 4)
    assert fine.counts[2, 2] == counts[0, 0, 0]
    assert fine.counts[3, 6] == counts[1, 0, 1]
    assert fine.counts.sum() == counts.sum()


def test_the_cells_of_merged_counts_are_the_places_that_networks_are_trained_with() -> None:
    """A path of known parts of a pixel: the same frames are sampled for training, and merged as a recording is."""
    steps = [(-0.5, 0.49), (0.0, 0.0), (0.1, -0.3), (0.25, -0.25), (-0.01, 0.2), (0.0, 0.0)]
    sensor = replace(binary_array(3, (12, 10)), pixel_mask=None)
    light = torch.from_numpy(drawn(3)[None, :48, :40] * np.float32(0.3 / SECONDS))
    model = ForwardModel(sensor, Exposure(SECONDS, 16 * len(steps)))
    trained, cycles = sample_moving(model, light, 4, steps, torch.Generator().manual_seed(1))
    one, generator = replace(model, exposure=Exposure(SECONDS, 16)), torch.Generator().manual_seed(1)
    native = [sample_moving(one, light, 4, [step], generator)[0].view(12, 4, 10, 4).sum((1, 3)) for step in steps]
    blocks = Blocks.consecutive(np.stack(native).astype(np.uint16), 16, sensor, SECONDS)
    poses = np.array([(*step, 0.0) for step in steps])
    fine, coarse = merge(blocks, poses, PLACES), merge(blocks, poses)
    assert np.array_equal(fine.counts, trained[0])
    assert np.array_equal(fine.frames, cycles)
    assert fine.model.exposure.map is not None
    measured = measure(torch.from_numpy(fine.counts.astype(np.int64))[None], fine.model)
    expected = measure(trained, replace(model, exposure=replace(model.exposure, cycles=cycles)))
    torch.testing.assert_close(measured.phases, expected.phases, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(measured.statistics, expected.statistics, atol=1e-4, rtol=1e-4)
    for mine, whole in ((fine.model.sensor, coarse.sensor), (coarse.model.sensor, sensor)):
        torch.testing.assert_close(mine.pde, whole.pde)
        torch.testing.assert_close(mine.dark_count_rate, whole.dark_count_rate)
        assert mine.crosstalk.equal(sensor.crosstalk)


def test_counts_gathered_along_lines_are_those_merged_along_the_path_that_they_follow() -> None:
    """A scene that drifts over an array at rest: whole pixels, and the places within them that their centres saw."""
    scene = moving(drift(3.3, -2.1, 0), 0.1, 1)
    velocity = np.stack([np.full(SHAPE, -3.3), np.full(SHAPE, 2.1)])
    whole = np.zeros(SHAPE, np.int64), np.full(SHAPE, len(scene.blocks))
    for scale in (1, PLACES):
        lines, path = gather(scene.blocks, Lines(velocity, *whole), scale=scale), merge(scene.blocks, scene.path, scale)
        assert np.array_equal(lines.counts, path.counts)
        assert np.array_equal(lines.frames, path.frames)
        torch.testing.assert_close(lines.sensor.pde, path.sensor.pde)


def test_a_pixel_at_rest_is_seen_in_its_centre_and_tells_no_detail() -> None:
    blocks = moving(REST, 0.1, 1).blocks
    still = Lines(np.zeros((2, *SHAPE)), np.zeros(SHAPE, np.int64), np.full(SHAPE, len(blocks)))
    cells = gather(blocks, still, scale=PLACES)
    looked = cells.frames.reshape(SHAPE[0], PLACES, SHAPE[1], PLACES)[:, :, blocks.good.any(axis=0)].sum(axis=(0, 2))
    place = (np.arange(PLACES) + 0.5) / PLACES
    assert [(looked.sum(axis=axis) * place).sum() / looked.sum() for axis in (0, 1)] == pytest.approx([0.5, 0.5])
    light = np.full([PLACES * side for side in SHAPE], 0.1, np.float32)
    assert np.array_equal(sharpened(light, light, cells), light)


def test_pixels_of_a_merged_grid_see_what_their_own_cells_saw() -> None:
    """A shift by more than a pixel and a turn: x4 cells add up to the x1 merge, maps and all."""
    scene = moving(shake(4, 5) + drift(0, 0, 0.3), 0.1, 1)
    fine, coarse = merge(scene.blocks, scene.path, PLACES), merge(scene.blocks, scene.path)
    for a, b in ((fine.counts, coarse.counts), (fine.frames, coarse.frames)):
        assert np.array_equal(a.reshape(64, 4, 32, 4).sum(axis=(1, 3)), b)
    torch.testing.assert_close(fine.model.sensor.pde, coarse.model.sensor.pde)
    torch.testing.assert_close(fine.model.sensor.dark_count_rate, coarse.model.sensor.dark_count_rate)


def test_the_quasi_likelihood_of_a_binary_array_is_the_binomial_one() -> None:
    sensor = replace(binary_array(2), crosstalk=torch.zeros(1, 1), afterpulse_probability=0.0)
    picture = drawn(2)
    blocks = counted(seen_along(picture, REST[:2]), 0.2, sensor, 3, frames=64)
    light = -np.log1p(-0.2) * picture[64:-64, 64:-64]
    seen, pixels = seen_of(light, 4), pixels_of(blocks)
    counts = blocks.flat[:1]
    found = Explained(*(np.zeros(counts.shape) for _ in range(3)))
    law, path = block_law(blocks, seen), Path.still(blocks)
    explain_counts(counts, blocks.frames, pixels, seen, law, path.poses, path.brightness, found)
    counts, explained = counts[0, pixels.place], Explained(*(each[0, pixels.place] for each in found))
    inside = explained.variance > 0
    native = light.reshape(64, 4, 32, 4).mean(axis=(1, 3))[blocks.good]
    p = -np.expm1(-(native * pixels.gain + pixels.dark))
    binomial = counts * np.log(p) + (64 - counts) * np.log1p(-p)
    np.testing.assert_allclose(explained.mean[inside], 64 * p[inside], rtol=1e-3)
    np.testing.assert_allclose(explained.variance[inside], (64 * p * (1 - p))[inside], rtol=2e-3)
    difference = (explained.likelihood - binomial)[inside]
    assert np.ptp(difference) < 0.02 * np.ptp(binomial)


def test_smoothing_finds_the_path_of_known_data_and_its_error() -> None:
    rng, sd = np.random.default_rng(0), 0.4
    truth = rng.normal(0, 0.05, (80, 2)).cumsum(axis=0).cumsum(axis=0)
    covered = []
    for _ in range(20):
        data = truth + rng.normal(0, sd, truth.shape)
        found = smooth_path(data, np.zeros_like(data), np.tile(np.eye(2) / sd**2, (80, 1, 1)))
        covered.append(np.abs(found.path - truth) < found.sd)
        assert np.square(found.path - truth).mean() < 0.35 * sd**2
    assert 0.6 < np.mean(covered) < 0.76


def test_how_much_a_path_bends_is_judged_by_the_marginal_likelihood() -> None:
    """A Gaussian integral: data d of information I, second differences D of standard deviation b, written out."""
    rng = np.random.default_rng(0)
    for blocks in (1, 2, 3, 4, 30):
        information, data = rng.uniform(0.1, 3, blocks), rng.normal(size=blocks)
        second = np.diff(np.eye(blocks), 2, axis=0)
        for bend in (0.01, 1.0):
            whole = np.diag(information) + second.T @ second / bend**2
            towards = information * data
            expected = 0.5 * towards @ np.linalg.solve(whole, towards) - 0.5 * np.linalg.slogdet(whole)[1]
            expected -= len(second) * np.log(bend)
            assert bend_evidence(information, towards, bend) == pytest.approx(expected, abs=1e-6)


def test_a_smoothed_picture_of_many_counts_is_the_scene() -> None:
    sensor = replace(binary_array(1), afterpulse_probability=0.0)
    blocks = counted(np.repeat(seen_along(drawn(1), REST[:1]), 64, axis=0), 0.2, sensor, 2, frames=512)
    seen = smoothed(blocks, np.zeros((64, 3)))
    light = seen_along(drawn(1), REST[:1])[0] * -np.log1p(-0.2)
    assert np.abs(at_rest(seen) - light)[4:-4, 4:-4].mean() < 0.15 * light.mean()


def test_counts_of_a_flow_are_gathered_along_it_and_those_at_rest_summed() -> None:
    still = counted(np.repeat(seen_along(drawn(1), REST[:1]), len(REST), axis=0), 0.1, binary_array(1), 1)
    lines = find_lines(still, (6, 2))
    assert lines.moving < 0.05
    assert (lines.last - lines.first == len(still)).mean() > 0.9
    flowing = counted(flow(5, 20), 0.1, binary_array(5), 1)
    lines = find_lines(flowing, (24, 2))
    middle = lines.velocity[0][:, 12:20]
    assert abs(np.median(middle[middle != 0]) - 19) < 3
    gathered = gather(flowing, lines)
    assert gathered.frames.max() <= flowing.frames.sum()
    truth = flow(5, 20)[63] * -np.log1p(-0.1)
    looked = gathered.frames > 0
    error = gathered.counts / np.maximum(gathered.frames, 1) - truth
    plain = flowing.counts.sum(axis=0) / flowing.frames.sum() - truth
    assert np.square(error[looked]).mean() < 0.5 * np.square(plain[looked]).mean()


def test_lines_are_those_of_the_array_or_of_the_scene_along_a_path_whichever_explain_more() -> None:
    """A flow that was taken for a path of the whole scene, and a scene of which nothing else moves."""
    flowing = counted(flow(5, 20), 0.1, binary_array(5), 1)
    assert not find_lines(flowing, (24, 2), drift(12, 0, 0)).along_path
    path = shake(8, 5)
    shaken = counted(seen_along(drawn(1), path), 0.1, binary_array(1), 2)
    lines = find_lines(shaken, (4, 4), path)
    assert lines.along_path
    assert lines.moving < 0.2
    light = seen_along(drawn(1), REST[:1])[0] * -np.log1p(-0.1)
    error = [
        np.square(each.counts / np.maximum(each.frames, 1) - light)[8:-8, 8:-8].mean()
        for each in (gather(shaken, lines, path), merge(shaken, REST))
    ]
    assert error[0] < 0.3 * error[1]


def cells(light: np.ndarray, frames: np.ndarray, seed: int) -> Merged:
    """Counts of an ideal binary array in cells (s H, s W), of the light of a frame that each of them saw."""
    rng, blank = np.random.default_rng(seed), torch.zeros(light.shape)
    counts = rng.binomial(frames, -np.expm1(-light))
    sensor = Sensor("ideal", blank + 0.5, blank, dead_time=0.0, counter_bits=1)
    return Merged(counts.astype(np.uint32), frames.astype(np.uint32), sensor, SECONDS, 4)


def test_detail_is_what_wieners_filter_makes_of_even_counts() -> None:
    """Where light, uncertainty and frames are even, the update is a filter of residuals, in closed form."""
    light, sd, frames = np.full((96, 80), 0.2), np.full((96, 80), 0.05), np.full((96, 80), 64)
    fine = cells(light, frames, 1)
    p = -np.expm1(-0.2)
    information, residual = 64 * (1 - p) / p, (fine.counts - 64 * p) / p  # of light, and the score
    y, x = np.fft.fftfreq(96)[:, None], np.fft.fftfreq(80)
    prior = np.exp(-1.9 * 4 * np.hypot(y, x))
    prior *= 1.25 * 0.05**2 / prior.mean()
    box = [0.25 + 0.5 * np.cos(2 * np.pi * each) + 0.25 * np.cos(4 * np.pi * each) for each in (y, x)]
    seen = box[0] * box[1]
    gain = prior * seen / (1 + prior * seen**2 * information)
    expected = np.fft.ifft2(gain * np.fft.fft2(residual)).real
    found = sharpened(light, sd, fine) - light
    inner = (slice(20, -20),) * 2
    assert np.abs(found - expected)[inner].max() < 0.03 * np.abs(expected).max()


def test_detail_finer_than_pixels_is_found_and_no_coarser_is_made_up() -> None:
    """Bars of 1.5 native pixels, of which the picture before shows nothing but an uncertainty."""
    columns = np.arange(160) + 0.5
    bars = np.broadcast_to(0.5 + 0.4 * np.cos(2 * np.pi * columns / 6), (160, 160)).astype(np.float32)
    scene = np.pad(bars, MARGIN, mode="wrap")
    path, sensor = shake(2, 3, 256), replace(binary_array(2, (40, 40)), pixel_mask=None)
    blocks = counted(seen_along(scene, path, (40, 40)), 0.2, sensor, 3)
    mean = 0.5 * -np.log1p(-0.2)
    found = sharpened(np.full((160, 160), mean), np.full((160, 160), 0.3 * mean), merge(blocks, path, 4))
    row = found[16:-16, 20:-20].mean(axis=0) / mean * 0.5

    def amplitude(period: float) -> float:
        wave = np.exp(2j * np.pi * columns[20:-20] / period)
        return float(2 * abs(((row - row.mean()) * wave).mean()) / 0.4)

    assert amplitude(6) > 0.35
    assert amplitude(12) < 0.1  # what pixels 4 wide take them for


def test_where_no_pixel_looked_no_detail_is_added() -> None:
    light = np.random.default_rng(0).uniform(0.1, 0.3, (48, 40))
    unseen = cells(light, np.zeros((48, 40), np.int64), 1)
    np.testing.assert_allclose(sharpened(light, 0.1 * light, unseen), light)
