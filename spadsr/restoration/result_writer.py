"""Writing result files: HDF5 with NeXus names, block by block, whole or not at all."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from hardware.hdf5.nexus_tree import (
    CYCLES,
    DETECTOR,
    NUMBERS,
    append,
    creator,
    inside,
    new_tree,
    text,
    write_notes,
    write_settings,
)
from hardware.settings import Settings
from noise_model.arrays import Picture
from noise_model.errors import InputError
from noise_model.files import allow_as_usual
from noise_model.hdf5_files import read_hdf5
from noise_model.interrupts import Interrupted
from spadsr.motion.motion import Motion
from spadsr.provenance import Provenance
from spadsr.restoration.motion_fields import FIELDS, MOTION, fields_of

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

#: Field of the counts that were merged, where motion was followed.
COUNTS = "counts"
_MERGED = f"(H, W) counts of native pixels that were restored, of as many hardware frames as {DETECTOR}/{CYCLES} says"

#: Fields of `Provenance` that are stored as text, and as JSON.
TEXTS, TABLES = ("model", "model_sha256", "command"), ("sensor", "config", "versions")


def is_result(file: h5py.File) -> bool:
    """Whether an HDF5 file is a result."""
    return inside(Path(file.filename), file, f"{PROCESS}/scale") is not None


def part_of(result: Path) -> Path:
    """The name of the part of a result that an interrupted run leaves: `cell.sr.part.h5` for `cell.sr.h5`."""
    return result.with_suffix(f".part{result.suffix}")


def result_bytes(shape: tuple[int, int, int], scale: int) -> int:
    """Bytes of the result of T images of H x W native pixels, (T, H, W): rates, uncertainties and residuals."""
    images, rows, columns = shape
    return images * (rows * columns * (8 * scale**2 + 4) + 44) + (1 << 16)


def _refuse_recordings(path: Path) -> None:
    """Raises InputError where a recording, or another HDF5 file that is no result, would be replaced."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return
    try:
        with read_hdf5(path) as file:
            replaceable = is_result(file)
    except OSError:  # damaged, or being written
        replaceable = False
    if not replaceable:
        raise InputError(f"{path}: is there already and is no result; choose another name", "output")


class ResultWriter:
    """A context manager that makes the result file `path`, in blocks.

    As with captures: whole or not at all, flushed per block. If an `Interrupted` passes, what was appended is kept as
    the part of a result, under the name of `part_of`.

    Args:
        settings: how the images that are restored were taken (N is that of the sums).
        notes: free acquisition settings.
        source: name of the capture.
        scale: resolution of the answer over that of the sensor.
        warnings: what the user should know; the attribute may grow until the end.

    Raises:
        InputError: `path` cannot be written, or is a recording.
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
    ) -> None:
        self.path, self.settings, self.notes = Path(path), settings, notes
        self.source, self.scale, self.provenance, self.warnings = source, scale, provenance, list(warnings)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        _refuse_recordings(self.path)
        self._file = self._stack.enter_context(new_tree(self.path))
        write_settings(self._file, self.settings, NUMBERS)
        write_notes(self._file, self.notes)
        self._file["/entry/data/data_errors"] = h5py.SoftLink(f"{DETECTOR}/uncertainty")
        process = self._file.create_group(PROCESS)
        process.attrs["NX_class"] = text("NXprocess")
        self._file.create_group(PHYSICS_CHECK).attrs["NX_class"] = text("NXcollection")
        for name, value in self._process().items():
            process[name] = text(value) if isinstance(value, str) else value
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._end()
            elif isinstance(error, Interrupted) and "data" in self._file[DETECTOR]:
                self._end()
                self._file.close()
                partial = Path(self._file.filename)
                allow_as_usual(partial)
                partial.replace(part_of(self.path))
        except BaseException as wrong:
            self._stack.__exit__(type(wrong), wrong, wrong.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)

    def _end(self) -> None:
        """Writes what is known at the end."""
        if COVERAGE_FACTOR in self._file[DETECTOR]:
            meaning = "one uncertainty covers 68 % of the pixels of an image, so many of them 95 %"
            self._file[DETECTOR][COVERAGE_FACTOR].attrs["long_name"] = text(meaning)
        for group, meanings in ((PHYSICS_CHECK, CHECKS), (MOTION, FIELDS | {COUNTS: _MERGED})):
            for name, figures in self._file[group].items() if group in self._file else ():
                figures.attrs["long_name"] = text(meanings[name])
        self._file[PROCESS]["warnings"] = text(json.dumps(self.warnings))

    def append(
        self,
        rate: Picture,
        uncertainty: Picture,
        coverage_factor: NDArray[np.float32],
        checks: Mapping[str, NDArray[Any]],
        cycles: NDArray[np.integer[Any]] | None = None,
        motion: Sequence[Motion] = (),
        counts: NDArray[np.integer[Any]] | None = None,
    ) -> None:
        """Writes and flushes a block of n images.

        Args:
            rate, uncertainty: (n, s H, s W), counts/s per native pixel area.
            coverage_factor: (n,), by which uncertainties are multiplied to cover 95 %.
            checks: what `CHECKS` names, (n,), but the residual, (n, H, W).
            cycles: (n, H, W), hardware frames of each pixel, where these differ; with all blocks or with none.
            motion, counts: what was followed and the counts (n, H, W) that were merged, where motion was looked for.
        """
        expected = tuple(self.scale * side for side in checks["residual"].shape[1:])
        if rate.shape != uncertainty.shape or rate.shape[1:] != expected:
            raise ValueError(f"blocks {rate.shape} and {uncertainty.shape}; expected (n, *{expected})")
        append(self._file[DETECTOR], "data", rate, UNITS)
        append(self._file[DETECTOR], "uncertainty", uncertainty, UNITS)
        append(self._file[DETECTOR], COVERAGE_FACTOR, coverage_factor)
        if cycles is not None:
            append(self._file[DETECTOR], CYCLES, cycles.astype(np.uint32))
        if motion and counts is not None:
            for name, values in fields_of(motion, counts.shape[-2:]).items():
                append(self._file.require_group(MOTION), name, values)
            append(self._file[MOTION], COUNTS, counts.astype(np.uint32))
        for name in CHECKS:
            append(self._file[PHYSICS_CHECK], name, checks[name])
        self._file.flush()

    def _process(self) -> dict[str, Any]:
        """The fields of NXprocess; tables are JSON."""
        program, _, version = creator().partition(" ")
        texts = {name: getattr(self.provenance, name) for name in TEXTS}
        tables = {name: json.dumps(dict(getattr(self.provenance, name))) for name in TABLES}
        return {"program": program, "version": version, "source": self.source, "scale": self.scale} | texts | tables
