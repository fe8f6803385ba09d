"""Bitshuffle and LZ4, a fast compression of counts: HDF5 filter 32008, which the package hdf5plugin brings.

Its decoder trusts the sizes that a chunk states, so they are checked before.
"""

import importlib
import struct
from collections.abc import Sequence

import h5py

from noise_model.errors import InputError

CODE = 32008
#: Arguments of h5py for such a dataset: the usual block size, LZ4.
FILTER = {"compression": CODE, "compression_opts": (0, 2)}

_LZ4 = 2
_HEADER, _LENGTH = struct.Struct(">QI"), struct.Struct(">I")
_LARGEST_BLOCK = 1 << 20


def load_filter(path: object) -> None:
    """Loads the filter into HDF5.

    Raises:
        InputError: hdf5plugin is not installed.
    """
    if h5py.h5z.filter_avail(CODE):
        return
    try:
        importlib.import_module("hdf5plugin")
    except ImportError as error:
        raise InputError(
            f"{path}: lz4 compression (bitshuffle) needs hdf5plugin; in your clone, run pip install '.[lz4]'"
        ) from error


def check_filter(path: object, values: Sequence[int], itemsize: int) -> None:
    """Refuses parameters of the filter that no writer makes.

    Args:
        values: the parameters: version (2 numbers), bytes of a count, block size, kind of compression.

    Raises:
        InputError: they are not those of a writer.
    """
    if len(values) < 5 or values[2] != itemsize or values[3] % 8 or values[4] != _LZ4:
        raise InputError(
            f"{path}: bitshuffle with the settings {tuple(values)}; only LZ4 is read: save it with h5repack -f GZIP=1"
        )


def check_blocks(path: object, packed: bytes, chunk_bytes: int, itemsize: int) -> None:
    """Refuses a chunk that unpacks to anything but `chunk_bytes`, or whose blocks do not lie in it.

    A chunk begins with its unpacked size (8 bytes) and that of a block (4 bytes); the blocks follow, each after its
    packed size (4 bytes); then up to seven counts that are not packed. Sizes are in bytes, and big-endian.

    Raises:
        InputError: the chunk is refused.
    """
    place, unit = _HEADER.size, 8 * itemsize
    total, block = _HEADER.unpack_from(packed) if len(packed) >= place else (0, 0)
    fine = total == chunk_bytes and 0 < block <= _LARGEST_BLOCK and block % unit == 0
    whole = chunk_bytes // unit * unit
    blocks = -(-whole // block) if fine else 0
    while blocks and place + _LENGTH.size <= len(packed):
        place += _LENGTH.size + _LENGTH.unpack_from(packed, place)[0]
        blocks -= 1
    if not fine or blocks or place + chunk_bytes - whole > len(packed):
        raise InputError(f"{path}: damaged: a compressed piece does not have the size it promises; copy the file again")
