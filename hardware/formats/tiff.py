"""TIFF images of counts: stacks, one recording over several files, and folders of single images."""

import logging
import math
import re
import struct
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import tifffile
from numpy.typing import NDArray

from hardware.parsing import micro_manager, ome_xml
from hardware.parsing.grey import GREY_AXES, grey
from hardware.parsing.image_names import holds_images, images_in, ordered_images, own_file
from hardware.parsing.inflating import LARGEST_PIECE
from hardware.parsing.planes import Planes, images_of
from hardware.parsing.source import PIXEL_SIZE, Choice, RawStack, Source, counts_dtype, stack_shape
from noise_model.arrays import Counts
from noise_model.errors import InputError

NAME = "TIFF stack"
SUFFIXES = (".tif", ".tiff")
ARRAYS = False
AXES = ("channel", "position", "slice")
LAYOUTS = ()

LZW = 5

#: Compressions that keep counts as they are and unpack to no more than is asked for, by their codes: none, LZW,
#: PackBits, Deflate (three codes), LZMA and Zstandard (two codes).
COMPRESSIONS = (1, 5, 32773, 8, 32946, 50013, 34925, 34926, 50000)

#: Files of one recording that are kept open.
MOST_FILES = 500

#: Names of tifffile's axes, but for those whose numbers follow one another in time or in an unknown way.
_AXES = {"C": "channel", "Z": "slice", "R": "position", "P": "phase", "H": "lifetime", "A": "angle", "E": "wavelength"}

# tifffile logs what it also raises; that would print a second message.
logging.getLogger("tifffile").addHandler(logging.NullHandler())
logging.getLogger("tifffile").propagate = False


