"""Recordings restored in parts, joined, gone on from, and shared out among workers."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from command import Said
from small_network import random_network

from hardware.captures.capture import open_capture
from hardware.hdf5.nexus_tree import DETECTOR
from noise_model.errors import InputError
from noise_model.executors import local_processes
from noise_model.progress import silent
from spadsr.files.describe import describe
from spadsr.restoration.intervals import Intervals
from spadsr.restoration.parts import Part, edges_of
from spadsr.restoration.recordings import (
    _PIXELS_OF_A_GPU,
    Restoration,
    RestoredFiles,
    _at_once,
    distinct_results,
    restore_capture,
    result_path,
)
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.result_file import read_result
from spadsr.restoration.several import Order, restore_shared_out
from spadsr.restoration.storage import Storage
from spadsr.restoration.weights import load_restorer, save_weights

Record = Callable[..., Path]


@pytest.fixture(scope="module")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network that trusts what was measured: its answers explain the counts."""
    path, network = tmp_path_factory.mktemp("weights") / "small.safetensors", random_network()
    network.get_parameter("native.bias").data[0] = 40.0
    save_weights(path, network, Intervals(), {"steps": 0, "note": "random"})
    return path


@pytest.fixture(scope="module")
def restorer(small_weights: Path) -> Restorer:
    return load_restorer(small_weights)


def restored(path: Path, restorer: Restorer, output: Path | None = None, **how: Any) -> RestoredFiles:
    with open_capture(path) as capture:
        return restore_capture(capture, restorer, 2, None, output, silent, **how)


def same(one: Path, other: Path) -> None:
    """Every array of two results is the same."""
    with read_result(one) as first, read_result(other) as second:
        assert (first.shape, first.settings, first.source) == (second.shape, second.settings, second.source)
        assert first.stacks.keys() == second.stacks.keys()
        for place in first.stacks:
            np.testing.assert_array_equal(first.stacks[place](0, len(first)), second.stacks[place](0, len(second)))


def test_parts_follow_each_other() -> None:
    assert edges_of(10, 3, 256) == [0, 3, 6, 10]
    assert edges_of(2000, 3, 256) == [0, 512, 1280, 2000]  # whole blocks
    for images, parts in ((5, 5), (1000, 7), (4096, 2)):
        edges = edges_of(images, parts, 256)
        assert (len(edges), edges[0], edges[-1]) == (parts + 1, 0, images)
        assert min(np.diff(edges)) > 0
    with pytest.raises(InputError, match="6 parts of 5 images"):
        edges_of(5, 6, 256)
    for number, parts in ((0, 3), (4, 3)):
        with pytest.raises(InputError, match="expected k/n"):
            Part(number, parts)


def test_five_parts_in_any_order_are_one_run(recorded: Record, restorer: Restorer, tmp_path: Path) -> None:
    """Also for programs that know nothing of parts; one that is missing is named, and its images are no numbers.

    Parts of 16 images, as many as are restored at once: of another number, sums would be rounded in another order.
    """
    path, result = recorded(80, 32, 32), tmp_path / "capture.sr.h5"
    whole = restored(path, restorer, tmp_path / "whole.h5")
    for number in (4, 1, 5, 2):
        done = restored(path, restorer, part=Part(number, 5))
        assert (done.images, done.result.name) == (16, f"capture.sr.{number}-of-5.h5")
    rows = describe(result)
    assert ("missing", "part 3 of 5, images 32 to 47 (capture.sr.3-of-5.h5)") in rows
    assert "physics check" not in dict(rows)
    with read_result(result) as joined:
        assert len(joined) == 80
        assert len(joined.read(48, 80)) == 32
        with pytest.raises(InputError, match=r"part 3 of 5, images 32 to 47 .*; restore it"):
            joined.read(28, 38)
    with h5py.File(result) as file:
        assert np.isnan(file["/entry/data/data"][32:48]).all()
    restored(path, restorer, part=Part(3, 5))
    same(result, whole.result)
    with h5py.File(result) as file, h5py.File(whole.result) as other:
        for name in ("data", "uncertainty"):
            np.testing.assert_array_equal(file[f"{DETECTOR}/{name}"][()], other[f"{DETECTOR}/{name}"][()])
        assert file["/entry/data/data_errors"].shape == (80, 64, 64)
    with read_result(result) as joined:
        assert joined.warnings == whole.warnings
        assert "missing" not in dict(describe(result))
    assert result.with_suffix(".png").read_bytes() == whole.picture.read_bytes()


