"""NumPy archives (`numpy.savez`): an array of counts, chosen by its name, and a pixel mask beside it."""

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.formats import npy
from hardware.parsing import arrays
from hardware.parsing.choosing import PIXEL_MASK, chosen, masked_by
from hardware.parsing.inflating import LARGEST_PIECE
from hardware.parsing.source import Choice, Source, counts_dtype
from noise_model.errors import InputError

NAME = "NumPy archive"
SUFFIXES = (".npz",)
ARRAYS = True
AXES = ()
LAYOUTS = arrays.LAYOUTS

#: The most arrays of an archive that are looked at.
MOST_ARRAYS = 1000

#: Compressions that are read: those that NumPy writes, which unpack no further than they are asked to.
READ = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a ZIP archive by its first bytes and its name."""
    return head.startswith(b"PK\3\4") and path.suffix.lower() in SUFFIXES


def open_source(path: Path, choice: Choice) -> Source:
    """Reads the array that is chosen, or the only one with two to four dimensions, into memory."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()[:MOST_ARRAYS]
        names = [each.filename for each in members if each.filename.endswith(".npy") and each.compress_type in READ]
        shapes = {name.removesuffix(".npy"): _shape(archive, name) for name in names}
        images = {name: name for name, shape in shapes.items() if len(shape) in (2, 3, 4) and min(shape) > 0}
        name, channel = chosen(path, images, choice.array)
        array = _array(path, archive, name)
        mask = _array(path, archive, PIXEL_MASK) if PIXEL_MASK in shapes and name != PIXEL_MASK else None
    source = arrays.source_of_array(
        path, array.shape, array.dtype, arrays.parts_of(array), lambda: None, Choice(channel, choice.layout)
    )
    return masked_by(path, source, mask)


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with archive.open(name) as file:
        return npy.header(BytesIO(file.read(npy.LONGEST_HEADER)))[0]


def _array(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    member = f"{name}.npy"
    with archive.open(member) as file:
        beginning = BytesIO(file.read(npy.LONGEST_HEADER))
    shape, fortran, dtype = npy.header(beginning)
    counts_dtype(path, dtype)
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size > LARGEST_PIECE or min(shape, default=0) < 0:
        raise InputError(f"{path}: {name} has {size} bytes; save arrays this large as .npy (numpy.save)")
    with archive.open(member) as file:
        numbers = file.read(beginning.tell() + size)[beginning.tell() :]
    if len(numbers) < size:
        raise InputError(f"{path}: truncated: {len(numbers)} of {size} bytes of {name}; copy it again")
    return np.frombuffer(numbers, dtype).reshape(shape, order="F" if fortran else "C")
