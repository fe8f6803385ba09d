"""Simulated sets: what is in them, the same bytes however they came about, and reading them back."""

import hashlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
import yaml
from torch.utils.data import DataLoader

from noise_model.errors import InputError
from noise_model.files import MARGIN
from noise_model.forward_model import ForwardModel
from noise_model.sensor import USER, Sensor
from simulate.dataset import PairDataset, SimulatedSet, joined, verify_set
from simulate.recipe import SCALES, SimulationRecipe
from simulate.scenes import ProceduralScenes
from simulate.shards import SceneMaker

SHAPE, DEPTHS, WHITE = (8, 4), (1, 4, 10), (0.1, 0.4)


def small_set(folder: Path, scenes: int = 6, per_shard: int = 2, seed: int = 5, **changes: object) -> SimulatedSet:
    recipe = SimulationRecipe.load().model_copy(
        update={"shape": SHAPE, "bit_depths": DEPTHS, "white_detections": WHITE} | changes
    )
    maker = SceneMaker(ProceduralScenes(seed), recipe, recipe.sensor(Sensor.load("spc3")), seed)
    return SimulatedSet(folder, maker, scenes, per_shard)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimulatedSet:
    made = small_set(tmp_path_factory.mktemp("sets") / "made", scenes=30, per_shard=8)
    assert list(made.write())[-1] == 30
    return made


def shards(made: SimulatedSet) -> Iterator[h5py.File]:
    for path in sorted(made.folder.glob("shard-*.h5")):
        with h5py.File(path) as file:
            yield file


def test_progress_counts_every_scene(tmp_path: Path) -> None:
    assert list(small_set(tmp_path / "set").write()) == list(range(7))


def test_a_set_is_written_by_one_process(tmp_path: Path) -> None:
    first = small_set(tmp_path / "set").write()
    next(first)
    with pytest.raises(InputError, match="in use by process"):
        next(small_set(tmp_path / "set").write(resume=True))
    assert list(first)[-1] == 6
    assert {path.name for path in (tmp_path / "set").iterdir()} == {
        "set.yaml",
        "scenes.sha256",
        *(f"shard-0000{i}.h5" for i in range(3)),
    }


def test_attributes_of_other_types_are_refused(tmp_path: Path) -> None:
    """HDF5 itself crashes over some of them where they are damaged."""
    list(small_set(tmp_path / "set", scenes=1).write())
    with h5py.File(tmp_path / "set" / "shard-00000.h5", "r+") as file:
        lists = np.empty(1, object)
        lists[0] = np.ones(3, np.uint8)
        file["sensor"].attrs.create("source", lists, dtype=h5py.vlen_dtype(np.uint8))
    with pytest.raises(InputError, match="attribute source of /sensor is damaged"):
        PairDataset(tmp_path / "set", 4)


def test_layout_of_a_shard(made: SimulatedSet) -> None:
    files = list(shards(made))
    assert len(files) == 4
    with h5py.File(made.folder / "shard-00001.h5") as file:
        assert file.attrs["kind"] == "spadsr pairs"
        assert file.attrs["seed"] == 5
        assert file.attrs["scenes"] == "procedural"
        assert file.attrs["first_scene"] == 8
        assert file["counts"].dtype == np.uint16
        assert file["counts"].shape == (8, len(WHITE), len(DEPTHS), *SHAPE)
        assert file["exposure"].attrs["count_time"] == 20e-9
        assert file["exposure/cycles"][()].tolist() == [2, 16, 1024]
        assert file["exposure/white_rate"][()] == pytest.approx([5e6, 2e7])
        assert {"pde", "dark_count_rate", "crosstalk"} <= set(file["sensor"])
        for scale in (4, 16):
            assert file[f"targets/x{scale}"].shape == (8, scale * SHAPE[0], scale * SHAPE[1])


def test_targets_are_block_means_of_the_largest(made: SimulatedSet) -> None:
    for file in shards(made):
        scene = file["targets/x16"][()].astype(np.float64)
        means = scene.reshape(len(scene), 4 * SHAPE[0], 4, 4 * SHAPE[1], 4).mean(axis=(2, 4))
        assert file["targets/x4"][()] == pytest.approx(means, rel=2**-11 + 1e-6, abs=2**-24)