@dataclass(frozen=True)
class _Pages:
    """Images of equal size that are stored one after the other in a file.

    Attributes:
        pages: (images,) the page of each, from 0.
        shape: (rows, columns).
        read: read(start, stop) gives the images of that range.
    """

    pages: NDArray[np.int64]
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    read: Callable[[int, int], NDArray[Any]]


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a file by its first bytes (TIFF or BigTIFF, in either byte order), and a folder by a TIFF in it."""
    if path.is_dir():
        return holds_images(path, SUFFIXES)
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_source(path: Path, choice: Choice) -> Source:
    """Opens a stack, or a folder of images, whose pages are read as they are asked for."""
    with ExitStack() as stack:
        source = _open_folder(path, choice, stack) if path.is_dir() else _Recording(path, stack).source(choice)
        return replace(source, close=stack.pop_all().close)


class _Recording:
    """A file, and those that it names as parts of the same recording.

    Files are numbered through in the order in which they are opened; so are their images.
    """

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path, self.stack = path, stack
        self.first = self._opened(path)
        self.parts: list[_Pages] = []
        self.numbers: dict[str, NDArray[np.int64]] = {}

    @cached_property
    def ome(self) -> tuple[Element, str] | None:
        """The OME-XML that describes the recording, and the identifier of this file; None without one."""
        description = self.first.pages.first.description
        if not re.search(r"<(\w+:)?OME\b", description[:1000]):
            return None
        root = own = ome_xml.parsed(self.path, description)
        if described_by := ome_xml.metadata_file(own):
            root = ome_xml.parsed(self.path, self._description(described_by))
        return root, own.get("UUID", "")

    @cached_property
    def planes(self) -> Planes:
        """What the file says of its axes: OME-XML first, then Micro-Manager, then ImageJ and all else."""
        if self.ome is not None:
            return ome_xml.planes_of(self.path, *self.ome, self._pages_of)
        if self.first.pages.first.is_micromanager:
            found = micro_manager.planes_of(self.path, self._pages_of)
            if found is not None:
                return found
        return self._as_stored()

    def names(self) -> list[str]:
        """The names of the files of the recording that are there."""
        assert self.planes
        return [name or self.path.name for name in self.numbers or [""]]

    def source(self, choice: Choice, *, whole: bool = False) -> Source:
        """The images that are chosen; of the whole recording, a position has to be, and not the one of this file."""
        images = images_of(self.path, replace(self.planes, at=None) if whole else self.planes, choice)
        ends = np.cumsum([len(part.pages) for part in self.parts])
        used = [self.parts[index] for index in np.unique(np.searchsorted(ends, images.stored, "right"))]
        shapes = {(part.shape, part.dtype) for part in used}
        if len(shapes) > 1:
            raise InputError(f"{self.path}: {len(shapes)} kinds of page; expected one stack of equal images")
        remark = f"read as one recording: {', '.join(self.names())}"
        size = None if self.ome is None else ome_xml.pixel_size(self.ome[0])
        return Source(
            shape=stack_shape(self.path, (len(images.stored), *used[0].shape)),
            dtype=used[0].dtype,
            read=self._reader(images.stored, ends),
            close=self.stack.close,
            remarks=(*((remark,) if len(self.numbers) > 1 else ()), *images.remarks),
            notes={} if size is None else {PIXEL_SIZE: size},
        )

    def _description(self, name: str) -> str:
        """The OME-XML in another file of the recording."""
        beside = self._beside(name)
        if beside is None:
            raise InputError(f"{self.path}: {name} describes this recording; copy it into the same folder")
        if beside.suffix.lower() in SUFFIXES:
            return str(self._opened(beside).pages.first.description)
        with beside.open("rb") as file:
            return file.read(LARGEST_PIECE).decode("utf-8")

    def _beside(self, name: str) -> Path | None:
        """A file of that name in the same folder; None where there is none."""
        if Path(name).name != name or "\\" in name or ":" in name:
            raise InputError(f"{self.path}: names {name} as part of it; expected files in the same folder")
        beside = self.path.with_name(name)
        return beside if beside.is_file() and not beside.is_symlink() else None

    def _opened(self, path: Path, **kinds: bool) -> tifffile.TiffFile:
        # OME metadata may name other files, which tifffile would open wherever they are.
        flags: dict[str, Any] = {"is_ome": False, "is_mmstack": False, "is_ndtiff": False, **kinds}
        tiff = self.stack.enter_context(tifffile.TiffFile(path, **flags))
        _check_chain(path, tiff)
        return tiff

    def _pages_of(self, name: str) -> NDArray[np.int64] | None:
        """Numbers of the images of a file of the recording by their pages; None where it is not there."""
        if name not in self.numbers:
            beside = self._beside(name) if name else self.path
            if beside is None:
                return None
            if len(self.numbers) == MOST_FILES:
                raise InputError(f"{self.path}: a recording of more than {MOST_FILES} files; save it as one")
            tiff = self._opened(beside, is_imagej=False, is_shaped=False)  # only the pages: their axes are known
            start = self._images()
            added = [self._stored(beside, tiff, series) for series in tiff.series]
            self.parts += added
            pages = np.concatenate([part.pages for part in added])
            numbers = np.full(len(tiff.pages), -1)
            numbers[pages[pages >= 0]] = start + np.flatnonzero(pages >= 0)
            self.numbers[name] = numbers
        return self.numbers[name]

    def _images(self) -> int:
        return sum(len(part.pages) for part in self.parts)

    def _as_stored(self) -> Planes:
        """The planes as tifffile takes them: those of ImageJ and other programs; appended ones follow one another."""
        found = list(self.first.series)
        kinds = {(each.keyframe.shape, each.keyframe.axes, each.dtype) for each in found}
        if len(kinds) != 1:
            raise InputError(f"{self.path}: {len(found)} kinds of page; expected one stack of equal images")
        if len(found) == 1:
            self.parts = [self._stored(self.path, self.first, found[0])]
            planes = Planes.in_order(*_leading(self.path, found[0]))
            mode = (self.first.imagej_metadata or {}).get("mode", "grayscale")
            return planes if mode == "grayscale" else replace(planes, names={"channel": [mode] * len(planes.stored)})
        tables = [Planes.in_order(*_leading(self.path, each)) for each in found]
        if self._pages_of("") is None or sum(len(each.stored) for each in tables) != self._images():
            raise InputError(f"{self.path}: {len(found)} stacks that are stored apart; save one stack of equal images")
        return Planes.appended(self.path, tables)

    def _stored(self, path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> _Pages:
        key = series.keyframe
        if key is None or series.dtype is None or key.axes not in GREY_AXES or key.samplesperpixel > 4:
            axes = "" if key is None else key.axes
            raise InputError(f"{path}: pages with axes {axes}; expected grey images of counts")
        rows, columns = (key.shape[key.axes.index(axis)] for axis in "YX")
        images = series.size // max(key.size, 1)
        stack_shape(path, (images, rows, columns))
        dtype = counts_dtype(path, series.dtype)
        if series.dataoffset is not None and dtype.kind != "b":
            ordered = dtype.newbyteorder(tiff.byteorder)
            raw = RawStack(path, (images, *key.shape), ordered, series.dataoffset)
            self.stack.callback(raw.close)
            return _Pages(np.arange(images), (rows, columns), dtype, _grey_reader(path, raw.read, key.axes))
        if len(series.pages) != images:
            raise InputError(f"{path}: {images} images in {len(series.pages)} pages; save it again as a plain stack")
        pages = np.array([_index(page) for page in series.pages])
        return _Pages(pages, (rows, columns), dtype, _grey_reader(path, _page_reader(path, series), key.axes))

    def _reader(self, stored: NDArray[np.int64], ends: NDArray[np.int64]) -> Callable[[int, int], Counts]:
        """Reads images by runs that follow one another in a file."""

        def read(start: int, stop: int) -> Counts:
            wanted = stored[start:stop]
            inside = np.searchsorted(ends, wanted, "right")
            breaks = np.flatnonzero((np.diff(wanted) != 1) | (np.diff(inside) != 0)) + 1
            return np.concatenate([piece(run) for run in np.split(wanted, breaks)])

        def piece(run: NDArray[np.int64]) -> Counts:
            index = int(np.searchsorted(ends, run[0], "right"))
            part = self.parts[index]
            begin = int(ends[index]) - len(part.pages)
            return part.read(int(run[0]) - begin, int(run[-1]) + 1 - begin)

        return read


def _check_chain(path: Path, tiff: tifffile.TiffFile) -> None:
    """Refuses a chain of pages that breaks off: tifffile would take it for a shorter stack."""
    form, file = tiff.tiff, tiff.filehandle
    file.seek(tiff.pages[-1].offset)
    (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(tags * form.tagsize, 1)
    if any(file.read(form.offsetsize)):
        raise InputError(f"{path}: truncated: breaks off after page {len(tiff.pages)}; copy it again")


def _index(page: tifffile.TiffPage | tifffile.TiffFrame | None) -> int:
    """The number of a page; -1 of what is not one of the file's own."""
    index = -1 if page is None else page.index
    return index if isinstance(index, int) else -1


