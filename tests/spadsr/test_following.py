"""Motion through the product: what is said of a scene that moves within a sum, and sums along its motion."""

import signal
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from command import Said
from hypothesis import given
from hypothesis import strategies as st
from moving_scenes import (
    FRAMES,
    SECONDS,
    SHAPE,
    binary_array,
    counted,
    crossing,
    drawn,
    drift,
    flow,
    seen_along,
    shake,
)

import spadsr as face
from hardware.captures.capture import Capture, open_capture
from hardware.captures.in_memory import capture_in_memory
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from noise_model.arrays import Floats, Picture
from noise_model.errors import InputError
from noise_model.interrupts import Interrupted
from noise_model.sensor import PLACES
from spadsr.motion.merging import merge
from spadsr.restoration.moving import change_of
from spadsr.restoration.recordings import restore_capture
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.weights import load_restorer

PARTS = 128
REST = drift(0, 0, 0)
MOVES = "the scene moves within the sum"


def in_memory(light: Picture, white: float, seed: int) -> Capture:
    counts = counted(light, white, binary_array(seed), seed).counts
    return capture_in_memory(Path("run.h5"), counts.astype(np.uint8), Settings(SECONDS, FRAMES), None)


def along(path: Floats, picture: int = 1) -> Picture:
    return seen_along(drawn(picture), path)


def still(seed: int) -> Picture:
    return np.repeat(along(REST[:1], seed), PARTS, axis=0)


def written(path: Path, *scenes: Picture, white: float = 0.1) -> Path:
    """A recording of scenes one after the other, each of 128 images."""
    with CaptureWriter(path, SHAPE, np.uint8, Settings(SECONDS, FRAMES)) as writer:
        for seed, light in enumerate(scenes):
            writer.append(counted(light, white, binary_array(1), seed).counts.astype(np.uint8))
    return path


@pytest.fixture
def restorer(small_weights: Path) -> Restorer:
    return load_restorer(small_weights)


@pytest.fixture
def shaken(tmp_path: Path) -> Path:
    return written(tmp_path / "run.h5", along(shake(4, 5)), along(shake(4, 6)))


def test_fifty_scenes_at_rest_give_no_warning() -> None:
    for seed in range(50):
        white = (0.02, 0.06, 0.2)[seed % 3]
        change = change_of(in_memory(still(seed), white, seed).summed(PARTS), 0)
        assert not change.moves, (seed, change)


@pytest.mark.parametrize("images", [4, 16, 64])
def test_short_sums_at_rest_give_no_warning_either(images: int) -> None:
    for seed in range(10):
        summed = in_memory(still(seed), 0.1, seed).summed(images)
        moves = [change_of(summed, image).moves for image in range(min(summed.shape[0], 8))]
        assert not any(moves), seed


@pytest.mark.parametrize("kind", ["shake", "object", "discs"])
def test_restoring_says_that_the_scene_moves(kind: str, restorer: Restorer) -> None:
    light = along(shake(2, 0)) if kind == "shake" else crossing(drawn(1), 12) if kind == "object" else flow(2, 20)
    restored = face.restore(in_memory(light, 0.05, 1), sum=PARTS, weights=restorer, scale=1)
    [said] = [line for line in restored.warnings if MOVES in line]
    assert "standard errors above chance" in said
    assert restored.motion[0].change.moves


def test_scenes_at_rest_are_restored_without_a_word_and_as_ever(restorer: Restorer) -> None:
    capture = in_memory(still(1), 0.1, 1)
    plain, followed = (
        face.restore(capture, sum=PARTS, weights=restorer, scale=2, motion=motion) for motion in ("none", "auto")
    )
    assert not [line for line in (*plain.warnings, *followed.warnings) if "moves" in line]
    np.testing.assert_allclose(followed.rate, plain.rate, rtol=1e-5, atol=1e-4 * plain.rate.max())
    assert followed.motion[0].followed == "none"


def test_images_that_are_no_sums_say_nothing_of_motion(restorer: Restorer) -> None:
    restored = face.restore(in_memory(along(shake(4, 5)), 0.1, 1), weights=restorer, scale=1)
    assert restored.motion == ()
    assert not [line for line in restored.warnings if MOVES in line]


