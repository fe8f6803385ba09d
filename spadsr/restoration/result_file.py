"""Reading result files: restored images, one or all, as they are asked for."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from hardware.hdf5.checks import whole_value
from hardware.hdf5.nexus_tree import DETECTOR, NUMBERS, plain
from hardware.parsing.source import blaming, regular_file, stack_shape
from hardware.settings import PartialSettings, Settings
from noise_model.errors import InputError
from noise_model.hdf5_files import read_hdf5
from spadsr.provenance import Provenance
from spadsr.restoration.physics_check import PhysicsCheck
from spadsr.restoration.restored import Restored
from spadsr.restoration.result_writer import CHECKS, COVERAGE_FACTOR, PHYSICS_CHECK, PROCESS, TABLES, TEXTS, is_result


@dataclass(frozen=True)
class ResultFile:
    """An opened result file: a sequence of restored images, read as they are asked for; a context manager.

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

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Releases the file."""
        self.file.close()

    def __len__(self) -> int:
        """Number of images."""
        return self.shape[0]

    def __getitem__(self, index: int) -> Restored:
        """One restored image."""
        start = range(len(self))[index]
        return self.read(start, start + 1)[0]

    def __iter__(self) -> Iterator[Restored]:
        """The restored images, one after the other."""
        return (self[index] for index in range(len(self)))

    def blocks(self, size: int) -> Iterator[Restored]:
        """All restored images, as stacks of `size` of them (the last may be smaller)."""
        return (self.read(start, min(start + size, len(self))) for start in range(0, len(self), size))

    def read(self, start: int, stop: int) -> Restored:
        """Restored images `start` to `stop`, as a stack.

        Raises:
            InputError: the file is damaged.
        """
        if not self.file:
            raise InputError(f"{self.path}: was closed; open it again to read more of it")
        detector, checks = self.file[DETECTOR], self.file[PHYSICS_CHECK]
        with blaming(self.path, "result"):
            return Restored(
                rate=detector["data"][start:stop],
                uncertainty=detector["uncertainty"][start:stop],
                coverage_factor=detector[COVERAGE_FACTOR][start:stop],
                check=PhysicsCheck(**{name: checks[name][start:stop] for name in CHECKS}),
                settings=self.settings,
                provenance=self.provenance,
                warnings=self.warnings,
                source=self.source,
            )

    def check(self, name: str) -> NDArray[Any]:
        """What `CHECKS` says under that name, of all images."""
        with blaming(self.path, "result"):
            return np.asarray(whole_value(self.path, self.file[PHYSICS_CHECK][name]))


def read_result(path: str | Path) -> ResultFile:
    """Opens a result file (`.sr.h5`): a sequence of restored images, read as they are asked for.

    Raises:
        InputError: no such file, damaged, or not a result.
    """
    path = regular_file(Path(path))
    with blaming(path, "result"):
        file = read_hdf5(path)
        try:
            return _opened(path, file)
        except BaseException:
            file.close()
            raise


def _opened(path: Path, file: h5py.File) -> ResultFile:
    if not is_result(file):
        raise InputError(f"{path}: not a result; expected a file that spadsr infer wrote")
    detector, process = file[DETECTOR], file[PROCESS]
    made = {name: plain(whole_value(path, process[name])) for name in (*TEXTS, *TABLES)}
    made |= {name: json.loads(made[name]) for name in TABLES}
    found = {key: detector[name] for key, name in NUMBERS.items() if name in detector}
    settings = PartialSettings.of(path, **{key: plain(whole_value(path, field)) for key, field in found.items()})
    return ResultFile(
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
