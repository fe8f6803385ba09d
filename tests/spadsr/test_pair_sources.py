"""What a run learns from: photographs, drawn scenes, simulated sets; and what of them is kept to measure on."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_run import quiet, recipe, run, source_of

from noise_model.errors import InputError
from noise_model.sensor import Sensor
from simulate.dataset import SimulatedSet
from simulate.recipe import SimulationRecipe
from simulate.scenes import ProceduralScenes
from simulate.shards import SceneMaker
from spadsr.restoration.weights import load_restorer
from spadsr.training.scene_bank import SceneBank, trained_and_held_out


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of four photographs, of which two are tiny, and a corrupt one."""
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for name, shape in {"wide": (300, 400), "tiny": (3, 40), "pixel": (1, 1), "small": (100, 90)}.items():
        cv2.imwrite(str(folder / f"{name}.png"), rng.integers(0, 256, shape, np.uint8))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    return folder


def test_training_on_photographs_of_any_size_names_the_corrupt_one(tmp_path: Path, photos: Path) -> None:
    shares = "scale_shares={16: 1.0}"
    finished = run(tmp_path / "run", f"scenes.photos={photos}", "scenes.photo_share=1", "native=32", shares)
    assert finished.skipped == [photos / "broken.jpg"]
    assert load_restorer(finished.weights).provenance["recipe"]["scenes"]["photos"] == str(photos)


