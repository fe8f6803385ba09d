"""Writing result files: HDF5 with NeXus names, block by block, so that what is done outlives whatever ends it."""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from hardware.hdf5 import bitshuffle
from hardware.hdf5.nexus_tree import (
    CYCLES,
    DETECTOR,
    NUMBERS,
    UNFINISHED,
    append,
    creator,
    inside,
    new_file,
    text,
    write_notes,
    write_settings,
)
from hardware.settings import Settings
from noise_model.arrays import Picture
from noise_model.errors import InputError
from noise_model.files import allow_as_usual, partial_file, this_process
from noise_model.hdf5_files import SafeFile, read_hdf5
from noise_model.interrupts import Interrupted
from noise_model.owned_folder import owned
from spadsr.motion.motion import Motion
from spadsr.provenance import Provenance
from spadsr.restoration.motion_fields import FIELDS, MOTION, fields_of
from spadsr.restoration.storage import ROUNDING, Storage, rounded_rate, rounded_residual, rounded_uncertainty

PROCESS = "/entry/process"
PHYSICS_CHECK = f"{PROCESS}/physics_check"
UNITS = "counts/s"
COVERAGE_FACTOR = "coverage_factor_95"

#: What is written of the check of an answer against its counts, for each image.
CHECKS = {
    "chi_squared": "weighted mean over pixels of (counts - expected)^2 / variance, as the restored rates imply both"
    " if 5 % off: about 1; less where the answer follows the noise; far more where it contradicts the counts",
    "spread": "standard deviation of chi_squared were the restored rates the true ones",
    "balance": "counts over the counts expected of the restored rates: about 1",
    "balance_spread": "standard deviation of balance were the restored rates the true ones",
    "hot": "pixels far above the answer and their neighbours, taken for hot; the check leaves them out",
    "residual": "(counts - expected) / sqrt(variance + 1) of every native pixel; 0 where left out",
}

#: Checksums of the counts that each image was restored from.
CHECKSUMS = f"{PROCESS}/counts_crc32"

#: Field of the counts that were merged, where motion was followed.
COUNTS = "counts"
_MERGED = f"(H, W) counts of native pixels that were restored, of as many hardware frames as {DETECTOR}/{CYCLES} says"

#: Fields of `Provenance` that are stored as text, and as JSON.
TEXTS, TABLES = ("model", "model_sha256", "command"), ("sensor", "config", "versions")


def is_result(file: h5py.File) -> bool:
    """Whether an HDF5 file is a result."""
    return inside(Path(file.filename), file, f"{PROCESS}/scale") is not None


def has_images(part: Path) -> bool:
    """Whether a file is a result, or a part of one, with an image or more."""
    if not part.is_file() or not h5py.is_hdf5(part):
        return False
    try:
        with read_hdf5(part) as file:
            return is_result(file) and inside(part, file, f"{DETECTOR}/data") is not None
    except OSError:
        return False


def part_of(result: Path) -> Path:
    """The name of a result until it is finished: `cell.sr.part.h5` for `cell.sr.h5`."""
    return result.with_suffix(f".part{result.suffix}")


def refuse_recordings(path: Path) -> None:
    """Refuses to replace a recording, or another HDF5 file that is no result.

    Raises:
        InputError: one is there under that name.
    """
    if path.is_file() and h5py.is_hdf5(path) and not has_images(path):
        raise InputError(f"{path}: is there already and is no result; choose another name", "output")


def checksums_of(counts: NDArray[np.integer[Any]]) -> NDArray[np.uint32]:
    """CRC-32 of each image of counts (n, H, W), as unsigned 32-bit numbers, little-endian: (n,)."""
    return np.array([zlib.crc32(np.ascontiguousarray(image, "<u4").data) for image in counts], np.uint32)


