"""Unpacking deflated bytes to a limit: a kilobyte can hold a megabyte of zeros."""

import zlib

from noise_model.errors import InputError

#: The largest factor by which deflate can shrink data.
LARGEST_RATIO = 1032

#: The largest piece unpacked in one go, in bytes.
LARGEST_PIECE = 1 << 28

_STEP = 1 << 20


def inflated(packed: bytes, limit: int) -> bytes:
    """The first `limit` bytes of a zlib stream, or all of it.

    Raises:
        zlib.error: not a zlib stream.
    """
    return zlib.decompressobj().decompress(packed, limit)


def check_inflation(path: object, packed: bytes, limit: int = LARGEST_PIECE) -> None:
    """Refuses a zlib stream that unpacks to more than `limit` bytes; finding out takes little memory.

    Raises:
        InputError: it unpacks to more.
        zlib.error: not a zlib stream.
    """
    if len(packed) * LARGEST_RATIO <= limit:
        return
    stream, size = zlib.decompressobj(), 0
    rest = packed
    while rest and not stream.eof:
        size += len(stream.decompress(rest, _STEP))
        rest = stream.unconsumed_tail
        if size > limit:
            raise InputError(f"{path}: a compressed piece unpacks to more than {limit} bytes; save it uncompressed")