def test_a_shaken_scene_is_restored_along_its_path(restorer: Restorer) -> None:
    path = shake(4, 5)
    capture = in_memory(along(path), 0.1, 1)
    followed = face.restore(capture, sum=PARTS, weights=restorer, scale=1, motion="auto")
    [motion] = followed.motion
    assert motion.followed == "rigid"
    assert np.sqrt(np.square(motion.path.poses - path)[:, :2].mean()) < 0.15
    assert motion.verdict is not None
    assert motion.verdict.chi_squared_still > 1.1 > motion.verdict.chi_squared
    assert not [line for line in followed.warnings if MOVES in line]
    assert followed.cycles is not None
    assert followed.counts is not None
    assert 0 < followed.cycles.min() < followed.cycles.max() <= PARTS * FRAMES
    truth = -np.log1p(-0.1) * along(REST[:1])[0] * FRAMES * PARTS
    exact = followed.counts * (FRAMES * PARTS / followed.cycles)
    plain = capture.read(0, PARTS).sum(axis=0)
    inner = slice(6, -6), slice(6, -6)
    assert np.square(exact - truth)[inner].mean() < 0.5 * np.square(plain - truth)[inner].mean()


def test_uncertainties_along_a_path_are_as_much_wider_as_was_measured() -> None:
    cells = merge(counted(along(shake(4, 5)), 0.1, binary_array(1), 1), shake(4, 5), PLACES)
    counts, restorer = torch.from_numpy(cells.counts.astype(np.int64))[None], load_restorer("base")
    for scale in (1, 4):
        stated, wide = (each(counts, cells.model, scale)[1] for each in (restorer.network_answer, restorer.answer))
        ordinary = wide / stated < 2  # others are hot
        assert ordinary.double().mean() > 0.97
        np.testing.assert_allclose((wide / stated)[ordinary], 1.1, rtol=1e-3)


def test_detail_finer_than_pixels_is_restored_where_the_array_moved() -> None:
    """Bars of 1.75 pixels, of which an array at rest sees wider ones that are not there."""
    path, size = shake(4, 5), drawn(0).shape
    bars = np.broadcast_to(np.float32(0.5 + 0.4 * np.sin(2 * np.pi * np.arange(size[1]) / 7)), size).copy()
    restorer = load_restorer("base")
    contrast = []
    for poses in (path, REST):
        cells = merge(counted(seen_along(bars, poses), 0.2, binary_array(1), 1), poses, PLACES if poses is path else 1)
        rate, _, _ = restorer.answer(torch.from_numpy(cells.counts.astype(np.int64))[None], cells.model, 4)
        lines = rate[0, 20:-20].mean(dim=0).numpy()[16:-16]
        wave = np.exp(-2j * np.pi * np.arange(len(lines)) / 7)
        contrast.append(2 * abs((lines * wave).mean()) / lines.mean() / 0.8)
    moved, rest = contrast
    assert moved > 0.4
    assert moved > 1.5 * rest


def test_parts_that_move_by_themselves_are_followed(restorer: Restorer) -> None:
    restored = face.restore(in_memory(flow(5, 20), 0.1, 1), sum=PARTS, weights=restorer, scale=1, motion="auto")
    [motion] = restored.motion
    assert motion.followed == "local"
    assert motion.velocity is not None
    assert 5 < motion.velocity[0].max() < 25
    assert any("followed by themselves" in line for line in restored.warnings)


def test_the_result_file_holds_what_was_followed(
    shaken: Path, small_weights: Path, spadsr: Callable[..., Said]
) -> None:
    said = spadsr("infer", shaken, "--sum", PARTS, "--motion", "rigid", "--weights", small_weights)
    assert said.code == 0, said.err
    result = shaken.with_name("run.sr.h5")
    with face.read_result(result) as read, open_capture(shaken) as capture:
        both = list(face.restore_all(capture, sum=PARTS, motion="rigid", weights=small_weights))
        for one, other in zip(read, both, strict=True):
            [found], [expected] = one.motion, other.motion
            assert found.verdict is not None
            assert expected.verdict is not None
            for name in ("poses", "sd"):
                np.testing.assert_array_equal(getattr(found.path, name), getattr(expected.path, name))
            for name in ("gain", "chi_squared_still", "chi_squared", "unknown", "used", "repeats", "hot"):
                np.testing.assert_array_equal(getattr(found.verdict, name), getattr(expected.verdict, name))
            assert (found.followed, found.change) == ("rigid", expected.change)
            assert found.sentences() == expected.sentences()
            np.testing.assert_array_equal(one.check.chi_squared, other.check.chi_squared)
            np.testing.assert_array_equal(one.cycles, other.cycles)
            np.testing.assert_array_equal(one.counts, other.counts)
    with h5py.File(result) as file:
        shift = file["/entry/process/motion/shift"]
        assert shift.shape == (2, PARTS, 2)
        assert "native pixels" in str(shift.attrs["long_name"])


