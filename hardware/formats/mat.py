"""Arrays of counts in MATLAB files: version 5 to 7, and 7.3, which is HDF5."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from hardware.hdf5.checks import bomb_check, check_present
from hardware.parsing import matlab5
from hardware.parsing.source import Choice, Source, counts_dtype, stack_shape
from noise_model.arrays import Counts
from noise_model.errors import InputError
from noise_model.hdf5_files import read_hdf5

NAME = "MATLAB file"
SUFFIXES = (".mat",)
ARRAYS = True
LAYOUTS = ("images-last", "images-first")

SIGNATURES = (b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file")
MATLABS_ORDER = "taken for rows x columns x images, as in MATLAB; the other layout is images-first"

Array = TypeVar("Array")


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a file by its first bytes."""
    return head.startswith(SIGNATURES)


def open_source(path: Path, choice: Choice) -> Source:
    """Opens the array that is chosen, or the only one with two or three dimensions."""
    if h5py.is_hdf5(path):
        return _open_hdf5(path, choice)
    variable = _chosen(path, {each.name: each for each in matlab5.variables(path) if _an_image(each.shape)}, choice)
    array = matlab5.load(path, variable)
    return _source(path, array.T, array.shape, variable.name, choice, lambda: None)


def _open_hdf5(path: Path, choice: Choice) -> Source:
    """Opens a version 7.3 file. HDF5 has MATLAB's dimensions in reverse: columns in order are rows of the transpose."""
    with ExitStack() as stack:
        file = stack.enter_context(read_hdf5(path))
        arrays = {name: file[name] for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)}
        images = {name: each for name, each in arrays.items() if _an_hdf5_image(each)}
        data = _chosen(path, images, choice)
        check_present(path, data)
        source = _source(path, data, data.shape[::-1], data.name[1:], choice, file.close)
        stack.pop_all()
        return source


def _an_image(shape: tuple[int, ...]) -> bool:
    return len(shape) in (2, 3) and min(shape[:2]) > 1


def _an_hdf5_image(item: Any) -> bool:
    numbers = isinstance(item, h5py.Dataset) and item.dtype.kind in "iufb" and not item.attrs.get("MATLAB_empty", 0)
    return bool(numbers and _an_image(item.shape[::-1]))


def _chosen(path: Path, arrays: Mapping[str, Array], choice: Choice) -> Array:
    if choice.array is None and len(arrays) == 1:
        return next(iter(arrays.values()))
    if choice.array is not None and choice.array in arrays:
        return arrays[choice.array]
    if not arrays:
        raise InputError(f"{path}: no numeric array of two or three dimensions; save the counts as one")
    found = f"no array {choice.array}" if choice.array else f"{len(arrays)} arrays"
    raise InputError(f"{path}: {found}; choose one of {', '.join(sorted(arrays))}", "array")


def _source(
    path: Path, array: Any, shape: tuple[int, ...], name: str, choice: Choice, close: Callable[[], None]
) -> Source:
    """The source of a NumPy array or HDF5 dataset that has the dimensions of `shape` (MATLAB's) in reverse."""
    first = choice.layout == "images-first"
    stack = stack_shape(path, shape if len(shape) == 2 or first else (shape[2], *shape[:2]))
    read = _reader(path, array, first)
    whole = array.dtype.kind != "f"
    return Source(
        shape=stack,
        dtype=counts_dtype(path, array.dtype) if whole else np.dtype(np.int64),
        read=read if whole else lambda start, stop: _whole(path, name, read(start, stop)),
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


def _whole(path: Path, name: str, block: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Counts from floating-point numbers, as MATLAB has them."""
    if not (np.abs(block) < 2**53).all() or (block != np.rint(block)).any():
        raise InputError(f"{path}: {name} holds numbers that are not whole; expected counts, not rates or averages")
    return block.astype(np.int64)