@pytest.mark.parametrize("scale", SCALES)
def test_targets_that_are_not_stored_are_block_means_of_the_next_that_is(made: SimulatedSet, scale: int) -> None:
    targets = PairDataset(made.folder, scale)[7].targets
    with h5py.File(made.folder / "shard-00000.h5") as file:
        stored = {each: file[f"targets/x{each}"][7].astype(np.float64) for each in (4, 16)}
        white = file["exposure/white_rate"][0]
    assert list(targets) == [each for each in SCALES[::-1] if each <= scale]
    for each, target in targets.items():
        source = 4 if each <= 4 else 16
        side = source // each
        means = stored[source].reshape(each * SHAPE[0], side, each * SHAPE[1], side).mean(axis=(1, 3))
        assert target[0].numpy() == pytest.approx(white * means, rel=1e-6)


def test_counts_are_within_saturation(made: SimulatedSet) -> None:
    for file in shards(made):
        cycles = file["exposure/cycles"][()]
        assert (file["counts"][()] <= cycles[:, None, None]).all()


def test_mean_counts_are_those_expected(made: SimulatedSet) -> None:
    """For each flux and bit depth the sum over all scenes is within 4.5 standard deviations: one false alarm in 2e4
    runs. The variance is bounded by that of a binomial law with the excess of afterpulsing and crosstalk."""
    sensor = made.maker.sensor
    for f, white in enumerate(made.maker.recipe.white_rates):
        for b, exposure in enumerate(made.maker.recipe.exposures):
            total, mean, variance = 0.0, 0.0, 0.0
            for file in shards(made):
                flux = torch.from_numpy(file["targets/x16"][()].astype(np.float32))
                native = flux.reshape(len(flux), SHAPE[0], 16, SHAPE[1], 16).mean(dim=(2, 4))
                expected = ForwardModel(sensor, exposure).expected_counts(native * white).double()
                total += float(file["counts"][:, f, b].sum())
                mean += float(expected.sum())
                variance += float((expected * (1 - expected / exposure.cycles)).sum()) * 1.03
            assert abs(total - mean) < 4.5 * variance**0.5, (f, b)


def test_counts_of_a_counting_sensor_can_exceed_16_bits(tmp_path: Path) -> None:
    made = small_set(tmp_path / "set", scenes=1, count_time=10.4e-6, white_detections=(100.0,))
    list(made.write())
    with h5py.File(made.folder / "shard-00000.h5") as file:
        assert file["counts"].dtype == np.uint32
        assert file["counts"][0, 0, -1].max() > 1024


