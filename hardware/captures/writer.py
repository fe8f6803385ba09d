"""Writing captures: in blocks, in the capture format, whole or not at all."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hardware.hdf5 import bitshuffle
from hardware.hdf5.nexus_tree import DETECTOR, UNFINISHED, append, kept_tree, new_tree, write_settings
from hardware.parsing.source import Counts
from hardware.settings import NOTHING_SAID, Settings
from noise_model.errors import InputError
from noise_model.sensor import Exposure

#: An entry of `host_time`: the sequence number of an image, and when it arrived (s).
ARRIVAL = np.dtype([("sequence_number", "<u8"), ("host_time", "<f8")])


class CaptureWriter:
    """A context manager that makes the capture file `path` from blocks of counts.

    The file is written beside `path`, flushed after every block (so that what was appended outlives a killed writer),
    and renamed to `path` at the end; an exception inside leaves nothing. Sequence numbers are flushed after the counts
    they belong to: in the file of a killed writer, images that have one are whole.

    Args:
        shape_hw: rows and columns.
        dtype: uint8, uint16 or uint32.
        saturation_value: the largest count an image can hold; by default what cycles and counter bits allow.
        frame_time: s from the start of one image to the start of the next.
        pixel_mask: (H, W), NXdetector bits.
        compression: a name in `tree.COMPRESSIONS`.
        keep: what was appended stays after an exception; nothing is replaced (`tree.kept_tree`).
        notes: free acquisition settings; `start_time` (ISO 8601), `description`, `serial_number` go to NeXus places.

    Raises:
        InputError: `path` cannot be written, a setting is not one that a camera can have, or the compression is not
            installed.
        ValueError: a block does not fit what was declared, or there was none.
    """

    def __init__(
        self,
        path: str | Path,
        shape_hw: tuple[int, int],
        dtype: DTypeLike,
        *,
        exposure: Exposure,
        dead_time: float,
        counter_bits: int,
        saturation_value: int | None = None,
        frame_time: float | None = None,
        pixel_mask: NDArray[Any] | None = None,
        corrected: bool = False,
        background_subtracted: bool = False,
        compression: str = "none",
        keep: bool = False,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        if compression == "lz4":
            bitshuffle.load_filter(path)
        self.path, self.shape_hw, self.dtype = Path(path), shape_hw, np.dtype(dtype)
        if self.dtype not in (np.uint8, np.uint16, np.uint32):
            raise ValueError(f"counts of type {self.dtype}; expected uint8, uint16 or uint32")
        self.settings = Settings.of(
            path,
            count_time=exposure.count_time,
            cycles=exposure.cycles,
            frame_time=frame_time,
            dead_time=dead_time,
            counter_bits=counter_bits,
            saturation_value=saturation_value or exposure.cycles * (2**counter_bits - 1),
        )
        self.fields: dict[str, Any] = {
            "countrate_correction_applied": corrected,
            "background_subtracted": background_subtracted,
        }
        if pixel_mask is not None:
            self.fields["pixel_mask"] = np.asarray(pixel_mask, np.uint32).reshape(shape_hw)
        self.notes, self._compression, self._tree = notes or {}, compression, kept_tree if keep else new_tree
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._file = self._stack.enter_context(self._tree(self.path))
        self._file.attrs[UNFINISHED] = True
        self._detector = self._file[DETECTOR]
        write_settings(self._file, self.settings, self.notes)
        for name, value in self.fields.items():
            self._detector[name] = value
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
    ) -> None:
        """Writes a block of images, (n, H, W), and flushes it; blocks of 256 images and more are fast.

        `sequence_number` (n,) are the images' indices as acquired; `image_key` is 0 scene, 1 flat, 2 dark, 3 invalid,
        one for all or (n,). `host_time` is when the last of them arrived, in s of a clock that only goes forward; it is
        kept beside that image's sequence number, which it needs.
        Give each with every block or with none.
        """
        if counts.shape[1:] != self.shape_hw or not np.can_cast(counts.dtype, self.dtype):
            raise ValueError(
                f"a block {counts.shape} of {counts.dtype}; expected (n, *{self.shape_hw}) of {self.dtype}"
            )
        append(self._detector, "data", counts.astype(self.dtype, copy=False), "counts", self._compression)
        if image_key is not None:
            append(self._detector, "image_key", np.broadcast_to(np.asarray(image_key, np.uint8), len(counts)))
        if host_time is not None and sequence_number is not None:
            append(self._detector, "host_time", np.array([(sequence_number[-1], host_time)], ARRIVAL))
        self._file.flush()
        if sequence_number is not None:
            append(self._detector, "sequence_number", np.asarray(sequence_number, np.uint64))
            self._file.flush()

    def note(self, notes: Mapping[str, Any]) -> None:
        """Writes further notes, those of the end of an acquisition for instance."""
        write_settings(self._file, NOTHING_SAID, notes)
