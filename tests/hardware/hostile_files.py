"""What the readers are fuzzed with: ordinary files of every format to be damaged, and traps to be refused."""

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
import tifffile
from made_files import png, save_mat5, save_mat73, save_pngs, save_raw, save_spc3, save_text, spc3_header

from hardware.captures.capture import open_capture
from hardware.captures.writer import CaptureWriter
from hardware.hdf5.bitshuffle import FILTER, load_filter
from hardware.hdf5.nexus_tree import DETECTOR
from hardware.settings import Settings
from noise_model.sensor import PLACES

DATA = f"{DETECTOR}/data"
COUNTS = np.random.default_rng(0).poisson(2, (12, 16, 8)).astype(np.uint8)

#: Zeros that take a thousandth of this: more than a reader may unpack.
BOMB_BYTES = 400 << 20


def read_capture(path: Path) -> None:
    """Reads some of a recording."""
    with open_capture(path) as capture:
        for block in islice(capture.summed(1).blocks(4), 5):
            assert block.max() <= capture.settings.saturation_value
        capture.sequence_number(0, min(capture.shape[0], 20))
        capture.cycles(0, min(capture.shape[0], 20))


@dataclass(frozen=True)
class Format:
    """Files of one format.

    Attributes:
        file: their name, below the folder that is read.
        ordinary: files that are read.
        traps: files that must be refused.
        mended: what gets a damaged file past the checksums of its format.
        folder: whether the folder of the file is what is read.
        read: what reads some of it.
        rewritten: changes what the file says by its format, instead of its bytes; raises where it cannot.
        share: of the mutants that others have: fewer where a file takes long.
    """

    name: str
    file: str
    ordinary: list[bytes]
    traps: tuple[bytes, ...] = ()
    mended: Callable[[bytes], bytes] = bytes
    folder: bool = False
    read: Callable[[Path], None] = read_capture
    rewritten: Callable[[bytes, np.random.Generator], bytes] | None = None
    share: float = 1.0


@cache
def bomb() -> bytes:
    """A zlib stream of zeros, made without holding them."""
    packer, zeros = zlib.compressobj(), bytes(1 << 20)
    return b"".join([packer.compress(zeros) for _ in range(BOMB_BYTES >> 20)] + [packer.flush()])


def formats(folder: Path, outside: Path) -> list[Format]:
    """All of them, made in `folder`; links in the traps lead to `outside`."""
    return [
        _hdf5(folder, outside),
        _hdf5_of_its_own(folder, outside),
        _spc3(folder),
        _tiff(folder, outside),
        _tiff_folder(folder),
        _png(folder, "png", "a.png"),
        _png(folder, "png folder", "run/frame_0002.png"),
        _npy(folder),
        _npz(folder),
        _cube(folder),
        _spad512(folder),
        _mat5(folder),
        _mat73(folder),
        _mat4(folder),
        Format("text", "a.out", [save_text(folder / "t.out", COUNTS[0]).read_bytes()]),
        _csv(folder),
    ]


def _hdf5(folder: Path, outside: Path) -> Format:
    other = _captured(outside / "other.h5")
    ordinary = [_captured(folder / "o.h5").read_bytes(), _edited(folder, _gzip), _edited(folder, _lz4)]
    ordinary += [_mapped(folder / "m.h5", places).read_bytes() for places in (1, PLACES)]
    traps = [_edited(folder, change) for change in (*_links(other), _bomb, *_shuffled(), _twice, _giant, _many)]
    return Format("hdf5", "a.h5", ordinary, (*traps, _texts_for_bits(ordinary[0])))


def _hdf5_of_its_own(folder: Path, outside: Path) -> Format:
    """The only dataset, and the only one but for a mask and a curve, with settings beside it; several, and links."""
    path, ordinary, traps = folder / "own.h5", [], []
    for place in ("data", "t0/channel0", "spad/run/images"):
        with h5py.File(path, "w") as file:
            file.create_dataset(place, data=COUNTS.astype(np.float32), chunks=(5, 16, 8), compression="gzip")
            beside = file[place].parent
            beside["pixel_mask"], beside["number_of_cycles"] = np.eye(16, 8, dtype=np.uint8), np.full(12, 4)
            beside["count_time"], beside["bit_depth_readout"], file["curve"] = 1e-5, 9, np.arange(9.0)
        ordinary.append(path.read_bytes())
    for place in (h5py.ExternalLink(str(outside / "other.h5"), DATA), h5py.SoftLink("/data"), COUNTS[0, 0]):
        with h5py.File(path, "w") as file:
            file["data"] = place
        traps.append(path.read_bytes())
    return Format("hdf5 of its own", "a.h5", ordinary, tuple(traps))


