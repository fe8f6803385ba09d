"""Damaged and hostile files of every kind: read or refused, at once, in little memory, and nothing else opened.

2,000 mutants of every capture format and a quarter of that of other files; as many as the environment variable
SPADSR_MUTANTS says for a longer run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hardware.formats.registry import BUILT_IN

MUTANTS = int(os.environ.get("SPADSR_MUTANTS", "2000"))
FORMATS = [
    *("hdf5", "hdf5 of its own", "spc3", "tiff", "tiff folder", "png", "png folder", "npy", "npz", "photon cube"),
    *("spad512", "mat 5", "mat 7.3", "mat 4", "text", "csv"),
]
OWN = ["sensor", "sensor maps", "simulation recipe", "training recipe", "override", "weights", "checkpoint", "shard"]
OWN += ["manifest", "result"]

pytestmark = pytest.mark.timeout(max(900, MUTANTS // 5))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What came of the files of each format; all in one run of `fuzzing.py`, which is slow to start."""
    folder, script = tmp_path_factory.mktemp("fuzz"), Path(__file__).with_name("fuzzing.py")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(script), str(folder), str(MUTANTS)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    sys.stderr.write(
        "".join(line for line in run.stderr.splitlines(True) if "libpng" not in line and "WARN" not in line)
    )
    return {line["format"]: line for line in lines}


@pytest.mark.parametrize("name", [*FORMATS, *OWN])
def test_every_file_is_read_or_refused(found: dict[str, dict[str, Any]], name: str) -> None:
    said = found[name]
    assert said["wrong"] == []
    assert said["read"] + said["refused"] > said["mutants"]
    assert min(said["read"], said["refused"]) > said["mutants"] // 200


def test_no_format_is_left_out(found: dict[str, dict[str, Any]]) -> None:
    assert [*found] == [*FORMATS, *OWN]
    # Three kinds of MATLAB files, two of TIFF and PNG images, HDF5 files and texts.
    assert len(FORMATS) == len(BUILT_IN) + 6