def test_equal_options_give_equal_bytes_and_another_seed_other_counts(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        list(small_set(tmp_path / name, scenes=2, seed=seed).write())
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert a["shard-00000.h5"] != c["shard-00000.h5"]


def test_bytes_do_not_depend_on_when_a_set_was_made(tmp_path: Path) -> None:
    list(small_set(tmp_path / "now", scenes=2).write())
    time.sleep(1.1)  # HDF5 time stamps count seconds
    list(small_set(tmp_path / "later", scenes=2).write())
    assert contents(tmp_path / "now") == contents(tmp_path / "later")


def test_a_closed_iterator_leaves_whole_shards_and_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    list(small_set(tmp_path / "whole").write())
    steps = small_set(tmp_path / "parts").write()
    for done in steps:
        if done == 3:
            steps.close()  # type: ignore[attr-defined]
            break
    assert set(contents(tmp_path / "parts")) == {"set.yaml", "shard-00000.h5"}
    assert list(small_set(tmp_path / "parts").write(resume=True)) == [2, 3, 4, 5, 6]
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


_LONG_RUN = """
import sys
from pathlib import Path
from tests.simulate.test_dataset import small_set
from contextlib import nullcontext
from noise_model.executors import local_processes
workers = int(sys.argv[2])
with nullcontext() if workers == 1 else local_processes(workers) as executor:
    for done in small_set(Path(sys.argv[1]), scenes=400).write(executor=executor):
        pass
"""


def wait_for_end(group: int) -> None:
    """Waits until no process of a group is left, not even as an entry in the system's table."""
    for _ in range(1000):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise AssertionError(f"processes of group {group} do not end")


@pytest.mark.parametrize(("workers", "how"), [(1, signal.SIGKILL), (2, signal.SIGKILL), (2, signal.SIGINT)])
def test_an_interrupted_process_leaves_whole_shards(tmp_path: Path, workers: int, how: signal.Signals) -> None:
    folder = tmp_path / "set"
    command = [sys.executable, "-c", _LONG_RUN, str(folder), str(workers)]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        while len(list(folder.glob("shard-*.h5"))) < 3:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        if how == signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does, workers included
        else:
            process.kill()
        _, errors = process.communicate()  # returns once the workers have ended, too
    wait_for_end(process.pid)
    finished = len(list(folder.glob("shard-*.h5")))
    assert 3 <= finished < 200
    if how == signal.SIGINT:
        assert not list(folder.glob(".*"))
        assert errors.count(b"Traceback") == 1  # its own, for the caller; none from the workers
    steps = small_set(folder, scenes=400).write(resume=True)
    assert next(steps) == 2 * finished
    assert next(steps) == 2 * finished + 1  # what was left is removed by who writes
    steps.close()  # type: ignore[attr-defined]
    assert not list(folder.glob(".*"))
    names = sorted(path.name for path in folder.glob("shard-*.h5"))[:3]  # workers are not equally fast
    list(small_set(tmp_path / "whole", scenes=2 * int(names[-1][6:11]) + 2).write())
    interrupted, whole = contents(folder), contents(tmp_path / "whole")
    assert [interrupted[name] for name in names] == [whole[name] for name in names]


def test_parts_are_the_set_together(tmp_path: Path) -> None:
    """In any order, and at once; each counts its own scenes."""
    whole = small_set(tmp_path / "whole", scenes=15)
    list(whole.write())
    parts = small_set(tmp_path / "parts", scenes=15)
    first, second = parts.write(part=(3, 3)), parts.write(part=(1, 3))
    assert (next(first), next(second)) == (0, 0)
    assert list(second) == [1, 2, 3, 4, 5, 6]
    assert list(parts.write(part=(2, 3)))[-1] == 5
    assert not (parts.folder / "scenes.sha256").exists()
    assert list(first) == [1, 2, 3, 4]
    assert [parts.scenes_of((part, 3)) for part in (1, 2, 3)] == [6, 5, 4]
    assert contents(parts.folder) == contents(whole.folder)
    assert list(parts.write(part=(3, 3))) == [4]  # again: there is nothing left to do


def test_one_part_is_written_by_one_process(tmp_path: Path) -> None:
    steps = small_set(tmp_path / "set").write(part=(1, 2))
    next(steps)
    with pytest.raises(InputError, match="in use by process"):
        next(small_set(tmp_path / "set").write(part=(1, 2)))


def test_a_set_grows(tmp_path: Path) -> None:
    """What is there stays, but for a last shard with fewer scenes than it has now."""
    list(small_set(tmp_path / "set", scenes=5).write())
    before = contents(tmp_path / "set")
    list(small_set(tmp_path / "set", scenes=9).write(resume=True))
    list(small_set(tmp_path / "whole", scenes=9).write())
    after = contents(tmp_path / "set")
    assert after == contents(tmp_path / "whole")
    assert [after[name] == before[name] for name in ("shard-00000.h5", "shard-00001.h5", "shard-00002.h5")] == [
        True,
        True,
        False,
    ]


def test_a_set_is_verified(tmp_path: Path) -> None:
    made = small_set(tmp_path / "set", scenes=8)
    list(made.write())
    told: list[tuple[int, int]] = []
    assert verify_set(made.folder, lambda done, total: told.append((done, total))) == []
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with h5py.File(made.folder / "shard-00001.h5", "r+") as file:
        file["targets/x4"][1, 0, 0] += 1
    (made.folder / "shard-00002.h5").unlink()
    (made.folder / "shard-00003.h5").write_bytes(b"no HDF5")
    wrong = verify_set(made.folder)
    assert [message.replace(f"{made.folder}/", "") for message in wrong] == [
        "shard-00001.h5: scene 3 is not as listed in scenes.sha256",
        "shard-00002.h5: not a whole shard of a simulated set; resume the simulation of the set",
        "shard-00003.h5: not a whole shard of a simulated set; resume the simulation of the set",
    ]
    (made.folder / "scenes.sha256").unlink()
    with pytest.raises(InputError, match="no list of 8 checksums"):
        verify_set(made.folder)
    with pytest.raises(InputError, match="not the manifest"):
        verify_set(tmp_path)


def test_checksums_are_of_contents_and_not_of_bytes(tmp_path: Path) -> None:
    """Those of the arrays as any library reads them, whatever their compression."""
    made = small_set(tmp_path / "set", scenes=2)
    list(made.write())
    with h5py.File(made.folder / "shard-00000.h5") as file:
        digest = hashlib.sha256()
        for name, place in (("counts", "counts"), ("x4", "targets/x4"), ("x16", "targets/x16")):
            values = file[place][1]
            digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode() + values.tobytes())
    assert (made.folder / "scenes.sha256").read_text().split()[1] == digest.hexdigest()


