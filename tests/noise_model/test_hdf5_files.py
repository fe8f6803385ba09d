"""HDF5 files at every moment of their being written, on full disks, and without locks."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from noise_model import hdf5_files
from noise_model.errors import InputError
from noise_model.hdf5_files import SafeFile, read_hdf5

ROWS = 200  # so many that the nodes of an index are split, and its root is: they hold 64 chunks


def begun(path: Path) -> SafeFile:
    path.touch()
    file = SafeFile(path, "w")
    for name in "ab":
        file.create_dataset(name, (0, 3), "i4", maxshape=(None, 3), chunks=(1, 3))
    file.flush()
    return file


def append(file: SafeFile, number: int) -> None:
    for name in "ab":
        file[name].resize(number + 1, axis=0)
        file[name][number] = number
    file.flush()


def test_it_can_be_read_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each single write to the disk, that is, in place of a writer that is killed then."""
    path, moments, flushed, put = tmp_path / "a.h5", list[tuple[int, bytes]](), [0], hdf5_files._Disk._put

    def noted(disk: hdf5_files._Disk, place: int, view: memoryview) -> None:
        put(disk, place, view)
        moments.append((flushed[0], path.read_bytes()))

    with begun(path) as file:
        monkeypatch.setattr(hdf5_files._Disk, "_put", noted)
        for number in range(ROWS):
            append(file, number)
            flushed[0] = number + 1
        file.attrs["note"] = "closing"
    assert len(moments) > 5 * ROWS
    left = tmp_path / "left.h5"
    for rows, content in moments[::2] + moments[-20:]:
        left.write_bytes(content)
        with h5py.File(left) as found:
            for name in "ab":
                np.testing.assert_array_equal(found[name][:rows, 0], np.arange(rows))


def test_without_a_flush_the_disk_does_not_change(tmp_path: Path) -> None:
    with begun(tmp_path / "a.h5") as file:
        append(file, 0)
        file["a"].resize(2, axis=0)
        file["a"][1] = 1
        file["a"].flush()
        with h5py.File(tmp_path / "a.h5") as found:
            assert found["a"].shape == (1, 3)
        file.drop()
    with h5py.File(tmp_path / "a.h5") as found:
        assert found["a"][:].tolist() == [[0, 0, 0]]


def test_an_exception_leaves_what_was_flushed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), begun(tmp_path / "a.h5") as file:  # noqa: PT012
        append(file, 0)
        file["a"][0] = 7
        raise KeyboardInterrupt
    with SafeFile(tmp_path / "a.h5", "r+") as file:
        assert file["a"][:].tolist() == [[0, 0, 0]]
        append(file, 1)
    with h5py.File(tmp_path / "a.h5") as found:
        assert found["b"][:, 0].tolist() == [0, 1]


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_and_holds_what_was_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    def refused(disk: hdf5_files._Disk, place: int, view: memoryview) -> None:
        raise OSError(reason, os.strerror(reason))

    file = begun(tmp_path / "a.h5")
    append(file, 0)
    monkeypatch.setattr(hdf5_files._Disk, "_put", refused)
    with pytest.raises(OSError, match=os.strerror(reason)):
        append(file, 1)
    with pytest.raises(OSError, match=os.strerror(reason)):
        file.close()
    file.close()
    with h5py.File(tmp_path / "a.h5") as found:
        assert found["a"][:].tolist() == [[0, 0, 0]]


def test_reading_needs_no_lock(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    append(file := begun(tmp_path / "a.h5"), 0)
    with (tmp_path / "a.h5").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with read_hdf5(tmp_path / "a.h5") as found:
            assert found["a"].shape == (1, 3)
    file.close()


WRITES = """
import sys, h5py
with h5py.File(sys.argv[1], "w", libver="latest") as file:
    file["a"] = 3
    file.flush()
    print("writing", flush=True)
    sys.stdin.readline()
    file.swmr_mode = True  # lets others read
    print("sharing", flush=True)
    sys.stdin.readline()
"""


def test_files_that_other_programs_write(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    command = [sys.executable, "-c", WRITES, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        if sys.platform != "win32":
            with pytest.raises(InputError, match=r"a\.h5: another program is writing it; close it there, or wait"):
                read_hdf5(path)
        print(file=writer.stdin, flush=True)
        assert writer.stdout.readline() == "sharing\n"
        with read_hdf5(path) as found:
            assert found["a"][()] == 3
        writer.kill()
    path.write_bytes(b"no HDF5")
    with pytest.raises(OSError, match="signature"):
        read_hdf5(path)
