"""Arrays of counts in MATLAB files: version 4, 5 to 7, and 7.3, which is HDF5."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hardware.hdf5.checks import bomb_check, check_present, told
from hardware.parsing import matlab4, matlab5
from hardware.parsing.choosing import PIXEL_MASK, chosen, masked_by
from hardware.parsing.source import Choice, Source, counts_dtype, stack_shape
from noise_model.arrays import Counts
from noise_model.errors import InputError
from noise_model.hdf5_files import read_hdf5

NAME = "MATLAB file"
SUFFIXES = (".mat",)
ARRAYS = True
AXES = ()
LAYOUTS = ("images-last", "images-first")

OCTAVE = (b"# Created by Octave", b"Octave-1-L", b"Octave-1-B")
SIGNATURES = (b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file")
MATLABS_ORDER = "taken for rows x columns x images, as in MATLAB; the other layout is images-first"


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a file by its first bytes; a version 4 file, which has no signature, by its name and first header."""
    if head.startswith(SIGNATURES):
        return True
    return path.suffix.lower() in SUFFIXES and (head.startswith(OCTAVE) or matlab4.looks_right(head))


def open_source(path: Path, choice: Choice) -> Source:
    """Opens the array that is chosen, or the only one with two or three dimensions."""
    if h5py.is_hdf5(path):
        return _open_hdf5(path, choice)
    found = {each.name: each for each in _variables(path) if _an_image(each.shape)}
    variable, _channel = chosen(path, found, choice.array)
    array = matlab5.load(path, variable)
    mask = found.get(PIXEL_MASK) if variable.name != PIXEL_MASK else None
    source = _source(path, array.T, array.shape, choice, lambda: None)
    return masked_by(path, source, None if mask is None else matlab5.load(path, mask))


def _variables(path: Path) -> Iterable[matlab5.Variable]:
    with path.open("rb") as file:
        head = file.read(len(SIGNATURES[0]))
    if head.startswith(OCTAVE):
        raise InputError(f"{path}: in Octave's own format; save it with: save -v7 FILE COUNTS")
    return matlab5.variables(path) if head.startswith(SIGNATURES) else matlab4.variables(path)


def _open_hdf5(path: Path, choice: Choice) -> Source:
    """Opens a version 7.3 file. HDF5 has MATLAB's dimensions in reverse: columns in order are rows of the transpose."""
    with ExitStack() as stack:
        file = stack.enter_context(read_hdf5(path))
        arrays = {name: file[name] for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)}
        images = {name: each for name, each in arrays.items() if _an_hdf5_image(path, each)}
        data, _channel = chosen(path, images, choice.array)
        check_present(path, data)
        source = _source(path, data, data.shape[::-1], choice, file.close)
        mask = images.get(PIXEL_MASK) if data.name != f"/{PIXEL_MASK}" else None
        if mask is not None:
            check_present(path, mask)
            source = masked_by(path, source, _reader(path, mask, first=False)(0, 1)[0])
        stack.pop_all()
        return source


def _an_image(shape: tuple[int, ...]) -> bool:
    return len(shape) in (2, 3) and min(shape[:2]) > 1


def _an_hdf5_image(path: Path, item: Any) -> bool:
    numbers = isinstance(item, h5py.Dataset) and item.dtype.kind in "iufb" and not told(path, item, "MATLAB_empty")
    return bool(numbers and _an_image(item.shape[::-1]))


def _source(path: Path, array: Any, shape: tuple[int, ...], choice: Choice, close: Callable[[], None]) -> Source:
    """The source of a NumPy array or HDF5 dataset that has the dimensions of `shape` (MATLAB's) in reverse."""
    first = choice.layout == "images-first"
    stack = stack_shape(path, shape if len(shape) == 2 or first else (shape[2], *shape[:2]))
    return Source(
        shape=stack,
        dtype=counts_dtype(path, array.dtype),
        read=_reader(path, array, first),
        close=close,
        remarks=(MATLABS_ORDER,) if len(shape) == 3 and choice.layout is None else (),
    )


def _reader(path: Path, array: Any, first: bool) -> Callable[[int, int], Counts]:
    check = bomb_check(path, array) if isinstance(array, h5py.Dataset) else lambda start, stop: None

    def read(start: int, stop: int) -> Counts:
        if array.ndim == 2:
            check(0, array.shape[0])
            return np.asarray(array[()]).T[None]
        if first:
            check(0, array.shape[0])
            return np.asarray(array[:, :, start:stop]).transpose(2, 1, 0)
        check(start, stop)
        return np.asarray(array[start:stop]).transpose(0, 2, 1)

    return read
