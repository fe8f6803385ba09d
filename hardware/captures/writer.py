"""Writing captures: in blocks, in the capture format (HDF5)."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hardware.hdf5 import bitshuffle
from hardware.hdf5.nexus_tree import (
    CYCLES,
    DETECTOR,
    PLACES_OF_PIXELS,
    UNFINISHED,
    append,
    new_file,
    new_tree,
    text,
    unfinished_name,
    write_notes,
    write_settings,
)
from hardware.settings import Settings
from noise_model.arrays import Counts
from noise_model.errors import InputError
from noise_model.files import allow_as_usual, move_new, partial_file, this_process
from noise_model.hdf5_files import SafeFile
from noise_model.sensor import PLACES

#: An entry of `host_time`: the sequence number of an image, and when it arrived (s).
ARRIVAL = np.dtype([("sequence_number", "<u8"), ("host_time", "<f8")])


class CaptureWriter:
    """Writes the capture file `path` from blocks of counts; a context manager.

    The file is written beside `path`, flushed after every block (so that what was appended outlives a killed writer),
    and renamed to `path` at the end; an exception inside leaves nothing. Sequence numbers are flushed after the counts
    they belong to: in the file of a killed writer, images that have one are whole.

    Args:
        shape: rows and columns; of places, where pixels are divided into them.
        dtype: uint8, uint16 or uint32.
        settings: how the images were taken.
        pixel_mask: (H, W), NXdetector bits.
        places: places within a pixel along each side whose counts are kept apart, 1 or 4.
        notes: further facts of the acquisition; `start_time` (ISO 8601), `description`, `serial_number` go to the
            places that NeXus has for them.
        compression: a name in `nexus_tree.COMPRESSIONS`.

    Raises:
        InputError: `path` cannot be written, or the compression is not installed.
        ValueError: a block does not fit what was declared, or there was none.
    """

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, int],
        dtype: DTypeLike,
        settings: Settings,
        *,
        pixel_mask: NDArray[Any] | None = None,
        notes: Mapping[str, Any] | None = None,
        compression: str = "none",
        places: int = 1,
    ) -> None:
        if compression == "lz4":
            bitshuffle.load_filter(path)
        self.path, self.shape, self.dtype, self.settings = Path(path), shape, np.dtype(dtype), settings
        if self.dtype not in (np.uint8, np.uint16, np.uint32):
            raise ValueError(f"counts of type {self.dtype}; expected uint8, uint16 or uint32")
        if places not in (1, PLACES) or shape[0] % places or shape[1] % places:
            raise ValueError(f"{places} places along each side of a pixel in images {shape}; expected 1 or {PLACES}")
        self.places, pixels = places, (shape[0] // places, shape[1] // places)
        self.pixel_mask = None if pixel_mask is None else np.asarray(pixel_mask, np.uint32).reshape(pixels)
        self.notes, self._compression = notes or {}, compression
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._use(self._stack.enter_context(new_tree(self.path)))
        self._describe()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and "data" not in self._detector:
            error = InputError(f"{self.path}: there is no image to write")
            self._stack.__exit__(type(error), error, None)
            raise error
        if error is None:
            del self._file.attrs[UNFINISHED]
        self._stack.__exit__(kind, error, trace)

    def append(
        self,
        counts: Counts,
        *,
        sequence_number: NDArray[Any] | None = None,
        image_key: int | NDArray[Any] | None = None,
        host_time: float | None = None,
        cycles: Counts | None = None,
    ) -> None:
        """Writes a block of images, (n, H, W), and flushes it; blocks of 256 images and more are fast.

        Args:
            sequence_number: (n,), indices of the images as acquired.
            image_key: 0 scene, 1 flat, 2 dark, 3 invalid; one for all images or (n,).
            host_time: s, when the last of the images arrived, by a clock that only goes forward; it is kept beside the
                sequence number of that image, which must be given.
            cycles: (n, H, W), hardware frames of each pixel, where these differ: from 0 (it never looked) to those of
                the settings.

        Give each of these with every block or with none.
        """
        if counts.shape[1:] != self.shape or not np.can_cast(counts.dtype, self.dtype):
            raise ValueError(f"a block {counts.shape} of {counts.dtype}; expected (n, *{self.shape}) of {self.dtype}")
        if cycles is not None:
            if cycles.shape != counts.shape or cycles.min() < 0 or cycles.max() > self.settings.cycles:
                raise ValueError(f"cycles {cycles.shape}; expected {counts.shape} from 0 to {self.settings.cycles}")
            append(self._detector, CYCLES, cycles.astype(np.uint32), None, self._compression)
        append(self._detector, "data", counts.astype(self.dtype, copy=False), "counts", self._compression)
        if image_key is not None:
            append(self._detector, "image_key", np.broadcast_to(np.asarray(image_key, np.uint8), len(counts)))
        if host_time is not None and sequence_number is not None:
            append(self._detector, "host_time", np.array([(sequence_number[-1], host_time)], ARRIVAL))
        self._file.flush()
        if sequence_number is not None:
            append(self._detector, "sequence_number", np.asarray(sequence_number, np.uint64))
            self._file.flush()

    def append_fields(self, group: str, fields: Mapping[str, NDArray[Any]], meanings: Mapping[str, str]) -> None:
        """Writes further numbers of the next images, (n, ...) each, below a place of their own, and what they mean."""
        if group not in self._file:
            self._file.create_group(group).attrs["NX_class"] = text("NXcollection")
        for name, values in fields.items():
            append(self._file[group], name, values)
            self._file[group][name].attrs["long_name"] = text(meanings[name])
        self._file.flush()

    def note(self, notes: Mapping[str, Any]) -> None:
        """Writes further notes, for instance those of the end of an acquisition."""
        write_notes(self._file, notes)
        self._file.flush()

    def _use(self, file: SafeFile) -> None:
        self._file, self._detector = file, file[DETECTOR]

    def _describe(self) -> None:
        self._file.attrs[UNFINISHED] = text(this_process())
        write_settings(self._file, self.settings)
        if self.places > 1:
            self._detector[PLACES_OF_PIXELS] = self.places
        write_notes(self._file, self.notes)
        if self.pixel_mask is not None:
            self._detector["pixel_mask"] = self.pixel_mask


class RecordingWriter(CaptureWriter):
    """Writes a recording: what was appended stays, whatever happens, and no file is replaced; a context manager.

    The file is hidden until it holds the first block, so that it can be opened from its first moment on. Then it has
    the name `unfinished_name(path)`, and `path` at the end, even after an exception; without a block nothing is left.

    Raises:
        InputError: `path` cannot be written, or exists.
    """

    def __enter__(self) -> Self:
        self._part = unfinished_name(self.path)
        self._place = partial_file(self._part)
        self._use(new_file(self._place))
        self._describe()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hidden:
            self._file.drop()
            self._place.unlink()
            if error is None:
                raise InputError(f"{self.path}: there is no image to write")
            return
        try:
            if error is None:
                del self._file.attrs[UNFINISHED]
                self._file.close()
        finally:
            self._file.drop()
            self._move(self.path)

    def append(
        self,
        counts: Counts,
        *,
        sequence_number: NDArray[Any] | None = None,
        image_key: int | NDArray[Any] | None = None,
        host_time: float | None = None,
        cycles: Counts | None = None,
    ) -> None:
        """As `CaptureWriter.append`."""
        super().append(counts, sequence_number=sequence_number, image_key=image_key, host_time=host_time, cycles=cycles)
        if self._hidden:
            self._file.close()
            allow_as_usual(self._place)
            self._move(self._part)
            self._use(SafeFile(self._place, "r+"))

    def go_back(self) -> None:
        """Undoes a block whose writing failed; of the images written before, none is touched."""
        self._file.drop()
        if not self._hidden:
            self._use(SafeFile(self._place, "r+"))

    @property
    def _hidden(self) -> bool:
        return self._place not in (self._part, self.path)

    def _move(self, name: Path) -> None:
        """Gives the file another name. Raises OSError that says where it is if that cannot be done."""
        try:
            move_new(self._place, name)
        except OSError as error:
            what = "it is whole: rename it" if self._place.exists() else "it was deleted meanwhile"
            if self._hidden:
                what = "another program records under that name: choose another"
            why = f"cannot be named {name.name} ({error.strerror}); {what}"
            raise OSError(error.errno, f"{self._place.name} {why}") from error
        self._place = name
