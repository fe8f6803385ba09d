"""Disks that are too small or fill up: one line, exit code 2, and nothing left."""

import errno
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from hardware.captures.capture import open_capture
from noise_model.errors import InputError
from spadsr.files.convert import convert_capture
from spadsr.restoration.recordings import restore_capture
from spadsr.restoration.weights import load_restorer

ROOT = Path(__file__).parents[2]
SAYS = {"count_time": 1e-5, "counter_bits": 1, "cycles": 1}


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    bits = np.random.default_rng(0).integers(0, 2, (1500, 64, 32), dtype=np.uint8)
    np.save(tmp_path / "frames.npy", bits)
    return tmp_path / "frames.npy"


FILLS = """
import resource, sys
from spadsr.cli.app import main
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18))  # to a program, a disk that takes no more
SAYS = "--count-time 1e-5 --bits 1 --cycles 1".split()
for arguments in (
    ["infer", "frames.npy", "-o", "out", "--weights", "tiny", "--quiet", *SAYS],
    *(["convert", "frames.npy", f"out/x{ending}", *SAYS] for ending in (".h5", ".npy", ".tif", ".ome.tif")),
    ["simulate", "-o", "out/set", "--scenes", "3", "--workers", "1"],
    ["acquire", "--camera", "simulated:,drift=0", "-o", "out/run.h5", "--frames", "4000"],
):
    sys.argv = ["spadsr", *arguments]
    try:
        main()
    except SystemExit as end:
        print(end.code)
"""


def test_a_disk_that_fills_ends_every_writer_in_one_line(frames: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", FILLS]
    done = subprocess.run(command, cwd=frames.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2"] * 7, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 7, done.stderr
    assert all(os.strerror(errno.EFBIG) in line for line in errors), done.stderr
    assert [path.name for path in frames.parent.rglob("*") if path.is_file()] == ["frames.npy", "set.yaml"]


def test_what_cannot_fit_is_not_begun(frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 2_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda place: namedtuple("Usage", "free")(free))
    said = r"needs 3.1 MB, and its disk has 2.0 MB free"
    for ending in (".h5", ".npy", ".tif", ".ome.tif"):
        with pytest.raises(InputError, match=said):
            convert_capture(frames, frames.with_name(f"x{ending}"), SAYS, lambda done, total: None)
    with (
        open_capture(frames, **SAYS) as capture,
        pytest.raises(InputError, match=r"frames.sr.h5: needs 135.4 MB, and its disk has 2.0 MB free"),
    ):
        restore_capture(capture, load_restorer("tiny"), 4, None, None, lambda done, total: None)
    assert [path.name for path in frames.parent.iterdir()] == ["frames.npy"]
