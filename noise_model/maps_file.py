"""Maps of an array in an NPZ file, read in limits: nothing is unpacked before its size is known to be possible."""

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from noise_model.config_files import LARGEST_ARRAY, in_short
from noise_model.errors import InputError

_LARGEST_HEADER = 4096  # characters
_PACKED_AS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others may ask for gigabytes to unpack anything


def read_maps(path: Path, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Those of the maps (H, W) of these names that are in the file: numbers, of whatever type.

    Raises:
        InputError: no such file, damaged, or something else than maps.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the maps of the sensor, an NPZ file")
    try:
        with zipfile.ZipFile(path) as archive:
            there = set(archive.namelist())
            return {name: _read(archive, name) for name in names if f"{name}.npy" in there}
    except Exception as error:  # over damaged bytes, nearly every one there is
        reason = in_short(error, 200) or type(error).__name__
        raise InputError(f"{path}: cannot read the sensor maps ({reason}); copy or calibrate them again") from error


def _read(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type not in _PACKED_AS or entry.flag_bits & 1:
        raise ValueError(f"{name} is packed in a way that is not read")
    with archive.open(entry) as file:
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, by_columns, dtype = header(file, _LARGEST_HEADER)
        if len(shape) != 2 or min(shape) < 1 or math.prod(shape) > LARGEST_ARRAY or dtype.kind not in "biuf":
            raise ValueError(f"{name} is {dtype} of shape {shape}; expected numbers (H, W), {LARGEST_ARRAY} at most")
        size = math.prod(shape) * dtype.itemsize
        content = file.read(size + 1)  # one more than there are: at their end, their checksum is tested
    if len(content) != size:
        raise ValueError(f"{name} has {len(content)} bytes; expected {size}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")