def _captured(path: Path) -> Path:
    settings = Settings(1e-5, 4, 9, 5e-8, frame_time=1e-4)
    with CaptureWriter(path, (16, 8), "u1", settings, pixel_mask=np.eye(16, 8), notes={"laser": "off"}) as writer:
        writer.append(COUNTS, image_key=0, sequence_number=np.arange(12))
    return path


def _mapped(path: Path, places: int) -> Path:
    """Counts of pixels that looked in different numbers of frames, of whole pixels or of places within them."""
    cycles = np.random.default_rng(1).integers(COUNTS.max(), 40, COUNTS.shape)
    with CaptureWriter(path, (16, 8), "u1", Settings(1e-5, 40), places=places, compression="gzip") as writer:
        writer.append(COUNTS, cycles=cycles)
    return path


def _edited(folder: Path, change: Callable[[h5py.File], None]) -> bytes:
    path = _captured(folder / "edited.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    return path.read_bytes()


def _texts_for_bits(whole: bytes) -> bytes:
    """A bit is said to be text of any length: HDF5 takes its length and its place from what lies beside the bit."""
    start = whole.rindex(b"\x18\2\0\0\1\0\0\0")  # an enumeration of two values of one byte
    return whole[:start] + b"\x19" + whole[start + 1 :]


def _gzip(file: h5py.File) -> None:
    del file[DATA]
    file.create_dataset(DATA, data=COUNTS, chunks=(5, 16, 8), compression="gzip", shuffle=True)


def _lz4(file: h5py.File) -> None:
    load_filter("lz4")
    del file[DATA]
    file.create_dataset(DATA, data=COUNTS, chunks=(5, 16, 8), **FILTER)


def _shuffled() -> list[Callable[[h5py.File], None]]:
    """Bitshuffled chunks that lie of their size, of that of a block, and of where blocks end."""

    def lying(at: int, told: bytes) -> Callable[[h5py.File], None]:
        def change(file: h5py.File) -> None:
            _lz4(file)
            _mask, packed = file[DATA].id.read_direct_chunk((0, 0, 0))
            file[DATA].id.write_direct_chunk((0, 0, 0), packed[:at] + told + packed[at + len(told) :])

        return change

    def blosc(file: h5py.File) -> None:
        load_filter("lz4")
        del file[DATA]
        file.create_dataset(DATA, data=COUNTS, chunks=(5, 16, 8), compression=32001)

    told = [(0, struct.pack(">Q", 1 << 40)), (8, bytes(4)), (8, struct.pack(">I", 1 << 30)), (12, b"\x7f\xff\xff\xff")]
    return [*(lying(at, words) for at, words in told), blosc]


def _links(other: Path) -> list[Callable[[h5py.File], None]]:
    """Ways out of the file, and round in circles."""

    def linked(place: str, link: Any) -> Callable[[h5py.File], None]:
        def change(file: h5py.File) -> None:
            del file[place]
            file[place] = link

        return change

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((12, 16, 8), np.uint8)
        layout[:] = h5py.VirtualSource(other, DATA, (12, 16, 8))
        del file[DATA]
        file.create_virtual_dataset(DATA, layout)

    def raw(file: h5py.File) -> None:
        del file[DATA]
        file.create_dataset(DATA, (12, 16, 8), np.uint8, external=[(str(other), 0, 1536)])

    def circle(file: h5py.File) -> None:
        del file[DATA]
        file[f"{DETECTOR}/again"] = file["/entry"]
        file[DATA] = h5py.SoftLink(f"{DETECTOR}/again/instrument/detector/data")

    external = [linked(place, h5py.ExternalLink(str(other), place)) for place in (DATA, DETECTOR, "/entry")]
    fields = [
        linked(f"{DETECTOR}/{name}", h5py.ExternalLink(str(other), DATA)) for name in ("pixel_mask", "count_time")
    ]
    return [*external, *fields, linked(DATA, h5py.SoftLink(DATA)), virtual, raw, circle]


def _bomb(file: h5py.File) -> None:
    """A small chunk that unpacks to far more."""
    del file[DATA]
    data = file.create_dataset(DATA, (12, 16, 8), np.uint8, chunks=(12, 16, 8), compression="gzip")
    data.id.write_direct_chunk((0, 0, 0), bomb())


def _twice(file: h5py.File) -> None:
    """A bomb in a bomb."""
    del file[DATA]
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((12, 16, 8))
    settings.set_deflate(9)
    settings.set_filter(h5py.h5z.FILTER_DEFLATE, 0, (9,))
    space = h5py.h5s.create_simple((12, 16, 8))
    place = file[DETECTOR].id
    data = h5py.h5d.create(place, b"data", h5py.h5t.NATIVE_UINT8, space, settings)
    data.write_direct_chunk((0, 0, 0), zlib.compress(bomb()))


def _giant(file: h5py.File) -> None:
    """A chunk that takes more memory than there may be."""
    del file[DATA]
    shape = (1 << 20, 64, 32)
    data = file.create_dataset(DATA, shape, np.uint8, chunks=(1 << 20, 64, 31), compression="gzip")
    for place in ((0, 0, 0), (0, 0, 31)):
        data.id.write_direct_chunk(place, zlib.compress(b"\0"))


def _many(file: h5py.File) -> None:
    """More images than were ever recorded."""
    del file[DATA]
    file.create_dataset(DATA, (1 << 60, 1, 1), np.uint8, chunks=(1 << 20, 1, 1))


def _spc3(folder: Path) -> Format:
    held = COUNTS.reshape(12, 1, 16, 8)
    ordinary = [
        save_spc3(folder / "a.spc3", held, summed=1).read_bytes(),
        save_spc3(folder / "a.spc3", held.astype(np.uint16), corrected=1, duty=50, pixels=0).read_bytes(),
    ]
    traps = [spc3_header(rows=255, columns=255, pixels=65535, bits=16) + bytes(100), spc3_header(), spc3_header()[:500]]
    return Format("spc3", "a.spc3", ordinary, tuple(traps))


def _tiff(folder: Path, outside: Path) -> Format:
    path, ordinary = folder / "a.tif", []
    peak = np.rint(255 / COUNTS[0].max() * COUNTS[0]).astype(np.uint8)
    ways: list[dict[str, Any]] = [{"metadata": None}, {"compression": "zlib"}, {"imagej": True}, {"ome": True}]
    for how in ways:
        tifffile.imwrite(path, COUNTS, photometric="minisblack", **how)
        ordinary.append(path.read_bytes())
    ways = [
        {"compression": "lzw"},
        {"compression": "zstd", "predictor": True},
        {"ome": True, "metadata": {"axes": "TYX"}},
    ]
    for how in ways:
        tifffile.imwrite(path, COUNTS, photometric="minisblack", **how)
        ordinary.append(path.read_bytes())
    tifffile.imwrite(path, np.stack([COUNTS] * 3, -1), photometric="rgb")
    ordinary.append(path.read_bytes())
    tifffile.imwrite(path, peak, photometric="minisblack")
    ordinary.append(path.read_bytes())
    tifffile.imwrite(outside / "other.tif", COUNTS, photometric="minisblack")
    others = (str(outside / "other.tif"), "outside/other.tif", "../outside/other.tif", "linked.tif", "fifo.tif")
    (folder / "linked.tif").symlink_to(outside / "other.tif")
    os.mkfifo(folder / "fifo.tif")
    traps = [_ome_over_two_files(path, name) for name in others]
    lies = ('SizeT="1000000000"', 'SizeT="-1"', 'SizeC="4294967296" SizeT="4294967296"')
    traps += [_described(path, '<TiffData IFD="0" PlaneCount="6"/>', lie) for lie in lies]
    nested = "<a>" * 100_000 + "</a>" * 100_000
    traps += [_described(path, nested, 'SizeT="0"'), _described(path, "<TiffData/>" * 9000, 'SizeT="12"')]
    return Format("tiff", "a.tif", ordinary, (_tiff_bomb(path), *traps))


def _described(path: Path, data: str, sizes: str) -> bytes:
    """Pages whose OME-XML says where they are."""
    pixels = f'<Pixels DimensionOrder="XYZCT" SizeX="8" SizeY="16" {sizes}>{data}</Pixels>'
    xml = f"<OME><Image>{pixels}</Image></OME>".encode()
    tifffile.imwrite(path, COUNTS, photometric="minisblack", metadata=None, description=xml)
    return path.read_bytes()


def _ome_over_two_files(path: Path, other: str) -> bytes:
    """Half of a recording, whose other half is said to be in the file `other`."""
    data = "".join(
        f'<TiffData FirstT="{12 * half}" IFD="0" PlaneCount="12"><UUID FileName="{name}">{half}</UUID></TiffData>'
        for half, name in enumerate((path.name, other))
    )
    return _described(path, data, 'SizeT="24"')


def _tiff_folder(folder: Path) -> Format:
    run, path = folder / "frames", folder / "one.tif"
    run.mkdir()
    for number, image in enumerate(COUNTS[:3], 1):
        tifffile.imwrite(run / f"frame_{number}.tif", image)
    tifffile.imwrite(path, COUNTS[1], compression="zlib")
    ordinary = [(run / "frame_2.tif").read_bytes(), path.read_bytes()]
    tifffile.imwrite(path, COUNTS[:2], photometric="minisblack")
    return Format("tiff folder", "frames/frame_2.tif", ordinary, (path.read_bytes(), _tiff_bomb(path)), folder=True)


def _tiff_bomb(path: Path) -> bytes:
    """A small page that unpacks to far more."""
    packed = bomb()
    tifffile.imwrite(path, iter([packed]), shape=(16, 8), dtype=np.uint8, compression="zlib", photometric="minisblack")
    return path.read_bytes()


def _png(folder: Path, name: str, file: str) -> Format:
    ordinary, kept = [], folder / file.split("/")[0]
    for dtype in (np.uint8,) if name == "png folder" else (np.uint8, np.uint16):
        images = save_pngs(folder / f"{name} {dtype.__name__}", COUNTS[:3].astype(dtype))
        ordinary.append((images / "frame_0002.png").read_bytes())
    if name == "png folder":
        save_pngs(kept, COUNTS[:3])
    lines = bytes(17) * 16
    traps = [
        png(1 << 30, 1 << 30, 16, lines),
        png(4096, 4096, 8, lines),
        png(16, 8, 8, lines)[:60],
        png(0, 8, 8, lines),
    ]
    return Format(name, file, ordinary, tuple(traps), _with_checksums, "/" in file)


def _with_checksums(whole: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold, as far as their lengths lead."""
    mended, place = bytearray(whole), 8
    while place + 12 <= len(whole):
        (length,) = struct.unpack_from(">I", whole, place)
        after = place + 8 + length
        mended[after : after + 4] = struct.pack(">I", zlib.crc32(whole[place + 4 : after]))
        place = after + 4
    return bytes(mended[: len(whole)])


def _spad512(folder: Path) -> Format:
    frame = np.random.default_rng(2).random((1, 512, 512)) < 0.1
    ordinary = [save_raw(folder / "s.bin", frame.astype(np.uint8), end).read_bytes() for end in (b"", b"DONE")]
    return Format("spad512", "RAW0.bin", ordinary, (ordinary[0][:-1], ordinary[0] + b"ERROR"))


def _npy(folder: Path) -> Format:
    ordinary, traps, path = [], [], folder / "a.npy"
    cube = np.packbits(np.random.default_rng(1).random((6, 64, 64)) < 0.3, axis=-1)
    averages, last = (COUNTS / 16).astype(np.float32), np.asfortranarray(COUNTS)
    for array in (COUNTS, COUNTS.astype(np.int32), COUNTS > 2, cube, cube[..., None], averages, last):
        np.save(path, array)
        ordinary.append(path.read_bytes())
    for shape in ("(1000000000000, 64, 32)", "(-1, 64, 32)", "(2, 1000000, 1000000)"):
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n".encode()
        traps.append(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(100))
    return Format("npy", "a.npy", ordinary, tuple(traps))


def _npz(folder: Path) -> Format:
    ordinary, path = [], folder / "a.npz"
    for write in (np.savez, np.savez_compressed):
        write(path, counts=COUNTS, pixel_mask=np.eye(16, 8, dtype=np.uint8), time=1.5)
        ordinary.append(path.read_bytes())
    np.savez_compressed(path, counts=np.zeros((300, 1024, 1024), np.uint8))
    traps = [path.read_bytes()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("counts.npy", bytes(BOMB_BYTES))
    return Format("npz", "a.npz", ordinary, (*traps, path.read_bytes()))


def _cube(folder: Path) -> Format:
    """The JSON file of a photon cube, beside its array and a mask of hot pixels."""
    kept = folder / "cube"
    (kept / "hot_pixel_mask").mkdir(parents=True)
    np.save(kept / "frames.npy", np.packbits(np.random.default_rng(3).random((6, 40, 52)) < 0.3, axis=2))
    np.save(kept / "hot_pixel_mask" / "hot.npy", np.eye(40, 52))
    said = {"bitpack": True, "bitpack_dim": 2, "h": 40, "w": 52, "c": 1, "fl_x": 50.0}
    masked = said | {"mask": "a/hot.npy", "frames": [{"transform_matrix": np.eye(4).tolist()}] * 6}
    wrong = [[said], said | {"w": 64}, said | {"h": -40}, said | {"bitpack_dim": 3}, said | {"mask": "../../b.npy"}]
    ordinary, traps = ([json.dumps(each).encode() for each in some] for some in ((said, masked), wrong))
    return Format("photon cube", "cube/transforms.json", ordinary, tuple(traps), folder=True, rewritten=_said_otherwise)


def _said_otherwise(whole: bytes, rng: np.random.Generator) -> bytes:
    """A JSON object with another value under one of its names."""
    said = json.loads(whole)
    values = [None, -1, 0, 1, 1 << 40, 1e300, 0.5, "", "x.npy", "../x.npy", [], {}, True, [[1]] * 9, "\0", "9" * 5000]
    said[list(said)[rng.integers(len(said))]] = values[rng.integers(len(values))]
    return json.dumps(said).encode()


def _mat4(folder: Path) -> Format:
    path, ordinary = folder / "a4.mat", []
    for dtype in (np.float64, np.uint8, np.int16):
        scipy.io.savemat(path, {"counts": COUNTS[0].astype(dtype), "note": "words"}, format="4")
        ordinary.append(path.read_bytes())
    return Format("mat 4", "a.mat", ordinary, (struct.pack("<5i", 50, 1 << 30, 1 << 30, 0, 7) + b"counts\0",))


def _csv(folder: Path) -> Format:
    path, ordinary = folder / "a.csv", []
    for style, separator, encoding in (("%d", ",", "utf-8"), ("%.18e", ";", "utf-8-sig"), ("%d", "\t", "utf-16")):
        np.savetxt(path, COUNTS[0], style, separator, header="16 frames")
        path.write_bytes(path.read_text("utf-8").encode(encoding))
        ordinary.append(path.read_bytes())
    return Format("csv", "a.csv", ordinary, (b"a,b\n1,2\n", b"#\n", b"1,2\n3\n"))


def _mat5(folder: Path) -> Format:
    arrays = {"counts": COUNTS.transpose(1, 2, 0), "time": np.array([[1.5]])}
    path = folder / "a.mat"
    ordinary = [save_mat5(path, compressed=False, **arrays).read_bytes()]
    ordinary.append(save_mat5(path, compressed=False, rate=COUNTS[0].astype(float), x={"name": "s"}).read_bytes())
    traps = (ordinary[0][:128] + struct.pack("<II", 15, len(bomb())) + bomb(),)
    return Format("mat 5", "a.mat", ordinary, traps, _packed_elements)


def _packed_elements(whole: bytes) -> bytes:
    """A MATLAB 5 file with its elements compressed, as far as their lengths lead."""
    place, packed = 128, [whole[:128]]
    while place + 8 <= len(whole):
        (length,) = struct.unpack_from("<I", whole, place + 4)
        element = zlib.compress(whole[place : place + 8 + length])
        packed += [struct.pack("<II", 15, len(element)), element]
        place += 8 + length
    return b"".join(packed)


def _mat73(folder: Path) -> Format:
    arrays = {"counts": COUNTS.transpose(1, 2, 0).astype(float), "time": np.array([[1.5]])}
    return Format("mat 7.3", "a.mat", [save_mat73(folder / "a73.mat", **arrays).read_bytes()])
