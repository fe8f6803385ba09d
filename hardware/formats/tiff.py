"""TIFF stacks of counts."""

import logging
import struct
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile

from hardware.parsing.inflating import LARGEST_PIECE, LARGEST_RATIO, check_inflation
from hardware.parsing.source import Choice, RawStack, Source, counts_dtype, stack_shape
from noise_model.arrays import Counts
from noise_model.errors import InputError

NAME = "TIFF stack"
SUFFIXES = (".tif", ".tiff")
ARRAYS = False
LAYOUTS = ()

#: Codes of compressions: none and runs of equal bytes, which grow little; and the two of Deflate.
PLAIN, DEFLATE = (1, 32773), (8, 32946)

# tifffile logs what it also raises; without a handler that would print a second message.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a file by its first bytes: TIFF or BigTIFF, in either byte order."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_source(path: Path, choice: Choice) -> Source:
    """Opens a stack, whose pages are read as they are asked for."""
    with ExitStack() as stack:
        # OME metadata may name other files, so it is not followed: the pages of this file are the images.
        tiff = stack.enter_context(tifffile.TiffFile(path, is_ome=False))
        _check_chain(path, tiff)
        source = _open_stack(path, tiff)
        stack.callback(source.close)
        return replace(source, close=stack.pop_all().close)


def _check_chain(path: Path, tiff: tifffile.TiffFile) -> None:
    """Refuses a chain of pages that breaks off: tifffile would take it for a shorter stack."""
    form, file = tiff.tiff, tiff.filehandle
    file.seek(tiff.pages[-1].offset)
    (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(tags * form.tagsize, 1)
    if any(file.read(form.offsetsize)):
        raise InputError(f"{path}: truncated: breaks off after page {len(tiff.pages)}; copy it again")


def _open_stack(path: Path, tiff: tifffile.TiffFile) -> Source:
    series = _only_series(path, tiff)
    dtype = counts_dtype(path, series.dtype)
    height, width = series.keyframe.shape
    shape = stack_shape(path, (series.size // max(height * width, 1), height, width))
    if series.dataoffset is not None and dtype.kind != "b":
        raw = RawStack(path, shape, dtype.newbyteorder(tiff.byteorder), series.dataoffset)
        return Source(shape, dtype, raw.read, raw.close)
    if len(series.pages) != shape[0]:
        raise InputError(f"{path}: {shape[0]} images in {len(series.pages)} pages; save it again as a plain stack")
    return Source(shape, dtype, _page_reader(path, series, shape[1:]), tiff.close)


def _only_series(path: Path, tiff: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    if len(tiff.series) != 1:
        raise InputError(f"{path}: {len(tiff.series)} kinds of page; expected one stack of equal images")
    series = tiff.series[0]
    if series.dtype is None or series.keyframe.axes != "YX":
        raise InputError(f"{path}: pages with axes {series.keyframe.axes}; expected grey images of counts (no colour)")
    return series


def _check_segments(path: Path, page: tifffile.TiffPage | tifffile.TiffFrame, compression: int) -> None:
    """Refuses a page that unpacks to more than a page holds, and compressions that do not show how much that is."""
    if compression not in (*DEFLATE, *PLAIN):
        raise InputError(f"{path}: compressed by {compression!r}; save it uncompressed or with Deflate")
    if compression in DEFLATE:
        for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
            if length * LARGEST_RATIO > LARGEST_PIECE:
                page.parent.filehandle.seek(offset)
                check_inflation(path, page.parent.filehandle.read(length))


def _page_reader(path: Path, series: tifffile.TiffPageSeries, image: tuple[int, ...]) -> Callable[[int, int], Counts]:
    largest = path.stat().st_size

    def read_page(index: int) -> Counts:
        page = series.pages[index]
        if page is None or page.keyframe is None or page.shape != image:
            raise InputError(
                f"{path}: page {index} is missing or differs from the first; save one stack of equal images"
            )
        if sum(page.databytecounts) > largest:
            raise InputError(f"{path}: damaged: page {index} claims to be larger than the file; copy it again")
        _check_segments(path, page, page.keyframe.compression)
        return page.asarray()

    return lambda start, stop: np.stack([read_page(index) for index in range(start, stop)])
