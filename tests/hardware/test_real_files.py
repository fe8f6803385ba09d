"""Public recordings of six cameras: every file is read as what it is, or refused as what it is not."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from hardware.captures.capture import open_capture
from noise_model.errors import InputError

#: By folder: how many files there are to read, their format, and the sizes of their images.
READ = {
    "bianlab/input": (23, "TIFF stack", {(64, 32)}),
    "bianlab": (1, "MATLAB file", {(64, 32)}),
    "swissspad2": (5, "PNG images", {(256, 192)}),
    "slac_spc3": (58, "text image", {(64, 32), (32, 32)}),
    "quanticam_320x240": (7, "MATLAB file", {(240, 320)}),
    "spad512": (1, "NumPy array", {(512, 512)}),
    "spad512s_gated": (16, "PNG images", {(512, 512)}),
}

#: Files that hold no counts, and what is said of them.
REFUSED = {
    "alligator_layout_8_gates.h5": "HDF5 without counts at /entry/instrument/detector/data; choose one of: Gate",
    "quanticam_320x240/nl_frame.mat": "image 0 holds 90.6667, which is not whole; expected counts, not rates",
    "slac_spc3/diff.out": "image 0 holds the count -6; expected counts of 0 and more",
    "slac_spc3/diff2.out": "image 0 holds the count -1; expected counts of 0 and more",
    "slac_spc3/diff2m1.out": "image 0 holds the count -3; expected counts of 0 and more",
    "slac_spc3/sig-ref.out": "image 0 holds the count -4; expected counts of 0 and more",
    "spad512/darkcounts.jld2": "image 0 holds 0.000653808, which is not whole; expected counts, not rates",
}


def recordings(root: Path) -> list[Path]:
    """All files but the texts, and the restored pictures, that lie beside them."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return [path for path in files if path.suffix not in (".md", ".jpg") and path.stem not in ("LICENCE", "LICENSE")]


@pytest.mark.parametrize("folder", READ)
def test_files_with_counts_are_read(shared: Path, folder: str) -> None:
    root = shared / "data/real"
    files = [path for path in recordings(root) if path.parent == root / folder]
    read = [path for path in files if str(path.relative_to(root)) not in REFUSED]
    formats, sizes = set(), set()
    for path in read:
        with open_capture(path) as capture:
            images = sum(len(block) for block in capture.blocks())
            assert images == capture.shape[0] > 0
            formats.add(capture.format)
            sizes.add(capture.shape[1:])
    assert (len(read), formats, sizes) == (READ[folder][0], {READ[folder][1]}, READ[folder][2])


@pytest.mark.parametrize("name", REFUSED)
def test_files_without_counts_are_refused(shared: Path, name: str) -> None:
    path = shared / "data/real" / name
    with pytest.raises(InputError) as refused, open_capture(path) as capture:
        list(capture.blocks())
    assert str(refused.value).startswith(f"{path}: {REFUSED[name]}")
    assert "\n" not in str(refused.value)


def test_gates_in_a_dataset_each_are_a_stack_when_asked_for(shared: Path) -> None:
    path = shared / "data/real/alligator_layout_8_gates.h5"
    with open_capture(path, array="Gate Images", cycles=255) as capture, h5py.File(path) as file:
        assert capture.shape == (8, 512, 512)
        for number, image in enumerate(capture.read(0, 8), 1):
            np.testing.assert_array_equal(image, file[f"Gate Images/Gate {number}"])


def test_no_file_is_left_out(shared: Path) -> None:
    assert len(recordings(shared / "data/real")) == sum(count for count, _, _ in READ.values()) + len(REFUSED)
