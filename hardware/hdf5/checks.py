"""Checks that the counts an HDF5 dataset promises are in its file, in pieces that can be unpacked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hardware.hdf5 import bitshuffle
from hardware.hdf5.nexus_tree import plain
from hardware.parsing.inflating import LARGEST_PIECE, LARGEST_RATIO, check_inflation
from noise_model.errors import InputError

Check = Callable[[int, int], None]


def check_present(path: Path, data: h5py.Dataset, images: int | None = None) -> None:
    """Refuses counts that lie in other files or in giant chunks, or were never written (HDF5 makes zeros of them).

    Of an unfinished capture only the first `images` are checked.

    Raises:
        InputError: the counts are refused.
    """
    others = [source.file_name for source in data.virtual_sources()] if data.is_virtual else []
    if data.external or any(name != "." for name in others):
        raise InputError(f"{path}: its counts lie in other files; copy them into one with h5repack")
    if data.is_virtual:
        return
    if _never_written(data, images):
        raise InputError(f"{path}: promises {data.shape[0]} images that were never written; record or copy it again")
    if data.chunks is not None and _bytes(data.chunks, data.dtype) > LARGEST_PIECE:
        raise InputError(f"{path}: chunks of more than {LARGEST_PIECE} bytes; make them smaller with h5repack")


def whole_value(path: Path, data: h5py.Dataset) -> Any:
    """The whole value of a small dataset.

    Raises:
        InputError: the file holds fewer bytes than the type takes. HDF5 does not check: it would take the bytes that
            follow for text of a length found there, and crash.
    """
    if data.chunks is None and data.id.get_storage_size() < data.size * data.id.get_type().get_size():
        raise InputError(f"{path}: {data.name} is damaged: the file holds less than it needs; record or copy it again")
    return data[()]


def attribute(path: Path, item: h5py.HLObject, name: str) -> Any:
    """The value of an attribute: text, a number, or an array of them.

    Raises:
        InputError: there is none of that name, or it is of another type. HDF5 crashes over damaged bytes that it takes
            for lists of any length.
    """
    if name not in item.attrs:
        raise InputError(f"{path}: {item.name} has no attribute {name}; record or copy it again")
    held = h5py.h5a.open(item.id, name.encode())
    kind = held.get_type()
    base = kind.get_super() if isinstance(kind, h5py.h5t.TypeEnumID) else kind
    known = isinstance(base, h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID | h5py.h5t.TypeStringID)
    points = held.get_space().get_simple_extent_npoints()
    if not known or kind.get_size() * points > held.get_storage_size():
        raise InputError(f"{path}: attribute {name} of {item.name} is damaged; record or copy it again")
    return item.attrs[name]


def told(path: Path, item: h5py.HLObject, name: str) -> Any:
    """The plain value of an attribute, and None where there is none of that name.

    Raises:
        InputError: as `attribute`.
    """
    return plain(attribute(path, item, name)) if name in item.attrs else None


def _bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    size = dtype.itemsize
    for extent in shape:
        size *= int(extent)
    return size


def _never_written(data: h5py.Dataset, images: int | None) -> bool:
    if data.chunks is None:
        return bool(data.id.get_storage_size() < data.nbytes)
    per_image = 1
    for extent, chunk in zip(data.shape[1:], data.chunks[1:], strict=True):
        per_image *= -(-extent // chunk)
    try:
        there = data.id.get_num_chunks()
    except (OSError, RuntimeError):
        if images is None:
            raise
        return False  # killed while writing the index: a read that needs that part of it fails
    # The last chunk may be missing: a recorder that was killed between growing the array and filling it.
    promised = data.shape[0] if images is None else images
    return bool(there < max(1, (promised // data.chunks[0]) * per_image - per_image))


def bomb_check(path: Path, data: h5py.Dataset) -> Check:
    """A function check(start, stop) that refuses compressed chunks of these rows that unpack to far too much.

    HDF5 unpacks a deflated chunk to its end, whatever size it promises: chunks that could exceed `LARGEST_PIECE` are
    checked, and ordinary files have none. Bitshuffled chunks are always checked, which is quick. Each is checked once.
    """
    compression = _compression(path, data)
    if not compression:
        return lambda start, stop: None
    chunks: list[Any] = []
    data.id.chunk_iter(chunks.append)
    if max((chunk.size for chunk in chunks), default=0) > LARGEST_PIECE:
        raise InputError(f"{path}: damaged: a chunk claims to be larger than possible; copy it again")
    least = {"gzip": LARGEST_PIECE // LARGEST_RATIO, "bitshuffle": 0}.get(compression, LARGEST_PIECE)
    suspects = {chunk.chunk_offset for chunk in chunks if chunk.size > least and not chunk.filter_mask}

    def check(start: int, stop: int) -> None:
        for place in [each for each in suspects if start - data.chunks[0] < each[0] < stop]:
            _mask, packed = data.id.read_direct_chunk(place)
            if compression == "gzip":
                check_inflation(path, packed)
            else:
                bitshuffle.check_blocks(path, packed, _bytes(data.chunks, data.dtype), data.dtype.itemsize)
            suspects.discard(place)

    return check


#: Names of the filters that are read, by their codes; a filter without a name compresses nothing.
_FILTERS = {
    h5py.h5z.FILTER_SHUFFLE: "",
    h5py.h5z.FILTER_FLETCHER32: "",
    h5py.h5z.FILTER_DEFLATE: "gzip",
    h5py.h5z.FILTER_LZF: "lzf",
    bitshuffle.CODE: "bitshuffle",
}


def _compression(path: Path, data: h5py.Dataset) -> str:
    """The name of the compression of a dataset, whose filter is loaded; empty if there is none.

    Raises:
        InputError: it is compressed twice, which only hostile files are, or in a way that is not read.
    """
    properties, used = data.id.get_create_plist(), []
    for index in range(properties.get_nfilters()):
        code, _, values, name = properties.get_filter(index)
        if code not in _FILTERS:
            named = name.decode(errors="replace") or "no name"
            raise InputError(
                f"{path}: compressed by HDF5 filter {code} ({named}); save it again with h5repack -f GZIP=1"
            )
        if code == bitshuffle.CODE:
            bitshuffle.check_filter(path, values, data.dtype.itemsize)
            bitshuffle.load_filter(path)
        used += [_FILTERS[code]] if _FILTERS[code] else []
    if len(used) > 1:
        raise InputError(f"{path}: compressed more than once; save it again with h5repack -f GZIP=1")
    return "".join(used)