@pytest.mark.parametrize("kind", ["missing", "empty", "corrupt"])
def test_a_folder_without_photographs(tmp_path: Path, photos: Path, kind: str) -> None:
    folder = tmp_path / kind
    if kind != "missing":
        folder.mkdir()
    if kind == "corrupt":
        (photos / "broken.jpg").rename(folder / "broken.jpg")
    with pytest.raises(InputError, match=r"no such folder|no image|1 images that cannot be read") as caught:
        run(tmp_path / "run", f"scenes.photos={folder}")
    assert str(caught.value).startswith(str(folder))
    assert ("scenes.photos=FOLDER" in str(caught.value)) == (kind == "missing")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of four scenes, seen by 16 x 16 pixels."""
    folder = tmp_path_factory.mktemp("sets") / "set"
    small = {"shape": (16, 16), "bit_depths": (1, 4, 8), "white_detections": (0.1, 0.4)}
    settled = SimulationRecipe.load().model_copy(update=small)
    maker = SceneMaker(ProceduralScenes(1), settled, settled.sensor(Sensor.load("spc3")), 1)
    list(SimulatedSet(folder, maker, 4, 2).write())
    return folder


def test_training_on_a_simulated_set(tmp_path: Path, simulated: Path) -> None:
    finished = run(tmp_path / "run", f"simulated={simulated}")
    assert load_restorer(finished.weights).provenance["recipe"]["simulated"] == str(simulated)
    resumed = run(tmp_path / "parts", f"simulated={simulated}", "steps=3"), run(tmp_path / "parts", resume=True)
    assert load_restorer(resumed[1].weights).provenance["steps"] == 3


def test_pairs_of_a_simulated_set_fit_together(simulated: Path) -> None:
    settled = recipe(simulated=str(simulated))
    stored = source_of(settled)
    for seed in range(2):
        pair = stored.pair(settled, 4, seed, held_out=False)
        assert pair.counts.shape == (2, 16, 16)
        assert list(pair.targets) == [4, 2, 1]
        assert pair.targets[4].shape == (2, 64, 64)
        assert pair.model.sensor.pde.shape == (2, 16, 16)
    assert stored.validation().model.exposure.cycles == 16


def test_some_pairs_of_a_simulated_set_are_not_trained_on(simulated: Path) -> None:
    """Of four scenes two, with half of them held out; at two fluxes."""
    settled = recipe(simulated=str(simulated), held_out=0.5)
    stored = source_of(settled)
    drawn = [[stored.pair(settled, 4, seed, held_out=held_out) for seed in range(20)] for held_out in (False, True)]
    trained, held_out = ({hash(t.numpy().tobytes()) for pair in pairs for t in pair.targets[1]} for pairs in drawn)
    scenes, fluxes = 2, 2
    assert len(trained) == len(held_out) == scenes * fluxes
    assert not trained & held_out


#: Photographs alone, neither warped nor with other grey levels.
AS_THEY_ARE = {"photo_share": 1, "squared_share": 0, "negative_share": 0, "warped_share": 0, "drawn": 1}


def test_some_scenes_are_not_trained_on(tmp_path: Path) -> None:
    """Ten photographs, each of one grey."""
    for i in range(10):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((64, 64), 20 * i, np.uint8))
    settled = recipe(held_out=0.2, scenes={"photos": tmp_path, **AS_THEY_ARE})
    bank = SceneBank(settled.scenes, settled.held_out, 0, quiet)
    trained, held_out = (
        {
            round(255 * level) // 20
            for level in bank.crops(200, 32, torch.Generator(), held_out=held).mean((1, 2)).tolist()
        }
        for held in (False, True)
    )
    assert (trained, held_out) == ({1, 2, 3, 4, 6, 7, 8, 9}, {0, 5})


@pytest.mark.parametrize(("bits", "kind"), [(8, torch.uint8), (12, torch.float32)])
def test_photographs_keep_their_levels(tmp_path: Path, bits: int, kind: torch.dtype) -> None:
    ramp = np.rint(np.linspace(0, (1 << bits) - 1, 64 * 64)).reshape(64, 64)
    cv2.imwrite(str(tmp_path / "ramp.png"), ramp.astype(np.uint8 if bits == 8 else np.uint16))
    settled = recipe(scenes={"photos": tmp_path, **AS_THEY_ARE, "zooms": [1]})
    bank = SceneBank(settled.scenes, settled.held_out, 0, quiet)
    assert bank.trained.photos[0][0].dtype == kind
    crop = bank.crops(1, 64, torch.Generator(), held_out=False)
    assert len(torch.unique(crop)) == min(1 << bits, 64 * 64)
    assert crop.max() == 1


def test_drawn_scenes_are_not_measured_on_beside_photographs(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "even.png"), np.full((64, 64), 204, np.uint8))
    settled = recipe(scenes={"photos": tmp_path, **AS_THEY_ARE, "photo_share": 0.5, "drawn": 2})
    bank = SceneBank(settled.scenes, settled.held_out, 0, quiet)
    measured, trained = (bank.crops(100, 32, torch.Generator(), held_out=held) for held in (True, False))
    assert torch.equal(measured, torch.full_like(measured, 0.8))
    even = (trained == 0.8).flatten(1).all(dim=1)
    assert 30 < int(even.sum()) < 70  # of a hundred, each with a chance of one half


def steps_of(bank: SceneBank, *, held_out: bool) -> set[float]:
    """Grey levels between neighbouring pixels of crops, rounded to halves."""
    crops = 255 * bank.crops(60, 100, torch.Generator().manual_seed(0), held_out=held_out)
    steps = torch.stack([crops.diff(dim=dim).abs().mean(dim=(1, 2)) for dim in (1, 2)]).amax(dim=0)
    return set((2 * steps).round().div(2).tolist())


def test_photographs_are_seen_at_several_zooms(tmp_path: Path) -> None:
    """A ramp of one grey level a pixel: shrunk twice its steps are twice as steep, enlarged twice half as steep.

    Shrunk four times it is continued by its mirror image; shrunk eight times it is too small for a crop of 100.
    """
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    cv2.imwrite(str(tmp_path / "ramp.png"), ramp)
    scenes = {"photos": tmp_path, **AS_THEY_ARE, "zooms": (0.5, 1, 2, 4, 8)}
    bank = SceneBank(recipe(scenes=scenes).scenes, 0.05, 0, quiet)
    assert steps_of(bank, held_out=False) == {0.5, 1.0, 2.0, 4.0}
    assert steps_of(bank, held_out=True) == {2.0, 4.0}  # intervals are of fine detail


def test_photographs_are_warped(tmp_path: Path) -> None:
    """A slope: its direction in a crop says how far the photograph was turned, its steps how much shrunk."""
    rows, columns = np.mgrid[:256, :256]
    cv2.imwrite(str(tmp_path / "slope.png"), np.rint(columns / 2 + rows / 4).astype(np.uint8))
    scenes = {"photos": tmp_path, **AS_THEY_ARE, "zooms": [1], "warped_share": 1}
    crops = 255 * SceneBank(recipe(scenes=scenes).scenes, 0.05, 0, quiet).crops(
        200, 40, torch.Generator().manual_seed(0), held_out=False
    )
    middle = crops[:, 10:30, 10:30]
    down, across = (middle.diff(dim=dim).mean(dim=(1, 2)) for dim in (1, 2))
    steps, angles = torch.hypot(down, across), torch.atan2(down, across)
    plain = math.hypot(1 / 2, 1 / 4)
    whole = middle.diff(dim=1).std(dim=(1, 2)) < 1  # of some the mirrored edge is in the middle
    assert int(whole.sum()) > 150
    assert plain * 0.97 < steps[whole].min()
    assert steps[whole].max() < plain * 2**0.5 * 1.03
    assert torch.histc(angles[whole], 8, -math.pi, math.pi).min() > 5  # all directions, of 25 or so in each
    assert steps[whole].std() > 0.05 * plain


def test_warped_photographs_have_the_light_of_the_whole(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "even.png"), np.full((64, 64), 204, np.uint8))
    scenes = {"photos": tmp_path, **AS_THEY_ARE, "warped_share": 1, "negative_share": 0.5}
    crops = SceneBank(recipe(scenes=scenes).scenes, 0.05, 0, quiet).crops(
        100, 128, torch.Generator().manual_seed(0), held_out=False
    )
    negative = crops.flatten(1).amax(dim=1) < 0.5
    assert 30 < int(negative.sum()) < 70  # of a hundred, each with a chance of one half
    torch.testing.assert_close(crops[negative], torch.full_like(crops[negative], 0.2))
    torch.testing.assert_close(crops[~negative], torch.full_like(crops[~negative], 0.8))


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 2), (1, 4000)])
def test_photographs_of_a_pixel_or_a_line(tmp_path: Path, shape: tuple[int, int]) -> None:
    cv2.imwrite(str(tmp_path / "least.png"), np.full(shape, 204, np.uint8))
    scenes = {"photos": tmp_path, **AS_THEY_ARE, "warped_share": 1, "zooms": (0.7, 1, 4)}
    crops = SceneBank(recipe(scenes=scenes).scenes, 0.05, 0, quiet).crops(
        8, 64, torch.Generator().manual_seed(0), held_out=False
    )
    torch.testing.assert_close(crops, torch.full_like(crops, 0.8))


@pytest.mark.parametrize(("number", "share", "held_out"), [(1, 0.05, [0]), (5, 0.05, [0]), (41, 0.05, [0, 20, 40])])
def test_scenes_to_train_and_to_measure_on(number: int, share: float, held_out: list[int]) -> None:
    trained, measured = trained_and_held_out(number, share)
    assert measured == held_out
    assert trained == ([0] if number == 1 else [i for i in range(number) if i not in held_out])


def test_a_simulated_set_that_does_not_fit(tmp_path: Path, simulated: Path) -> None:
    with pytest.raises(InputError, match="captures of 16 x 16; training on 32 x 32 needs larger ones"):
        run(tmp_path / "run", f"simulated={simulated}", "native=32")
    with pytest.raises(InputError, match="not the manifest of a simulated set"):
        run(tmp_path / "run", f"simulated={tmp_path}")
    assert not (tmp_path / "run").exists()
