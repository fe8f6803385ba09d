"""Recordings in the formats of others, made from their descriptions; and what is expected of reading them."""

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

SIGNATURE = bytes.fromhex("4d5044ff03000001")


def spc3_header(**fields: Any) -> bytes:
    """Of a recording of 64 x 32 with one counter of 16 bits, 1.04 us exposure, 10 frames summed, 50 ns hold-off."""
    values: dict[str, Any] = {"rows": 64, "columns": 32, "bits": 16, "counters": 1, "exposure": 104, "summed": 10}
    values |= {"hold_off": 50, "frames": 0, "pixels": 2048, "date": b"Mon Nov 3 10:00:00"} | fields
    header = bytearray(1024)
    struct.pack_into("<10s32sH", header, 0, b"SPC3", b"SN-7", 215)
    struct.pack_into("<20s", header, 45, values["date"])
    struct.pack_into("<4B", header, 100, *(values[name] for name in ("rows", "columns", "bits", "counters")))
    struct.pack_into("<HH", header, 104, values["exposure"], values["summed"])
    struct.pack_into("<BBH", header, 108, values.get("corrected", 0), values.get("duty", 0), values["hold_off"])
    struct.pack_into("<BBI", header, 112, values.get("background", 0), values.get("signed", 0), values["frames"])
    struct.pack_into("<BxH4xH", header, 118, values.get("averaged", 0), 0, values["pixels"])
    return SIGNATURE + bytes(header)


def save_spc3(path: Path, counts: NDArray[Any], **fields: Any) -> Path:
    """`counts` (T, counters, H, W) in the width of its type."""
    images, counters, rows, columns = counts.shape
    said = {"rows": rows, "columns": columns, "counters": counters, "bits": 8 * counts.itemsize, "frames": images}
    header = spc3_header(**said | {"pixels": rows * columns} | fields)
    path.write_bytes(header + counts.astype(counts.dtype.newbyteorder("<")).tobytes())
    return path


def save_pngs(folder: Path, counts: NDArray[Any], names: str = "frame_{:04d}.png", first: int = 1) -> Path:
    """`counts` (T, H, W) as numbered images."""
    folder.mkdir()
    for number, image in enumerate(counts, first):
        assert cv2.imwrite(str(folder / names.format(number)), image)
    return folder


def png(rows: int, columns: int, bits: int, pixels: bytes, *others: tuple[bytes, bytes]) -> bytes:
    """A grey image that may say anything of itself; `pixels` are filtered lines before packing."""
    header = struct.pack(">IIBBBBB", columns, rows, bits, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), *others, (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def save_mat5(path: Path, compressed: bool = True, **arrays: Any) -> Path:
    """Arrays as MATLAB 7 and older has them."""
    scipy.io.savemat(path, arrays, do_compression=compressed)
    return path


def save_mat73(path: Path, **arrays: NDArray[Any]) -> Path:
    """Arrays as MATLAB 7.3 has them: HDF5 after a header of 512 bytes, dimensions in reverse."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            data = file.create_dataset(name, data=array.T, chunks=True, compression="gzip")
            data.attrs["MATLAB_class"] = np.bytes_(array.dtype.name)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")
    return path


def save_raw(path: Path, frames: NDArray[np.uint8], end: bytes = b"") -> Path:
    """Upright binary frames (T, 512, 512) as a SPAD512 sends them."""
    path.write_bytes(np.packbits(np.rot90(frames, -1, axes=(1, 2)), axis=-1).tobytes() + end)
    return path


def save_text(path: Path, image: NDArray[Any], separator: str = " ") -> Path:
    """One image, a line for every row."""
    path.write_text("".join(separator.join(map(str, row)) + separator + "\n" for row in image.tolist()) + "\n")
    return path