@pytest.mark.parametrize("motion", ["rigid", "auto"])
def test_a_merged_recording_is_restored_as_the_one_it_was_made_from(
    shaken: Path, small_weights: Path, spadsr: Callable[..., Said], motion: str
) -> None:
    merged = shaken.with_name("merged.h5")
    said = spadsr("merge", shaken, "-o", merged, "--sum", PARTS, "--motion", motion)
    assert said.code == 0, said.err
    words = " ".join(spadsr("info", merged).out.split())
    assert "motion_followed 2 rigid of 2 images, over up to 4" in words
    assert "places counts of 4 x 4 places" in words
    for source, more in ((merged, ()), (shaken, ("--sum", PARTS, "--motion", motion))):
        assert spadsr("infer", source, "--weights", small_weights, *more).code == 0
    with (
        face.read_result(shaken.with_name("merged.sr.h5")) as one,
        face.read_result(shaken.with_name("run.sr.h5")) as two,
    ):
        np.testing.assert_allclose(one.read(0, 2).rate, two.read(0, 2).rate, rtol=1e-5)
    table = np.loadtxt(shaken.with_name("merged.path.csv"), delimiter=",", skiprows=1)
    assert table.shape == (2 * PARTS, 10)
    off = table[:PARTS, 3:5] - shake(4, 5)[:, :2]
    assert np.sqrt(np.square(off).mean()) < 0.15


def test_scenes_at_rest_and_in_motion_in_one_merged_recording(
    tmp_path: Path, small_weights: Path, spadsr: Callable[..., Said]
) -> None:
    """The sum at rest is restored as ever, though counts of the other are kept apart by their places."""
    path = written(tmp_path / "run.h5", along(shake(4, 5)), still(1))
    assert spadsr("merge", path, "-o", tmp_path / "merged.h5", "--sum", PARTS).code == 0
    assert spadsr("infer", tmp_path / "merged.h5", "--float32", "--weights", small_weights).code == 0
    with face.open(path) as capture, face.read_result(tmp_path / "merged.sr.h5") as result:
        plain = face.restore(capture, sum=PARTS, image=1, weights=small_weights)
        np.testing.assert_allclose(result[1].rate, plain.rate, rtol=1e-4, atol=1e-4 * plain.rate.max())


def test_a_film_of_sums_that_overlap(shaken: Path, spadsr: Callable[..., Said]) -> None:
    with face.open(shaken) as capture:
        film = capture.summed(PARTS, 32)
        assert film.shape[0] == 5
        np.testing.assert_array_equal(film.read(1, 2)[0], capture.read(32, 160).sum(axis=0))
        assert not film.assumptions
    said = spadsr("infer", shaken, "-o", shaken.with_name("a.tif"), "--sum", 128, "--every", 64, "--scale", 1)
    assert said.code == 0, said.err
    assert "3 images" in said.out


def test_what_was_followed_is_gone_on_from(
    shaken: Path, restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spadsr.restoration.moving._MOST_AT_ONCE", 1)  # so that 100 hundredths are those of one image

    def report(done: int, total: int) -> None:
        assert total == 200
        if done == 100:
            signal.raise_signal(signal.SIGINT)

    def restore(name: str, progress: Callable[[int, int], None]) -> Path:
        with open_capture(shaken) as capture:
            summed = capture.summed(PARTS)
            return restore_capture(summed, restorer, 1, None, tmp_path / name, progress, motion="rigid").result

    with pytest.raises(Interrupted, match="stopped after 1 of 2 images"):
        restore("part.h5", report)
    whole, part = restore("whole.h5", lambda done, total: None), restore("part.h5", lambda done, total: None)
    with face.read_result(whole) as one, face.read_result(part) as other:
        np.testing.assert_array_equal(one.read(0, 2).rate, other.read(0, 2).rate)
        assert one.warnings == other.warnings


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("infer", "run.h5", "--motion", "auto"), "expected sums of many images"),
        (("infer", "run.h5", "--motion", "zoom", "--sum", 128), "expected one of none, shift, rigid, local, auto"),
        (("infer", "run.h5", "--motion", "rigid", "--sum", 4), "expected 8 or more to follow a motion"),
        (("infer", "run.h5", "--sum", 128, "--every", 0), "expected 1 or more images (--every)"),
        (("merge", "run.h5", "-o", "a.tif", "--sum", 128), "merged recordings are written as .h5"),
        (("merge", "run.h5", "-o", "run.h5", "--sum", 128), "is the recording itself"),
        (("merge", "run.h5", "-o", "a.h5", "--sum", 300), "no group of 300 scene images"),
        (("merge", "run.h5", "-o", "other.h5", "--sum", 128), "merging replaces nothing"),
    ],
)
def test_what_cannot_be_followed(
    shaken: Path, spadsr: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...], said: str
) -> None:
    monkeypatch.chdir(shaken.parent)
    shaken.with_name("other.h5").touch()
    answer = spadsr(*arguments)
    assert answer.code == 2
    assert said in " ".join(answer.err.split())
    assert not shaken.with_name("a.h5").exists()