def test_a_damaged_shard_is_made_again(tmp_path: Path) -> None:
    made = small_set(tmp_path / "set")
    list(made.write())
    before = contents(made.folder)
    (made.folder / "shard-00001.h5").write_bytes(before["shard-00001.h5"][:500])
    assert next(made.write(resume=True)) == 4
    list(made.write(resume=True))
    assert contents(made.folder) == before


def test_a_set_is_not_overwritten(made: SimulatedSet) -> None:
    with pytest.raises(InputError, match="resume it, or choose another folder") as caught:
        next(made.write())
    assert caught.value.arguments == ("resume", "output")


@pytest.mark.parametrize(
    ("other", "name"),
    [({"scenes": 29}, "scenes"), ({"seed": 6}, "seed"), ({"count_time": 1e-8}, "recipe"), ({"per_shard": 9}, "shard")],
)
def test_a_set_made_otherwise_is_not_resumed(made: SimulatedSet, other: dict[str, object], name: str) -> None:
    options: dict[str, object] = {"scenes": 30, "per_shard": 8} | other
    with pytest.raises(InputError, match=f"set.yaml: {name}|set.yaml: scenes_per_{name}"):
        next(small_set(made.folder, **options).write(resume=True))  # type: ignore[arg-type]


def test_a_set_of_another_sensor_is_not_resumed(made: SimulatedSet) -> None:
    noisier = replace(made.maker.sensor, dark_count_rate=made.maker.sensor.dark_count_rate + 1)
    with pytest.raises(InputError, match=r"set\.yaml: sensor"):
        next(replace(made, maker=replace(made.maker, sensor=noisier)).write(resume=True))


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        next(small_set(tmp_path / "file" / "set").write())


def test_a_set_that_cannot_fit_ends_after_its_first_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=MARGIN + 100))
    with pytest.raises(InputError, match=r"needs [\d.]+ [kM]B, and its disk has"):
        list(small_set(tmp_path / "set", scenes=30, per_shard=8).write())
    assert [path.name for path in sorted((tmp_path / "set").iterdir())] == ["set.yaml", "shard-00000.h5"]


@pytest.mark.parametrize("scale", SCALES)
def test_pairs_are_what_was_stored(made: SimulatedSet, scale: int) -> None:
    pairs = PairDataset(made.folder, scale)
    assert len(pairs) == 30 * len(WHITE) * len(DEPTHS)
    item = (2 * len(WHITE) + 1) * 30 + 17  # third bit depth, second flux, scene 17: row 1 of the third shard
    pair = pairs[item]
    assert pair.model.exposure.cycles == 1024
    assert list(pair.targets) == [s for s in reversed(SCALES) if s <= scale]
    with h5py.File(made.folder / "shard-00002.h5") as file:
        assert np.array_equal(pair.counts[0].numpy(), file["counts"][1, 1, 2])
    assert pair.model.sensor.pde.shape == (1, *SHAPE)
    assert torch.equal(pair.model.sensor.pde[0], made.maker.sensor.pde)
    assert pair.model.sensor.binary


def test_items_beyond_the_end_are_refused(made: SimulatedSet) -> None:
    pairs = PairDataset(made.folder, 1)
    with pytest.raises(IndexError):
        pairs[len(pairs)]
    assert sum(1 for _ in pairs) == len(pairs)


def test_batches_have_one_exposure_and_cover_the_set_once(made: SimulatedSet) -> None:
    pairs = PairDataset(made.folder, 2)
    batches = pairs.batches(7, torch.Generator().manual_seed(0))
    assert sorted(item for batch in batches for item in batch) == list(range(len(pairs)))
    assert batches != pairs.batches(7, torch.Generator().manual_seed(1))
    loader = DataLoader(pairs, batch_sampler=batches, collate_fn=joined)
    for batch, pair in zip(batches, loader, strict=True):
        assert pair.counts.shape == (len(batch), *SHAPE)
        assert pair.targets[2].shape == (len(batch), 2 * SHAPE[0], 2 * SHAPE[1])
        assert pair.model.sensor.pde.shape == (len(batch), *SHAPE)


