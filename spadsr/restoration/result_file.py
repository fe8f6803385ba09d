"""Reading result files: restored images, one or all, as they are asked for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from hardware.hdf5.checks import attribute, bomb_check, check_present, whole_value
from hardware.hdf5.nexus_tree import CYCLES, DETECTOR, NUMBERS, UNFINISHED, inside, plain
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
from spadsr.restoration.parts import Joined, joined_parts
from spadsr.restoration.physics_check import PhysicsCheck
from spadsr.restoration.restored import Restored
from spadsr.restoration.result_writer import (
    CHECKS,
    CHECKSUMS,
    COUNTS,
    COVERAGE_FACTOR,
    PHYSICS_CHECK,
    PROCESS,
    TABLES,
    TEXTS,
    is_result,
)
from spadsr.restoration.storage import Storage

_RATE, _UNCERTAINTY, _COVERAGE, _CYCLES = (
    f"{DETECTOR}/{name}" for name in ("data", "uncertainty", COVERAGE_FACTOR, CYCLES)
)
_COUNTS = f"{MOTION}/{COUNTS}"
_MOST_OPEN = 8  # parts of a joined result
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
        stacks: by place in the file, what reads a range of images of what there is for each.
        parts: those that it is joined of; None where it is a file by itself.
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
    parts: "_OpenParts | None" = field(default=None, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Releases the file."""
        self.file.close()
        if self.parts is not None:
            self.parts.close()

    @property
    def missing(self) -> list[str]:
        """What is to be said of each part that is not there, of a result that is joined of parts."""
        return [] if self.parts is None else self.parts.joined.missing

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
        """Restored images `start` to `stop`, as a stack; uncertainties and residuals that were not kept are NaN.

        Raises:
            InputError: the file is damaged.
        """
        if not self.file:
            raise InputError(f"{self.path}: was closed; open it again to read more of it")
        with blaming(self.path, "result"):
            return Restored(
                rate=self.stacks[_RATE](start, stop),
                uncertainty=self._kept(_UNCERTAINTY, start, stop, self.shape[1:]),
                coverage_factor=self.stacks[_COVERAGE](start, stop),
                check=self._check(start, stop),
                settings=self.settings,
                provenance=self.provenance,
                warnings=self.warnings,
                source=self.source,
                cycles=self.stacks[_CYCLES](start, stop) if _CYCLES in self.stacks else None,
                counts=self.stacks[_COUNTS](start, stop) if self.motion_followed else None,
                motion=self.motion(start, stop),
            )

    @property
    def storage(self) -> Storage:
        """What is kept, and whether every bit of it; compressed as results usually are."""
        places = {"uncertainty": _UNCERTAINTY, "residual": f"{PHYSICS_CHECK}/residual"}
        kept = [name for name, place in places.items() if place in self.stacks]
        return Storage.keeping(kept, exact="rounding" not in self.file[_RATE].attrs)

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

    def _check(self, start: int, stop: int) -> PhysicsCheck:
        figures = {name: self.stacks[f"{PHYSICS_CHECK}/{name}"](start, stop) for name in CHECKS if name != "residual"}
        pixels = self.shape[1] // self.scale, self.shape[2] // self.scale
        return PhysicsCheck(residual=self._kept(f"{PHYSICS_CHECK}/residual", start, stop, pixels), **figures)

    def _kept(self, place: str, start: int, stop: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """What may have been left out of the file."""
        if place in self.stacks:
            return self.stacks[place](start, stop)
        return np.full((stop - start, *shape), np.nan, np.float32)

    def checksums(self, start: int, stop: int) -> NDArray[np.uint32] | None:
        """CRC-32 of the counts that a range of images was restored from; None where they are not known."""
        with blaming(self.path, "result"):
            return self.stacks[CHECKSUMS](start, stop) if CHECKSUMS in self.stacks else None

    def check(self, name: str) -> NDArray[Any]:
        """What `CHECKS` says under that name, of all images."""
        with blaming(self.path, "result"):
            if name == "residual":
                return self._check(0, len(self)).residual
            return self.stacks[f"{PHYSICS_CHECK}/{name}"](0, len(self))


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
            if (joined := joined_parts(path, file, _RATE)) is not None:
                return _OpenParts(joined).result(path, file)
            return _opened(path, file)
        except BaseException:
            file.close()
            raise


class _OpenParts:
    """The parts of a result that is joined of them, opened as they are asked for, few at a time."""

    def __init__(self, joined: Joined) -> None:
        self.joined = joined
        self._open: dict[int, ResultFile] = {}

    def result(self, path: Path, file: h5py.File) -> ResultFile:
        """The joined result."""
        there = [index for index in range(len(self.joined.paths)) if self.joined.has(index)]
        if not there:
            raise InputError(f"{path}: none of its parts is there: {self.joined.words(0)}, ...; restore them")
        first, warnings = self.part(there[0]), self._warnings(there)
        return replace(
            first,
            path=path,
            file=file,
            shape=(self.joined.edges[-1], *first.shape[1:]),
            warnings=warnings,
            stacks={place: partial(self._read, place) for place in first.stacks},
            parts=self,
        )

    def part(self, index: int) -> ResultFile:
        """An opened part."""
        if index not in self._open:
            path, edges = self.joined.paths[index], self.joined.edges
            if not self.joined.has(index):
                raise InputError(f"{path}: not there: {self.joined.words(index)}; restore it")
            while len(self._open) >= _MOST_OPEN:
                self._open.pop(next(iter(self._open))).close()
            file = read_hdf5(path)
            self._open[index] = part = _opened(path, file)
            if len(part) != edges[index + 1] - edges[index]:
                raise InputError(f"{path}: {len(part)} images; expected those of {self.joined.words(index)}")
        return self._open[index]

    def close(self) -> None:
        """Releases their files."""
        while self._open:
            self._open.popitem()[1].close()

    def _warnings(self, there: list[int]) -> tuple[str, ...]:
        """What is said of all parts that are there; what is said of some of them, with their images."""
        said: dict[str, list[int]] = {}
        for index in there:
            for line in self.part(index).warnings:
                said.setdefault(line, []).append(index)
        of_all = [line for line, parts in said.items() if parts == there]
        edges = self.joined.edges
        of_some = [
            f"images {edges[index]} to {edges[index + 1] - 1}: {line}"
            for line, parts in said.items()
            if parts != there
            for index in parts
        ]
        return (*of_all, *of_some)

    def _read(self, place: str, start: int, stop: int) -> NDArray[Any]:
        edges, found = self.joined.edges, []
        for index, (first, end) in enumerate(pairwise(edges)):
            if first < stop and start < end:
                part = self.part(index)
                if place not in part.stacks:
                    raise InputError(f"{part.path}: without {place}, which other parts have; restore it as they were")
                found.append(part.stacks[place](max(start, first) - first, min(stop, end) - first))
        return np.concatenate(found) if len(found) != 1 else found[0]


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
    shapes = _shapes(path, file, shape[1:], scale)
    images = shape[0]
    if UNFINISHED in file.attrs:  # the last block may not be everywhere
        images = min(len(found) for place in shapes if (found := _field(path, file, place)) is not None and found.ndim)
    stacks = {place: _stack(path, file, place, (images, *each)) for place, each in shapes.items()}
    return ResultFile(
        path=path,
        shape=(images, *shape[1:]),
        scale=scale,
        settings=settings.complete(path),
        source=str(_value(path, file, f"{PROCESS}/source")),
        provenance=_provenance(path, file),
        warnings=tuple(map(str, _parsed(path, file, "warnings", list))),
        creator=str(plain(attribute(path, file, "creator"))),
        file=file,
        stacks=stacks,
    )


def _shapes(path: Path, file: h5py.File, shape: tuple[int, int], scale: int) -> dict[str, tuple[int, ...]]:
    """What a result holds of each image: its shape, by place."""
    pixels = shape[0] // scale, shape[1] // scale
    shapes: dict[str, tuple[int, ...]] = {_RATE: shape, _COVERAGE: ()}
    shapes |= {f"{PHYSICS_CHECK}/{name}": () for name in CHECKS if name != "residual"}
    optional = {_UNCERTAINTY: shape, f"{PHYSICS_CHECK}/residual": pixels, _CYCLES: pixels, CHECKSUMS: ()}
    shapes |= {place: each for place, each in optional.items() if _field(path, file, place) is not None}
    return shapes | _shapes_of_motion(path, file, pixels)


def _shapes_of_motion(path: Path, file: h5py.File, pixels: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """The same of the fields of motion; none where motion was not looked for."""
    time = _field(path, file, f"{MOTION}/time")
    if time is None:
        return {}
    parts = time.shape[-1] if time.ndim else 0
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(FIELDS, (parts,))
    shapes |= dict.fromkeys(("shift", "shift_sd"), (parts, 2))
    ones = ("followed", "gain", "chi_squared_still", "chi_squared", "unknown", "repeats")
    shapes |= dict.fromkeys(ones, ()) | dict.fromkeys(("hot", COUNTS), pixels)
    shapes |= {"change": (4,), "velocity": (2, *pixels)}
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
    fits = data is not None and data.shape[1:] == shape[1:] and len(data.shape) == len(shape)
    if data is None or not fits or data.dtype.kind not in "fiu":
        raise ValueError(f"no numbers of shape {shape} at {place}")
    if data.shape[0] != shape[0] and (UNFINISHED not in file.attrs or data.shape[0] < shape[0]):
        raise ValueError(f"no numbers of shape {shape} at {place}")
    check_present(path, data, shape[0])
    check = bomb_check(path, data)

    def read(start: int, stop: int) -> NDArray[Any]:
        check(start, stop)
        return np.asarray(data[start:stop])

    return read