def _leading(path: Path, series: tifffile.TiffPageSeries) -> tuple[list[str], list[int]]:
    """Names and sizes of the axes of a series before those of a page."""
    letters, sizes, page = series.axes, list(series.shape), series.keyframe.axes
    while letters and not letters.endswith(page) and sizes[-1] == 1:
        letters, sizes = letters[:-1], sizes[:-1]
    if not letters.endswith(page):
        raise InputError(f"{path}: axes {series.axes} of pages {page}; save it again as one stack of images")
    leading = letters[: -len(page)]
    names = [_AXES.get(letter, "time" if letter == "T" else f"axis {place}") for place, letter in enumerate(leading, 1)]
    return names, sizes[: len(leading)]


def _check_segments(path: Path, page: tifffile.TiffPage) -> None:
    """Refuses compressions that change counts, or do not show how much they unpack to, and giant tiles."""
    if page.compression not in COMPRESSIONS:
        raise InputError(f"{path}: compressed by {page.compression!r}; save it uncompressed, or with Deflate or LZW")
    if page.is_tiled and math.prod((page.tilelength, page.tilewidth, page.tiledepth)) > LARGEST_PIECE // 8:
        raise InputError(f"{path}: tiles of {page.tilelength} x {page.tilewidth} pixels; save it in strips")


