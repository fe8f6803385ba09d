"""Reading result files: restored images, one or all, as they are asked for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from hardware.hdf5.checks import attribute, bomb_check, check_present, whole_value
from hardware.hdf5.nexus_tree import CYCLES, DETECTOR, NUMBERS, inside, plain
from hardware.parsing.source import blaming, regular_file, stack_shape
from hardware.settings import PartialSettings, Settings
from noise_model.config_files import parsed_json
from noise_model.errors import InputError
from noise_model.files import at_home
from noise_model.hdf5_files import read_hdf5
from spadsr.motion.motion import Motion
from spadsr.networks.measurement import SCALES
from spadsr.provenance import Provenance
from spadsr.restoration.motion_fields import FIELDS, MOTION, motion_of
from spadsr.restoration.physics_check import PhysicsCheck
from spadsr.restoration.restored import Restored
from spadsr.restoration.result_writer import (
    CHECKS,
    COUNTS,
    COVERAGE_FACTOR,
    PHYSICS_CHECK,
    PROCESS,
    TABLES,
    TEXTS,
    is_result,
)

_COUNTS = f"{MOTION}/{COUNTS}"
_Kind = TypeVar("_Kind", dict[str, Any], list[Any])


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
        stacks: by name, what reads a range of images of what there is for each.
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
    stacks: Mapping[str, Callable[[int, int], NDArray[Any]]] = field(repr=False)

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
        with blaming(self.path, "result"):
            return Restored(
                rate=self.stacks["data"](start, stop),
                uncertainty=self.stacks["uncertainty"](start, stop),
                coverage_factor=self.stacks[COVERAGE_FACTOR](start, stop),
                check=PhysicsCheck(**{name: self.stacks[name](start, stop) for name in CHECKS}),
                settings=self.settings,
                provenance=self.provenance,
                warnings=self.warnings,
                source=self.source,
                cycles=self.stacks[CYCLES](start, stop) if CYCLES in self.stacks else None,
                counts=self.stacks[_COUNTS](start, stop) if self.motion_followed else None,
                motion=self.motion(start, stop),
            )

    @property
    def motion_followed(self) -> bool:
        """Whether motion was looked for in the images."""
        return _COUNTS in self.stacks

    def motion(self, start: int, stop: int) -> tuple[Motion, ...]:
        """How the scenes of a range of images moved; empty where that was not looked for."""
        if not self.motion_followed:
            return ()
        with blaming(self.path, "result"):
            return motion_of({name: self.stacks[f"{MOTION}/{name}"](start, stop) for name in FIELDS})

    def check(self, name: str) -> NDArray[Any]:
        """What `CHECKS` says under that name, of all images."""
        with blaming(self.path, "result"):
            return self.stacks[name](0, len(self))


def read_result(path: str | Path) -> ResultFile:
    """Opens a result file (`.sr.h5`): a sequence of restored images, read as they are asked for.

    Raises:
        InputError: no such file, damaged, or not a result.
    """
    path = at_home(path)
    if path.is_dir():
        raise InputError(f"{path}: a folder; expected a result, a file that ends in .sr.h5")
    path = regular_file(path)
    with blaming(path, "result"):
        file = read_hdf5(path)
        try:
            return _opened(path, file)
        except BaseException:
            file.close()
            raise


def is_result_file(path: Path) -> bool:
    """Whether a file is a result; False as well where there is none, or none that can be read."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path, "r") as file:
            return is_result(file)
    except OSError:
        return False