class ResultWriter:
    """A context manager that makes the result file `path`, in blocks.

    It is written under the name of `part_of`, a result of its own after each block, and renamed at the end. If an
    `Interrupted` passes, or the process is killed, that is what stays; after other errors, what was there before.

    Args:
        settings: how the images that are restored were taken (N is that of the sums).
        notes: free acquisition settings.
        source: name of the capture.
        scale: resolution of the answer over that of the sensor.
        warnings: what the user should know; the attribute may grow until the end.
        storage: what is kept, and how.
        taken_over: images that an interrupted writer left and that are gone on from.

    Raises:
        InputError: `path` cannot be written, or is a recording, or another process writes it.
        ValueError: a block does not fit.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        settings: Settings,
        notes: Mapping[str, Any],
        source: str,
        scale: int,
        provenance: Provenance,
        warnings: Iterable[str] = (),
        storage: Storage | None = None,
        taken_over: int = 0,
    ) -> None:
        self.path, self.settings, self.notes = Path(path), settings, notes
        self.source, self.scale, self.provenance, self.warnings = source, scale, provenance, list(warnings)
        self.storage, self._taken_over = storage or Storage(), taken_over
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        refuse_recordings(self.path)
        if self.storage.compression == "lz4":
            bitshuffle.load_filter(self.path)
        part = part_of(self.path)
        with self._stack:
            partial_file(self.path).unlink()  # the folder is there, and can be written
            name = f"{zlib.crc32(self.path.name.encode(errors='replace')):08x}"
            self._stack.enter_context(owned(part.parent, name, self.path))
            self._file = self._stack.enter_context(_file_of(part, self._taken_over))
            if not self._taken_over:
                self._begin()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        part, done = part_of(self.path), False
        keep = error is None or (isinstance(error, Interrupted) and "data" in self._file[DETECTOR])
        with self._stack:
            try:
                if isinstance(error, OSError):
                    raise error
                if keep:
                    self._end()
                    self._file.close()
                    allow_as_usual(part)
                    if error is None:
                        part.replace(self.path)
                    done = True
            except OSError as wrong:
                why = f"writing failed ({wrong.strerror or wrong}); check the disk and try again"
                raise InputError(f"{self.path}: {why}") from wrong
            finally:
                if not done:
                    self._file.drop()
                    if not self._taken_over:
                        part.unlink(missing_ok=True)

    def _begin(self) -> None:
        """Writes what is known at the beginning."""
        write_settings(self._file, self.settings, NUMBERS)
        write_notes(self._file, self.notes)
        process = self._file.create_group(PROCESS)
        process.attrs["NX_class"] = text("NXprocess")
        self._file.create_group(PHYSICS_CHECK).attrs["NX_class"] = text("NXcollection")
        for name, value in self._process().items():
            process[name] = text(value) if isinstance(value, str) else value
        if "uncertainty" in self.storage.keep:
            self._file["/entry/data/data_errors"] = h5py.SoftLink(f"{DETECTOR}/uncertainty")
        self._file.attrs[UNFINISHED] = text(this_process())
        self._say(["restoring was not finished"])

    def _end(self) -> None:
        """Writes what is known at the end."""
        if COVERAGE_FACTOR in self._file[DETECTOR]:
            meaning = "one uncertainty covers 68 % of the pixels of an image, so many of them 95 %"
            self._file[DETECTOR][COVERAGE_FACTOR].attrs["long_name"] = text(meaning)
        for group, meanings in ((PHYSICS_CHECK, CHECKS), (MOTION, FIELDS | {COUNTS: _MERGED})):
            for name, figures in self._file[group].items() if group in self._file else ():
                figures.attrs["long_name"] = text(meanings[name])
        if UNFINISHED in self._file.attrs:
            del self._file.attrs[UNFINISHED]
        self._say(self.warnings)

    def _say(self, warnings: Sequence[str]) -> None:
        process = self._file[PROCESS]
        if "warnings" in process:
            del process["warnings"]
        process["warnings"] = text(json.dumps(list(warnings)))

    def append(
        self,
        rate: Picture,
        uncertainty: Picture,
        coverage_factor: NDArray[np.float32],
        checks: Mapping[str, NDArray[Any]],
        counts: NDArray[np.integer[Any]] | None = None,
        cycles: NDArray[np.integer[Any]] | None = None,
        motion: Sequence[Motion] = (),
    ) -> None:
        """Writes and flushes a block of n images.

        Args:
            rate, uncertainty: (n, s H, s W), counts/s per native pixel area.
            coverage_factor: (n,), by which uncertainties are multiplied to cover 95 %.
            checks: what `CHECKS` names, (n,), but the residual, (n, H, W).
            counts: (n, H, W), that were restored, where they are known; with all blocks or with none.
            cycles: (n, H, W), hardware frames of each pixel, where these differ; with all blocks or with none.
            motion: what was followed, where motion was looked for.
        """
        expected = tuple(self.scale * side for side in checks["residual"].shape[1:])
        if rate.shape != uncertainty.shape or rate.shape[1:] != expected:
            raise ValueError(f"blocks {rate.shape} and {uncertainty.shape}; expected (n, *{expected})")
        residual = checks["residual"]
        if not self.storage.exact:
            uncertainty = rounded_uncertainty(uncertainty)
            rate, residual = rounded_rate(rate, uncertainty), rounded_residual(residual)
        self._append(DETECTOR, "data", rate, UNITS)
        if "uncertainty" in self.storage.keep:
            self._append(DETECTOR, "uncertainty", uncertainty, UNITS)
        append(self._file[DETECTOR], COVERAGE_FACTOR, coverage_factor)
        if cycles is not None:
            self._append(DETECTOR, CYCLES, cycles.astype(np.uint32))
        if motion and counts is not None:
            self._file.require_group(MOTION)
            for name, values in fields_of(motion, counts.shape[-2:]).items():
                append(self._file[MOTION], name, values)
            self._append(MOTION, COUNTS, counts.astype(np.uint32))
        for name in CHECKS:
            if name != "residual":
                append(self._file[PHYSICS_CHECK], name, checks[name])
        if "residual" in self.storage.keep:
            self._append(PHYSICS_CHECK, "residual", residual)
        if counts is not None:
            append(self._file[PROCESS], CHECKSUMS.rsplit("/", 1)[1], checksums_of(counts))
        self._file.flush()

    def _append(self, group: str, name: str, block: NDArray[Any], units: str | None = None) -> None:
        """Appends a block of pictures, compressed as is asked for."""
        new = name not in self._file[group]
        append(self._file[group], name, block, units, self.storage.compression)
        if new and not self.storage.exact and name in ROUNDING:
            self._file[group][name].attrs["rounding"] = text(ROUNDING[name])

    def _process(self) -> dict[str, Any]:
        """The fields of NXprocess; tables are JSON."""
        program, _, version = creator().partition(" ")
        texts = {name: getattr(self.provenance, name) for name in TEXTS}
        tables = {name: json.dumps(dict(getattr(self.provenance, name))) for name in TABLES}
        return {"program": program, "version": version, "source": self.source, "scale": self.scale} | texts | tables


def _file_of(part: Path, taken_over: int) -> SafeFile:
    """The file of an unfinished result: a new one, or the one there, with so many images."""
    if not taken_over:
        if has_images(part):
            raise InputError(f"{part}: holds a part of another result; delete it, or choose another output", "output")
        part.write_bytes(b"")
        return new_file(part)
    file = SafeFile(part, "r+")
    file.attrs[UNFINISHED] = text(this_process())
    for group in (DETECTOR, PHYSICS_CHECK, MOTION, PROCESS):
        for data in file[group].values() if group in file else ():
            if isinstance(data, h5py.Dataset) and data.ndim:
                data.resize(taken_over, axis=0)  # a writer that was killed may have been about to go on
    return file
