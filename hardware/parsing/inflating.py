"""Unpacking deflated bytes no further than they promise: a kilobyte can hold a megabyte of zeros."""

import zlib

from noise_model.errors import InputError

#: The most that deflate can shrink data: no stream grows more.
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
    """Refuses a zlib stream that unpacks to more than `limit` bytes, using little memory to find out.

    Raises:
        InputError: it does.
        zlib.error: not a zlib stream.
    """
    if len(packed) * LARGEST_RATIO <= limit:
        return
    stream, held = zlib.decompressobj(), 0
    rest = packed
    while rest and not stream.eof:
        held += len(stream.decompress(rest, _STEP))
        rest = stream.unconsumed_tail
        if held > limit:
            raise InputError(f"{path}: a compressed piece unpacks to more than {limit} bytes; save it uncompressed")