def _opened(path: Path, file: h5py.File) -> ResultFile:
    if not is_result(file):
        raise InputError(f"{path}: not a result; expected a file that spadsr infer wrote")
    told = {
        key: place for key, name in NUMBERS.items() if _field(path, file, place := f"{DETECTOR}/{name}") is not None
    }
    settings = PartialSettings.of(path, **{key: _value(path, file, place) for key, place in told.items()})
    data = _field(path, file, f"{DETECTOR}/data")
    shape, scale = stack_shape(path, () if data is None else data.shape), _value(path, file, f"{PROCESS}/scale")
    if scale not in SCALES or shape[1] % scale or shape[2] % scale:
        raise InputError(f"{path}: images of {shape[1]} x {shape[2]} at a scale of {scale!r:.60}; restore it again")
    images = shape[0]
    shapes = dict.fromkeys(("data", "uncertainty"), shape) | {COVERAGE_FACTOR: (images,)}
    pixels = images, shape[1] // scale, shape[2] // scale
    shapes |= {} if _field(path, file, f"{DETECTOR}/{CYCLES}") is None else {CYCLES: pixels}
    checks = dict.fromkeys(CHECKS, (images,)) | {"residual": pixels}
    motion = _shapes_of_motion(path, file, pixels)
    return ResultFile(
        path=path,
        shape=shape,
        scale=scale,
        settings=settings.complete(path),
        source=str(_value(path, file, f"{PROCESS}/source")),
        provenance=_provenance(path, file),
        warnings=tuple(map(str, _parsed(path, file, "warnings", list))),
        creator=str(plain(attribute(path, file, "creator"))),
        file=file,
        stacks={name: _stack(path, file, f"{DETECTOR}/{name}", size) for name, size in shapes.items()}
        | {name: _stack(path, file, f"{PHYSICS_CHECK}/{name}", size) for name, size in checks.items()}
        | {place: _stack(path, file, place, size) for place, size in motion.items()},
    )


def _shapes_of_motion(path: Path, file: h5py.File, pixels: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
    """The shapes that the fields of motion must have, by their places; none where motion was not looked for."""
    time = _field(path, file, f"{MOTION}/time")
    if time is None:
        return {}
    parts = pixels[0], time.shape[-1] if time.ndim else 0
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(FIELDS, parts)
    shapes |= dict.fromkeys(("shift", "shift_sd"), (*parts, 2))
    ones = ("followed", "gain", "chi_squared_still", "chi_squared", "unknown", "repeats")
    shapes |= dict.fromkeys(ones, pixels[:1]) | dict.fromkeys(("hot", COUNTS), pixels)
    shapes |= {"change": (pixels[0], 4), "velocity": (pixels[0], 2, *pixels[1:])}
    return {f"{MOTION}/{name}": shape for name, shape in shapes.items()}


def _provenance(path: Path, file: h5py.File) -> Provenance:
    made: dict[str, Any] = {name: _parsed(path, file, name, dict) for name in TABLES}
    made |= {name: str(_value(path, file, f"{PROCESS}/{name}")) for name in TEXTS}
    return Provenance(**made)


def _parsed(path: Path, file: h5py.File, name: str, kind: type[_Kind]) -> _Kind:
    """What a text of JSON says."""
    value = parsed_json(str(_value(path, file, f"{PROCESS}/{name}")))
    if not isinstance(value, kind):
        raise ValueError(f"{name} holds a {type(value).__name__}")
    return value


def _value(path: Path, file: h5py.File, place: str) -> Any:
    field = _field(path, file, place)
    if field is None or field.size != 1:
        raise ValueError(f"no single value {place}")
    return plain(whole_value(path, field))


def _field(path: Path, file: h5py.File, place: str) -> h5py.Dataset | None:
    field = inside(path, file, place)
    return field if isinstance(field, h5py.Dataset) and field.shape is not None else None


def _stack(path: Path, file: h5py.File, place: str, shape: tuple[int, ...]) -> Callable[[int, int], NDArray[Any]]:
    data = _field(path, file, place)
    if data is None or data.shape != shape or data.dtype.kind not in "fiu":
        raise ValueError(f"no numbers of shape {shape} at {place}")
    check_present(path, data)
    check = bomb_check(path, data)

    def read(start: int, stop: int) -> NDArray[Any]:
        check(start, stop)
        return np.asarray(data[start:stop])

    return read