def _page_reader(path: Path, series: tifffile.TiffPageSeries) -> Callable[[int, int], NDArray[Any]]:
    largest, shape = path.stat().st_size, series.keyframe.shape

    def read_page(index: int) -> NDArray[Any]:
        page = series.pages[index]
        if page is None or page.keyframe is None or page.shape != shape:
            raise InputError(
                f"{path}: page {index} is missing or differs from the first; save one stack of equal images"
            )
        if sum(page.databytecounts) > largest:
            raise InputError(f"{path}: damaged: page {index} claims to be larger than the file; copy it again")
        _check_segments(path, page.keyframe)
        return _lzw_page(path, page, page.keyframe) if page.keyframe.compression == LZW else page.asarray()

    return lambda start, stop: np.stack([read_page(index) for index in range(start, stop)])


def _lzw_page(path: Path, page: tifffile.TiffPage | tifffile.TiffFrame, key: tifffile.TiffPage) -> NDArray[Any]:
    """The pixels of a page in strips that are packed by LZW, whose rows may hold differences (predictor 2)."""
    from hardware.parsing import lzw  # compiles, which takes a while

    dtype, file = np.dtype(key.dtype), page.parent.filehandle
    plain = key.planarconfig == 1 and key.bitspersample == 8 * dtype.itemsize and key.fillorder == 1
    if key.is_tiled or not plain or key.predictor not in (1, 2):
        raise InputError(f"{path}: compressed by LZW in tiles or planes; save it uncompressed, or with Deflate")
    strips, rows = [], key.imagelength
    row_bytes = key.imagewidth * key.samplesperpixel * dtype.itemsize
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(offset)
        strips.append(lzw.unpacked(file.read(length), min(rows, key.rowsperstrip) * row_bytes))
        rows -= min(rows, key.rowsperstrip)
    pixels = np.concatenate(strips).view(dtype.newbyteorder(page.parent.byteorder))
    image = pixels.reshape(key.imagelength, key.imagewidth, key.samplesperpixel).astype(dtype)
    if key.predictor == 2:
        np.cumsum(image, axis=1, dtype=dtype, out=image)
    return image.reshape(key.shape)


def _grey_reader(path: Path, read: Callable[[int, int], NDArray[Any]], axes: str) -> Callable[[int, int], NDArray[Any]]:
    if axes == "YX":
        return read
    return lambda start, stop: grey(path, np.moveaxis(read(start, stop), 1 + axes.index("S"), -1))


def _open_folder(folder: Path, choice: Choice, stack: ExitStack) -> Source:
    """Opens a folder of single images in the order of their names; or the recording that its files are parts of."""
    files = images_in(folder)
    recording = _Recording(own_file(folder, files[0]), stack)
    names = recording.names()
    if len(files) == 1 or len(names) > 1:
        if set(names) != {path.name for path in files}:
            raise InputError(f"{folder}: holds images besides those of {files[0].name}; give that file instead")
        return recording.source(choice, whole=True)
    images = ordered_images(folder, choice)
    first = _Recording(own_file(folder, images.paths[0]), stack).source(images.rest)
    if first.shape[0] > 1:
        many = f"{images.paths[0].name} holds {first.shape[0]} images"
        raise InputError(f"{folder}: {many}; expected one image in each file, give the stacks one by one")

    def read(start: int, stop: int) -> Counts:
        return np.concatenate(
            [_single(own_file(folder, path), first, images.rest) for path in images.paths[start:stop]]
        )

    return replace(first, shape=(len(images.paths), *first.shape[1:]), read=read, remarks=images.remarks)


def _single(path: Path, like: Source, choice: Choice) -> Counts:
    with ExitStack() as stack:
        source = _Recording(path, stack).source(choice)
        if (source.shape, source.dtype) != ((1, *like.shape[1:]), like.dtype):
            raise InputError(f"{path}: differs in size or type from the first image; expected one stack")
        return source.read(0, 1)