def test_batches_keep_to_some_shards_at_a_time(tmp_path: Path) -> None:
    """So that an epoch opens each file about once."""
    made = small_set(tmp_path / "set", scenes=40, per_shard=1)
    list(made.write())
    pairs = PairDataset(made.folder, 1)
    items = [item % 40 for batch in pairs.batches(8, torch.Generator().manual_seed(0)) for item in batch]
    groups = [set(part) for part in np.split(np.array(items), [16 * 6, 32 * 6])]
    assert [len(group) for group in groups] == [16, 16, 8]
    assert set.union(*groups) == set(range(40))


def test_files_stay_open_and_each_process_has_its_own(made: SimulatedSet) -> None:
    pairs = PairDataset(made.folder, 4)
    first = pairs[3]
    elsewhere = list(DataLoader(pairs, sampler=[3, 29], collate_fn=joined, num_workers=2))  # forked
    copied = pickle.loads(pickle.dumps(pairs))
    for pair in (elsewhere[0], copied[3]):
        assert torch.equal(pair.counts, first.counts)
        assert torch.equal(pair.targets[4], first.targets[4])


def test_finer_arrays_count_what_they_see_of_the_same_scene(made: SimulatedSet) -> None:
    """The same counts each time, and on average those expected: within 4.5 standard deviations."""
    finer = PairDataset(made.folder, 4, finer=4)
    item = finer.item(2, 1, 17)
    pair, scene = finer[item], PairDataset(made.folder, 16)[item]
    assert torch.equal(pair.counts, finer[item].counts)
    assert pair.counts.shape == (1, 4 * SHAPE[0], 4 * SHAPE[1])
    assert list(pair.targets) == [4, 2, 1]
    assert torch.equal(pair.targets[4], scene.targets[16])
    assert torch.equal(pair.model.sensor.pde[0, ::4, ::4], scene.model.sensor.pde[0])
    expected = pair.model.expected_counts(pair.targets[1]).double()
    variance = float((expected * (1 - expected / 1024)).sum()) * 1.03
    assert abs(float(pair.counts.sum() - expected.sum())) < 4.5 * variance**0.5
    others = [finer[finer.item(2, 0, 17)], finer[finer.item(2, 1, 18)], PairDataset(made.folder, 1, 4)[item]]
    assert [torch.equal(pair.counts, other.counts) for other in others] == [False, False, True]
    with pytest.raises(InputError, match="scale of the finer array 32"):
        PairDataset(made.folder, 8, finer=4)


def test_pairs_of_different_exposure_are_not_joined(made: SimulatedSet) -> None:
    pairs = PairDataset(made.folder, 1)
    with pytest.raises(ValueError, match="different exposure"):
        joined([pairs[0], pairs[len(pairs) - 1]])


def test_a_pixel_mask_is_kept(tmp_path: Path) -> None:
    made = small_set(tmp_path / "set", scenes=2)
    mask = torch.zeros(SHAPE, dtype=torch.int32)
    mask[3, 2] = USER
    masked = replace(made.maker, sensor=replace(made.maker.sensor, pixel_mask=mask))
    list(replace(made, maker=masked).write())
    pairs = PairDataset(made.folder, 1)
    both = joined([pairs[0], pairs[1]])
    assert both.model.sensor.pixel_mask is not None
    assert torch.equal(both.model.sensor.pixel_mask, mask.expand(2, *SHAPE))


def test_folders_that_hold_no_complete_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not the manifest"):
        PairDataset(tmp_path, 4)
    made = small_set(tmp_path / "set")
    steps = made.write()
    next(steps)
    with pytest.raises(InputError, match="0 of 3 shards"):
        PairDataset(made.folder, 4)
    list(steps)
    with pytest.raises(InputError, match="scale 3: expected one of 1, 2, 4, 8, 16"):
        PairDataset(made.folder, 3)
    (made.folder / "shard-00001.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match="not a whole shard"):
        PairDataset(made.folder, 4)[2]


def test_the_manifest_names_everything_that_decides_the_bytes(made: SimulatedSet) -> None:
    manifest = yaml.safe_load((made.folder / "set.yaml").read_text())
    assert manifest["kind"] == "spadsr pairs"
    assert {"scenes", "scenes_per_shard", "seed", "source", "sensor", "recipe"} <= set(manifest)
    assert str(made.folder) not in (made.folder / "set.yaml").read_text()
