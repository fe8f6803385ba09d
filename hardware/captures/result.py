"""Restored pictures: photon detection rates, their standard deviations, and all that made them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from hardware.captures.capture import Capture
from hardware.hdf5.checks import whole_value
from hardware.hdf5.nexus_tree import (
    DETECTOR,
    SETTINGS,
    append,
    creator,
    new_tree,
    plain,
    text,
    write_notes,
    write_settings,
)
from hardware.parsing.source import blaming, regular_file, stack_shape
from hardware.settings import PartialSettings, Settings
from noise_model.arrays import Picture
from noise_model.errors import InputError

PROCESS = "/entry/process"
PHYSICS_CHECK = f"{PROCESS}/physics_check"
UNITS = "counts/s"
COVERAGE_FACTOR = "coverage_factor_95"

#: What is written of the check of an answer against its counts, for each image.
CHECKS = {
    "chi_squared": "weighted mean over pixels of (counts - expected)^2 / variance, as the restored rates imply both:"
    " about 1; less where the answer follows the noise; far more where it contradicts the counts",
    "spread": "standard deviation of chi_squared were the restored rates the true ones",
    "balance": "counts over the counts expected of the restored rates: about 1",
    "balance_spread": "standard deviation of balance were the restored rates the true ones",
    "hot": "pixels far above the answer and their neighbours, taken for hot; the check leaves them out",
    "residual": "(counts - expected) / sqrt(variance + 1) of every native pixel; 0 where left out",
}

#: Fields of `Provenance` that are stored as text, and as JSON.
TEXTS, TABLES = ("model", "model_sha256", "command"), ("sensor", "config", "versions")


@dataclass(frozen=True)
class Provenance:
    """What made a result.

    Attributes:
        model: name of the weights.
        model_sha256: checksum of the weight file.
        sensor: the sensor description used, as plain data.
        command: the command line.
        config: settings of the run.
        versions: of the libraries that matter.
    """

    model: str
    model_sha256: str
    sensor: Mapping[str, Any]
    command: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


class ResultWriter:
    """A context manager that makes the result file `path` of `capture` (as summed), `scale` times as fine, in blocks.

    As with captures: whole or not at all, flushed per block. `warnings` may grow until the end; they begin with the
    assumptions of the capture.

    Raises:
        InputError: `path` cannot be written.
        ValueError: a block does not fit.
    """

    def __init__(self, path: str | Path, capture: Capture, scale: int, provenance: Provenance) -> None:
        self.path, self.capture, self.scale, self.provenance = Path(path), capture, scale, provenance
        self.shape_hw = (capture.shape[1] * scale, capture.shape[2] * scale)
        self.warnings: list[str] = list(capture.assumptions)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._file = self._stack.enter_context(new_tree(self.path))
        write_settings(self._file, self.capture.settings)
        write_notes(self._file, self.capture.notes)
        self._file["/entry/data/data_errors"] = h5py.SoftLink(f"{DETECTOR}/uncertainty")
        process = self._file.create_group(PROCESS)
        process.attrs["NX_class"] = text("NXprocess")
        self._file.create_group(PHYSICS_CHECK).attrs["NX_class"] = text("NXcollection")
        for name, value in _process(self.capture, self.scale, self.provenance).items():
            process[name] = text(value) if isinstance(value, str) else value
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            if COVERAGE_FACTOR in self._file[DETECTOR]:
                said = "one uncertainty covers 68 % of the pixels of an image, so many of them 95 %"
                self._file[DETECTOR][COVERAGE_FACTOR].attrs["long_name"] = text(said)
            for name, figures in self._file[PHYSICS_CHECK].items():
                figures.attrs["long_name"] = text(CHECKS[name])
            self._file[PROCESS]["warnings"] = text(json.dumps(self.warnings))
        self._stack.__exit__(kind, error, trace)

    def append(
        self,
        rate: NDArray[Any],
        uncertainty: NDArray[Any],
        coverage_factor: NDArray[Any],
        checks: Mapping[str, NDArray[Any]],
    ) -> None:
        """Writes and flushes a block: rates and their standard uncertainties, counts/s per native pixel, (n, s*H, s*W);
        the factors by which those are multiplied to cover 95 %, (n,); and what `CHECKS` names, (n,), but the residual,
        (n, H, W)."""
        if rate.shape != uncertainty.shape or rate.shape[1:] != self.shape_hw:
            raise ValueError(f"blocks {rate.shape} and {uncertainty.shape}; expected (n, *{self.shape_hw})")
        append(self._file[DETECTOR], "data", rate.astype(np.float32, copy=False), UNITS)
        append(self._file[DETECTOR], "uncertainty", uncertainty.astype(np.float32, copy=False), UNITS)
        append(self._file[DETECTOR], COVERAGE_FACTOR, coverage_factor.astype(np.float32, copy=False))
        for name in CHECKS:
            append(self._file[PHYSICS_CHECK], name, checks[name])
        self._file.flush()


@dataclass(frozen=True)
class Result:
    """An opened result; a context manager.

    Attributes:
        shape: (T, s*H, s*W).
        scale: s.
        settings: how the images it was made from were taken (N is that of the sums).
        source: name of the capture.
        warnings: what the user should know, assumptions included.
        creator: program and version.
    """

    path: Path
    shape: tuple[int, int, int]
    scale: int
    settings: Settings
    source: str
    provenance: Provenance
    warnings: tuple[str, ...]
    creator: str
    file: h5py.File = field(repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    def blocks(self, size: int) -> Iterator[tuple[Picture, Picture]]:
        """Rates and their standard deviations, counts/s per native pixel area, (n, s*H, s*W) each, `size` at a time."""
        detector = self.file[DETECTOR]
        for start in range(0, self.shape[0], size):
            with blaming(self.path, "result"):
                rate, uncertainty = (
                    detector["data"][start : start + size],
                    detector["uncertainty"][start : start + size],
                )
            yield rate, uncertainty

    def coverage_factor(self) -> NDArray[np.float32]:
        """(T,): so many standard uncertainties cover 95 % of the pixels."""
        with blaming(self.path, "result"):
            return np.asarray(whole_value(self.path, self.file[DETECTOR][COVERAGE_FACTOR]))

    def check(self, name: str) -> NDArray[Any]:
        """What `CHECKS` says under that name, of all images."""
        with blaming(self.path, "result"):
            return np.asarray(whole_value(self.path, self.file[PHYSICS_CHECK][name]))


def read_result(path: str | Path) -> Result:
    """Opens what `spadsr infer` wrote.

    Raises:
        InputError: no such file, damaged, or not a result.
    """
    path = regular_file(Path(path))
    with blaming(path, "result"):
        file = h5py.File(path, "r")
        try:
            return _result(path, file)
        except BaseException:
            file.close()
            raise


def is_result(file: h5py.File) -> bool:
    """Whether an HDF5 file is a result."""
    return f"{PROCESS}/scale" in file


def _result(path: Path, file: h5py.File) -> Result:
    if not is_result(file):
        raise InputError(f"{path}: not a result; expected a file that spadsr infer wrote")
    detector, process = file[DETECTOR], file[PROCESS]
    made = {name: plain(whole_value(path, process[name])) for name in (*TEXTS, *TABLES)}
    made |= {name: json.loads(made[name]) for name in TABLES}
    found = {key: detector[name] for key, name in SETTINGS.items() if name in detector}
    settings = PartialSettings.of(path, **{key: plain(whole_value(path, field)) for key, field in found.items()})
    return Result(
        path=path,
        shape=stack_shape(path, detector["data"].shape),
        scale=int(whole_value(path, process["scale"])),
        settings=settings.complete(path),
        source=plain(whole_value(path, process["source"])),
        provenance=Provenance(**made),
        warnings=tuple(json.loads(whole_value(path, process["warnings"]))),
        creator=plain(file.attrs["creator"]),
        file=file,
    )


def _process(capture: Capture, scale: int, provenance: Provenance) -> dict[str, Any]:
    """The fields of NXprocess; tables are JSON."""
    program, _, version = creator().partition(" ")
    texts = {name: getattr(provenance, name) for name in TEXTS}
    tables = {name: json.dumps(dict(getattr(provenance, name))) for name in TABLES}
    return {"program": program, "version": version, "source": capture.path.name, "scale": scale} | texts | tables
