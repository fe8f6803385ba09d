"""Recordings restored by the workers of a scheduler, which die meanwhile, and by processes whose disk is full."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from noise_model.executors import cluster
from spadsr.restoration.recordings import RestoredFiles
from spadsr.restoration.result_file import read_result
from spadsr.restoration.several import Order, restore_shared_out
from tests.noise_model.cluster import started_cluster

Record = Callable[..., Path]

ROOT = Path(__file__).parents[2]


def infer(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """`spadsr infer` in a process of its own."""
    command = [sys.executable, "-m", "spadsr", "infer", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_recordings_are_whole_though_a_worker_dies(
    recorded: Record, small_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its part is restored by another, which goes on from what it left."""
    monkeypatch.setattr("spadsr.restoration.several._PIXELS_OF_A_TASK", 256 * 32 * 32)
    path = recorded(2048, 32, 32)
    with started_cluster(workers=2) as machines, cluster(machines.address) as executor:
        killed = False

        def progress(done: int, total: int) -> None:
            nonlocal killed
            if done and not killed:
                machines.workers[0].kill()
                killed = True

        [(_, done)] = restore_shared_out(Order({}, weights=small_weights, scale=1), [path], executor, progress)
    assert killed
    assert isinstance(done, RestoredFiles)
    assert done.images == 2048
    with read_result(done.result) as result:
        assert result.missing == []
        assert np.isfinite(result.read(0, 2048).rate).all()


def test_without_its_scheduler_infer_stops_and_goes_on(recorded: Record, small_weights: Path, tmp_path: Path) -> None:
    captures = [recorded(40, 32, 32, f"run{number:02}.h5") for number in range(30)]
    how = ("--weights", small_weights, "--scale", "2")
    with started_cluster(workers=1) as machines:
        process = infer(tmp_path, *captures, *how, "--scheduler", machines.address)
        while len(list(tmp_path.glob("*.sr.h5"))) < 2:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        machines.scheduler.kill()
        began = time.monotonic()
        _, said = process.communicate()
        assert time.monotonic() - began < 10
    assert process.returncode == 3, said
    assert "the scheduler is gone" in said
    assert "of 30 recordings are done; go on with --resume" in said.splitlines()[-1]
    assert "Traceback" not in said
    there = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.sr.h5")}
    assert len(there) < 30
    resumed = infer(tmp_path, *captures, *how, "--resume")
    _, said = resumed.communicate()
    assert resumed.returncode == 0, said
    assert len(list(tmp_path.glob("*.sr.h5"))) == 30
    assert {path: path.stat().st_mtime_ns for path in there} == there


def test_one_full_disk_does_not_stop_the_others(recorded: Record, small_weights: Path, tmp_path: Path) -> None:
    """The long recording's result is larger than files may become; the limit is that of every process."""
    captures = [recorded(2000, 16, 16, "long.h5"), recorded(4, 16, 16, "short.h5"), recorded(5, 16, 16, "other.h5")]
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20,) * 2)\n"
        "from spadsr.cli.app import main\n"
        "if __name__ == '__main__':\n    main()\n"
    )
    script = tmp_path / "limited.py"
    script.write_text(code)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, script, "infer", *captures, "--weights", small_weights, "--workers", "2"]
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "long.sr.h5: writing failed" in done.stderr
    assert "1 of 3 captures could not be restored: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    names = {path.name for path in tmp_path.glob("*.sr*.h5")}
    assert names == {"short.sr.h5", "other.sr.h5"}
    with h5py.File(tmp_path / "other.sr.h5") as file:
        assert file["/entry/data/data"].shape == (5, 64, 64)