def test_as_many_are_restored_at_once_on_every_run(recorded: Record, restorer: Restorer) -> None:
    """By their size alone, whatever the speed; and parts begin where blocks do, on a GPU as well."""
    for rows, columns, expected in ((64, 32, 8), (32, 32, 16), (40, 30, 8), (256, 256, 1), (512, 512, 1)):
        for images in (1, 100):
            with open_capture(recorded(images, rows, columns)) as capture:
                assert Restoration(capture, restorer, 1, None).block_size == expected
                of_a_gpu = _at_once(capture, _PIXELS_OF_A_GPU)
                assert of_a_gpu % expected == 0
                assert of_a_gpu == 1 or of_a_gpu * rows * columns <= 1 << 16


@pytest.mark.parametrize("size", [1, 3, 32])
def test_how_many_are_restored_at_once_changes_last_bits_at_most(
    recorded: Record, restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Other devices take more images at once: rates differ by a thousandth of their uncertainty at most."""
    path, exact = recorded(40, 32, 32), Storage(exact=True)
    usual = restored(path, restorer, tmp_path / "usual.h5", storage=exact)
    monkeypatch.setattr("spadsr.restoration.recordings._at_once", lambda capture, pixels: size)
    other = restored(path, restorer, tmp_path / "other.h5", storage=exact)
    with read_result(usual.result) as first, read_result(other.result) as second:
        one, two = first.read(0, 40), second.read(0, 40)
        assert (np.abs(one.rate - two.rate) <= 1e-3 * one.uncertainty).all()
        np.testing.assert_allclose(one.uncertainty, two.uncertainty, rtol=1e-3)
        np.testing.assert_allclose(first.check("chi_squared"), second.check("chi_squared"), rtol=1e-3)


def test_a_part_that_is_another_is_told(recorded: Record, restorer: Restorer, tmp_path: Path) -> None:
    path, result = recorded(12, 8, 8), tmp_path / "capture.sr.h5"
    for number in (1, 2):
        restored(path, restorer, part=Part(number, 2))
    (tmp_path / "capture.sr.1-of-2.h5").write_bytes(restored(path, restorer, tmp_path / "w.h5").result.read_bytes())
    with pytest.raises(InputError, match="12 images; expected those of part 1 of 2"):
        read_result(result)
    with h5py.File(tmp_path / "away.h5", "w") as file:
        layout = h5py.VirtualLayout((4, 8, 8), "f4")
        layout[0:4] = h5py.VirtualSource("/etc/passwd", "data", (4, 8, 8))
        file["entry/process/scale"], file["entry/process/part_edges"] = 1, np.array([0, 4])
        file.create_virtual_dataset(f"{DETECTOR}/data", layout)
    with pytest.raises(InputError, match="damaged"):
        read_result(tmp_path / "away.h5")


def test_a_part_made_otherwise_is_left_out_until_it_is_made_alike(
    recorded: Record, restorer: Restorer, tmp_path: Path
) -> None:
    """With other options, or of another recording of that name: what is joined is never of two kinds."""
    path, result = recorded(12, 8, 8), tmp_path / "capture.sr.h5"
    restored(path, restorer, part=Part(1, 2))
    with open_capture(path) as capture:
        other = restore_capture(capture, restorer, 4, None, None, silent, part=Part(2, 2))
    wrong = r"part 1 of 2, images 0 to 5 \(capture.sr.1-of-2.h5, made with other options or of another recording\)"
    assert re.search(wrong, other.warnings[-1])
    with read_result(result) as joined:
        assert (joined.scale, len(joined.read(6, 12)), len(joined.missing)) == (4, 6, 1)
        with pytest.raises(InputError, match=wrong):
            joined.read(0, 6)
    with h5py.File(result) as file:
        assert np.isfinite(file["/entry/data/data"][6:]).all()
        assert np.isnan(file["/entry/data/data"][:6]).all()
    restored(path, restorer, part=Part(1, 2))
    assert not any("1 of 2" in line for line in restored(path, restorer, part=Part(2, 2)).warnings)
    same(result, restored(path, restorer, tmp_path / "whole.h5").result)
    with h5py.File(path, "r+") as file:
        file["/entry/start_time"] = "2001-01-01T00:00:00+00:00"  # recorded anew
    assert "part 1 of 2" in restored(path, restorer, part=Part(2, 2)).warnings[-1]


def test_the_same_recording_by_two_names_is_restored_once(recorded: Record, tmp_path: Path) -> None:
    path = recorded(2, 8, 8)
    with pytest.raises(InputError, match="would go there"):
        distinct_results([path, Path(os.path.relpath(path))], None)


def test_the_result_of_a_folder_is_named_like_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run" / "deep").mkdir(parents=True)
    for here, name in (("run", "."), ("run/deep", "..")):
        monkeypatch.chdir(tmp_path / here)
        assert result_path(Path(name), None) == tmp_path.resolve() / "run.sr.h5"
    with pytest.raises(InputError, match="expected a recording"):
        result_path(Path("/"), None)


def test_parts_are_of_results_alone(recorded: Record, restorer: Restorer, tmp_path: Path) -> None:
    path = recorded(4, 8, 8)
    with pytest.raises(InputError, match="parts are joined to a result alone"):
        restored(path, restorer, tmp_path / "a.tif", part=Part(1, 2))
    with pytest.raises(InputError, match="is there already and is no result"):
        restored(path, restorer, recorded(4, 8, 8, "other.h5"), part=Part(1, 2))


def test_what_is_whole_is_left_alone(recorded: Record, restorer: Restorer) -> None:
    path = recorded(5, 8, 8)
    first = restored(path, restorer)
    before = first.result.stat().st_mtime_ns
    again = restored(path, restorer, resume=True)
    assert (again.taken_over, again.images, again.warnings, again.check) == (5, 5, first.warnings, first.check)
    assert first.result.stat().st_mtime_ns == before
    path = recorded(4, 8, 8)  # another of that name
    assert restored(path, restorer, resume=True).taken_over == 0


def test_recordings_and_parts_are_shared_out(
    recorded: Record, small_weights: Path, restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be restored does not stop the others; what is said is what one process says."""
    monkeypatch.setattr("spadsr.restoration.several._PIXELS_OF_A_TASK", 64 * 16 * 16)
    paths = [recorded(192, 16, 16, "long.h5"), tmp_path / "bad.h5", recorded(5, 16, 16, "short.h5")]
    paths[1].write_bytes(b"nothing")
    order, seen = Order({}, weights=small_weights, scale=2), list[tuple[int, int]]()
    with local_processes(1) as executor:
        found = dict(restore_shared_out(order, paths, executor, lambda *at: seen.append(at)))
    assert seen[0] == (0, 197)
    assert seen[-1] == (197, 197)
    assert isinstance(found.pop(paths[1]), InputError)
    for path in (paths[0], paths[2]):
        done, alone = found[path], restored(path, restorer, tmp_path / f"alone-{path.name}")
        assert isinstance(done, RestoredFiles)
        assert (done.images, done.check) == (alone.images, alone.check)
        same(done.result, alone.result)
    assert (tmp_path / "long.sr.3-of-3.h5").is_file()


def test_the_command_shares_out(spadsr: Callable[..., Said], recorded: Record, small_weights: Path) -> None:
    paths = [recorded(3, 8, 8, "a.h5"), recorded(3, 8, 8, "b.h5")]
    with h5py.File(paths[0], "r+") as file:
        file[f"{DETECTOR}/data"][1] = 99
    said = spadsr("infer", *paths, "--workers", "2", "--weights", small_weights)
    assert (said.code, "holds the count 99" in said.err) == (2, True)
    assert "1 of 2 captures could not be restored: " in said.err
    assert "images/s" in said.out
    said = spadsr("infer", paths[1], "--weights", small_weights, "--resume")
    assert (said.code, "3 of 3 images were restored before" in said.err) == (0, True)
    said = spadsr("infer", paths[1], "--weights", small_weights, "--part", "5/3")
    assert (said.code, "expected k/n" in said.err) == (2, True)
