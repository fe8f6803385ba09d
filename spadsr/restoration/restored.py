"""The result of restoring: photon detection rates, their uncertainty, and all that made them."""

import base64
import html
import io
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.settings import Settings
from noise_model.arrays import Picture
from noise_model.errors import InputError
from noise_model.files import at_home, whole_file
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.pictures.ome_tiff import write_ome_tiff
from spadsr.pictures.sheets import sheet
from spadsr.provenance import Provenance
from spadsr.restoration.physics_check import PhysicsCheck, summary
from spadsr.restoration.result_writer import ResultWriter

#: Shares of the pixels that intervals were measured to cover, and so the only ones that can be promised.
LEVELS = (0.68, 0.95)


@dataclass(frozen=True, eq=False, repr=False)
class Restored:
    """A restored image: the photon detection rate of every pixel, its uncertainty, and all that made them.

    Rates are in counts/s per native pixel area: the mean over a block of s x s pixels is the rate of the native pixel.
    A stack of T restored images is the same with a first axis of length T; it can be indexed and iterated over.

    Attributes:
        rate: (s H, s W) float32, counts/s per native pixel area.
        uncertainty: (s H, s W) float32, standard uncertainty of `rate`: one covers 68 % of the pixels.
        coverage_factor: how many standard uncertainties cover 95 % of the pixels.
        check: the counts beside those that the rates lead to.
        settings: how the image was taken.
        provenance: the weights, sensor, program and libraries that made it.
        warnings: what the user should know, assumptions included.
        source: name of the capture.
        notes: the capture's free acquisition settings.
        counts: (H, W), what was restored; None where the result was read from a file, which does not hold it.
        cycles: (H, W), hardware frames of each pixel; None where those of `settings`, the most of any, are of all.
    """

    rate: Picture
    uncertainty: Picture
    coverage_factor: NDArray[np.float32]
    check: PhysicsCheck
    settings: Settings
    provenance: Provenance
    warnings: tuple[str, ...] = ()
    source: str = "counts"
    notes: Mapping[str, Any] = field(default_factory=dict)
    counts: NDArray[Any] | None = None
    cycles: NDArray[np.integer[Any]] | None = None

    @property
    def exposure(self) -> Exposure:
        """How long the image looked; a map of hardware frames where pixels differ."""
        if self.cycles is None:
            return self.settings.exposure
        return Exposure(self.settings.count_time, torch.from_numpy(self.cycles.astype(np.int64)))

    @property
    def scale(self) -> int:
        """Resolution over that of the sensor."""
        return int(self.rate.shape[-1] // self.residual.shape[-1])

    @property
    def residual(self) -> Picture:
        """(H, W), counts less those that the rates lead to: see `PhysicsCheck`."""
        return self.check.residual

    def interval(self, level: float = 0.95) -> tuple[Picture, Picture]:
        """Lower and upper end, counts/s, of an interval around each rate that covers `level` of the pixels.

        The levels are 0.68 and 0.95, and no others: these two were measured on captures of photographs that were not
        trained on, and errors have longer tails than normal ones, so that no formula leads from them to a third. A
        level is a share of the pixels of an image like those, not a promise for each pixel. Rates are never negative,
        so that no interval reaches below 0.

        Raises:
            InputError: another level.
        """
        if level not in LEVELS:
            known = " or ".join(map(str, LEVELS))
            raise InputError(f"level {level}: intervals were measured for {known} of the pixels only", "level")
        factor = 1 if level == LEVELS[0] else self.coverage_factor[..., None, None]
        half = np.asarray(factor * self.uncertainty, np.float32)
        return np.maximum(self.rate - half, 0), self.rate + half

    def __len__(self) -> int:
        """Number of images of a stack."""
        if self.rate.ndim == 2:
            raise TypeError("a single restored image has no length; its pixels are in .rate")
        return len(self.rate)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, index: int | slice) -> "Restored":
        """One image of a stack, or a stack of some of them.

        Raises:
            InputError: there are no such images.
        """
        images = range(len(self))[index if isinstance(index, slice) else operator.index(index)]
        if images == range(0):
            raise InputError(f"{index}: none of the {len(self)} images")
        return replace(
            self,
            rate=self.rate[index],
            uncertainty=self.uncertainty[index],
            coverage_factor=self.coverage_factor[index],
            check=PhysicsCheck(**{name: values[index] for name, values in vars(self.check).items()}),
            counts=None if self.counts is None else self.counts[index],
            cycles=None if self.cycles is None else self.cycles[index],
        )

    def __iter__(self) -> Iterator["Restored"]:
        """The images of a stack."""
        return (self[index] for index in range(len(self)))

    @classmethod
    def stacked(cls, parts: Sequence["Restored"]) -> "Restored":
        """One stack of several; what is not an array is taken from the first."""

        def joined(name: str) -> NDArray[Any]:
            return np.concatenate([operator.attrgetter(name)(part) for part in parts])

        return replace(
            parts[0],
            rate=joined("rate"),
            uncertainty=joined("uncertainty"),
            coverage_factor=joined("coverage_factor"),
            check=PhysicsCheck(**{name: joined(f"check.{name}") for name in vars(parts[0].check)}),
            counts=None if parts[0].counts is None else joined("counts"),
            cycles=None if parts[0].cycles is None else joined("cycles"),
        )

    def save(self, path: str | Path) -> None:
        """Writes the result to a file of the kind that its name ends in.

        `.sr.h5` (or another `.h5`) holds everything but the counts, as `spadsr infer` writes it and `read_result` reads
        it; `.ome.tif` the rate and its uncertainty, as two channels, for Fiji, napari and other viewers; `.png` a
        picture for people, of the first image of a stack.

        Raises:
            InputError: the name ends in none of these, or it cannot be written.
        """
        path = at_home(path)
        for ending, write in _WRITERS.items():
            if path.name.lower().endswith(ending):
                write(self, path)
                return
        known = ", ".join(_WRITERS)
        raise InputError(f"{path}: not a kind of file that is written; expected a name ending in {known}")

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.rate.shape))
        many = len(self.warnings)
        warned = f", {many} warning{'s' * (many > 1)}" if many else ""
        return f"<Restored {self.source}: {size}, x{self.scale}, mean {self.rate.mean():.4g} counts/s{warned}>"

    def _repr_png_(self) -> bytes:
        return self._picture

    def _repr_html_(self) -> str:
        picture = base64.b64encode(self._picture).decode()
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in self.warnings)
        return (
            f'<img src="data:image/png;base64,{picture}" alt="{html.escape(repr(self))}" style="max-width:100%">'
            f"<ul>{lines}</ul>"
        )

    @cached_property
    def _picture(self) -> bytes:
        """The PNG sheet of the (first) image."""
        file = io.BytesIO()
        draw(self, file)
        return file.getvalue()