def test_a_merged_recording_is_not_merged_again_nor_given_maps(shaken: Path, spadsr: Callable[..., Said]) -> None:
    merged = shaken.with_name("merged.h5")
    assert spadsr("merge", shaken, "-o", merged, "--sum", PARTS).code == 0
    said = spadsr("infer", merged, "--sum", 2, "--motion", "rigid")
    assert "it is merged already" in said.err
    with pytest.raises(InputError, match="maps of a calibrated sensor do not fit"):
        face.restore(face.open(merged), sensor=binary_array(1))


@pytest.mark.parametrize("shape", [(1, 64), (1, 1), (2, 3), (7, 9)])
def test_arrays_too_small_to_follow_a_motion_are_summed(restorer: Restorer, shape: tuple[int, int]) -> None:
    counts = np.random.default_rng(0).binomial(FRAMES, 0.2, (16, *shape)).astype(np.uint8)
    capture = capture_in_memory(Path("run.h5"), counts, Settings(SECONDS, FRAMES), None)
    plain, followed = (
        face.restore(capture, sum=16, motion=motion, weights=restorer, scale=1) for motion in ("none", "auto")
    )
    np.testing.assert_array_equal(plain.counts, counts.sum(axis=0))
    np.testing.assert_allclose(followed.rate, plain.rate, rtol=1e-4, atol=1e-4 * plain.rate.max())
    with pytest.raises(InputError, match="expected 8 or more a side to follow a motion"):
        face.restore(capture, sum=16, motion="rigid", weights=restorer)


def test_sums_of_too_few_images_to_follow_are_summed_and_said_to_move(restorer: Restorer) -> None:
    """What only `auto` would follow does not end a run halfway through its images."""
    counts = np.zeros((8, 16, 16), np.uint8)
    counts[:4], counts[4:6, :, :8], counts[6:, :, 8:] = 3, FRAMES // 2, FRAMES // 2  # still, then moved
    capture = capture_in_memory(Path("run.h5"), counts, Settings(SECONDS, FRAMES), None)
    still, moved = face.restore_all(capture, sum=4, motion="auto", weights=restorer, scale=1)
    assert (still.motion[0].change.moves, moved.motion[0].change.moves) == (False, True)
    np.testing.assert_array_equal(moved.counts, counts[4:].sum(axis=0))


@pytest.mark.parametrize("motion", ["shift", "rigid", "local"])
@pytest.mark.parametrize("number", [0, FRAMES])
def test_where_counts_say_nothing_no_motion_is_found(restorer: Restorer, motion: str, number: int) -> None:
    """Nothing was counted, or all pixels are saturated."""
    counts = np.full((16, 12, 10), number, np.uint8)
    capture = capture_in_memory(Path("run.h5"), counts, Settings(SECONDS, FRAMES), None)
    restored = face.restore(capture, sum=16, motion=motion, weights=restorer, scale=1)
    assert not restored.motion[0].path.poses.any()
    np.testing.assert_array_equal(restored.counts, counts.sum(axis=0))


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 50), st.integers(1, 7))
def test_parts_add_up_to_their_sum(group: int, every: int, most: int, slab: int) -> None:
    counts = np.arange(60 * 4, dtype=np.uint8).reshape(60, 2, 2)
    capture = capture_in_memory(Path("a.h5"), counts, Settings(SECONDS, 256), None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hardware.captures.capture.BLOCK_BYTES", 4 * slab)
        summed = capture.summed(group, every)
    for image in range(summed.shape[0]):
        parts, images = summed.parts(image, most)
        if group > 1:
            assert len(parts) == len(images) == min(most, group)
        assert images.sum() == group
        edges = np.append(0, np.cumsum(images)) + image * every
        for part, start, stop in zip(parts, edges, edges[1:], strict=False):
            np.testing.assert_array_equal(part, counts[start:stop].sum(axis=0, dtype=np.uint32))
        np.testing.assert_array_equal(parts.sum(axis=0), summed.read(image, image + 1)[0])