def _as_stack(result: Restored) -> Restored:
    """The result itself, or a single image as a stack of one."""
    if result.rate.ndim == 3:
        return result
    check = PhysicsCheck(**{name: np.asarray(value)[None] for name, value in vars(result.check).items()})
    return replace(
        result,
        rate=result.rate[None],
        uncertainty=result.uncertainty[None],
        coverage_factor=np.asarray(result.coverage_factor)[None],
        check=check,
        counts=None if result.counts is None else result.counts[None],
        cycles=None if result.cycles is None else result.cycles[None],
    )


def _write_result(result: Restored, path: Path) -> None:
    stack = _as_stack(result)
    with ResultWriter(
        path,
        settings=result.settings,
        notes=result.notes,
        source=result.source,
        scale=result.scale,
        provenance=result.provenance,
        warnings=result.warnings,
    ) as writer:
        writer.append(stack.rate, stack.uncertainty, stack.coverage_factor, vars(stack.check), stack.cycles)


def _write_ome(result: Restored, path: Path) -> None:
    stack, made = _as_stack(result), vars(result.provenance)
    facts = {"source": result.source, "coverage_factor_95": stack.coverage_factor.tolist()}
    write_ome_tiff(
        path,
        stack.rate,
        stack.uncertainty,
        scale=result.scale,
        exposure=result.settings.count_time * result.settings.cycles,
        frame_time=result.settings.frame_time,
        description=facts | made | {"warnings": result.warnings},
    )


def _write_picture(result: Restored, path: Path) -> None:
    with whole_file(path) as partial:
        draw(result, partial)


def draw(result: Restored, file: Path | io.BytesIO) -> None:
    """Writes a PNG of a restored image, or of the first one of a stack.

    It shows what was recorded, where that is known, the rates, their uncertainty and the residual.
    """
    first, made, taken = _as_stack(result)[0], result.provenance, result.settings
    shape = first.residual.shape
    ideal = Sensor("ideal", torch.ones(shape), torch.zeros(shape), taken.dead_time, taken.counter_bits)
    notes = {"Weights": f"{made.model} {made.model_sha256}", "Command": made.command}
    sheet(
        file,
        first.rate,
        first.uncertainty,
        ForwardModel(ideal, first.exposure),
        counts=first.counts,
        residual=first.residual,
        name=result.source,
        remark=summary(first.check.chi_squared[None]),
        notes=notes,
    )


_WRITERS: dict[str, Callable[[Restored, Path], None]] = {
    ".h5": _write_result,
    ".ome.tif": _write_ome,
    ".ome.tiff": _write_ome,
    ".png": _write_picture,
}
