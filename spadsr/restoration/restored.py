"""The result of restoring: photon detection rates, their uncertainty, and all that made them."""

import base64
import html
import io
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.captures.other_formats import physical_size
from hardware.settings import Settings
from noise_model.arrays import Picture
from noise_model.errors import InputError
from noise_model.files import at_home, whole_file
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.motion.motion import Motion
from spadsr.pictures.sheets import rate_scale, sheet
from spadsr.provenance import Provenance
from spadsr.restoration.physics_check import PhysicsCheck, summary
from spadsr.restoration.result_writer import ResultWriter
from spadsr.restoration.storage import Storage

if TYPE_CHECKING:
    from matplotlib.colors import Normalize

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
        counts: (H, W), what was restored; None where the result was read from a file that does not hold it, as only
            those do for which motion was looked for.
        hot: (H, W), 1 where a pixel was hot and left out, 2 where hot ones touch and are shown as they counted; None as
            for `counts`.
        cycles: (H, W), hardware frames of each pixel; None where those of `settings`, the most of any, are of all.
        motion: how the scene moved while each image, of one or of a stack, was summed; empty where that is not known.
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
    hot: NDArray[np.uint8] | None = None
    cycles: NDArray[np.integer[Any]] | None = None
    motion: tuple[Motion, ...] = ()

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

    @property
    def written(self) -> tuple[Any, ...]:
        """What a result file holds of a stack: the arguments of `ResultWriter.append`."""
        motion = self.motion if any(len(each.times) for each in self.motion) else ()
        check = vars(self.check)
        return (self.rate, self.uncertainty, self.coverage_factor, check, self.counts, self.cycles, motion)

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
            hot=None if self.hot is None else self.hot[index],
            cycles=None if self.cycles is None else self.cycles[index],
            motion=self.motion[index] if isinstance(index, slice) else self.motion[index:][:1],
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
            hot=None if parts[0].hot is None else joined("hot"),
            cycles=None if parts[0].cycles is None else joined("cycles"),
            motion=tuple(chain.from_iterable(part.motion for part in parts)),
        )

    def save(self, path: str | Path) -> None:
        """Writes the result to a file of the kind that its name ends in.

        `write_images` says which kinds there are, and what they hold.

        Raises:
            InputError: the name ends in none of these, or it cannot be written.
        """
        stack = _as_stack(self)
        write_images(iter([stack]), len(stack), at_home(path))

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
        hot=None if result.hot is None else result.hot[None],
        cycles=None if result.cycles is None else result.cycles[None],
    )


def write_images(blocks: Iterator[Restored], images: int, path: Path) -> None:
    """Writes restored images to a file of the kind that its name ends in, stack by stack as they come.

    `.sr.h5` (or another HDF5 name) holds everything but the counts, as `spadsr infer` writes it and `read_result` reads
    it; `.ome.tif` the rate and its uncertainty, as two channels, for Fiji, napari and other viewers; `.tif` the rate,
    for ImageJ; `.png` a grey picture of the first image, a pixel for every pixel; `.sr.png` a sheet of the first image:
    as recorded, as restored, its uncertainty and the residual; `.mp4` and `.gif` a film. Pictures are as bright as the
    first image needs. Only what is written is asked of `blocks`.

    Args:
        blocks: stacks, one or more images each.
        images: number of all.

    Raises:
        InputError: the name ends in none of these, or it cannot be written.
    """
    write = writer_of(path)
    first = next(blocks)
    write(first, chain([first], blocks), images, path)


def write_pictures(blocks: Iterator[Restored], images: int, path: Path) -> Iterator[Path]:
    """Writes a numbered PNG for every image, of the kind that `path` ends in, and yields the name of each.

    Grey pictures are all as bright as the first image needs, so that they can be compared.

    Raises:
        InputError: `path` names no PNG, or it cannot be written.
    """
    if not is_picture_name(path):
        raise InputError(f"{path}: a picture of every image: expected a name ending in .png", "output")
    done, norm = 0, None
    for block in blocks:
        for image in block:
            name = numbered(path, done, images)
            if writer_of(path) is _write_grey:
                norm = norm or rate_scale(image.rate)
                _write_png(image, norm, name)
            else:
                write_sheet(image, name)
            yield name
            done += 1


def numbered(path: Path, index: int, images: int) -> Path:
    """The name of the picture of one of so many images: `cell-007.png`, or `cell-007.sr.png`, for `cell.png`."""
    ending = next(each for each in WRITERS if path.name.lower().endswith(each))
    stem, ending = path.name[: -len(ending)], path.name[-len(ending) :]
    return path.with_name(f"{stem}-{index:0{len(str(images - 1))}d}{ending}")


def writer_of(path: Path) -> "Write":
    """The writer of files with such a name.

    Raises:
        InputError: it ends like none that is written.
    """
    for ending, write in WRITERS.items():
        if path.name.lower().endswith(ending):
            return write
    known = ", ".join(_KINDS)
    raise InputError(f"{path}: not a kind of file that is written; expected a name ending in {known}", "output")


def _write_result(first: Restored, blocks: Iterator[Restored], images: int, path: Path) -> None:
    write_result(blocks, path, Storage())


def write_result(blocks: Iterator[Restored], path: Path, storage: Storage) -> None:
    """Writes restored images, stack by stack as they come, to a result file.

    Raises:
        InputError: it cannot be written.
    """
    first = next(blocks)
    with ResultWriter(
        path,
        settings=first.settings,
        notes=first.notes,
        source=first.source,
        scale=first.scale,
        provenance=first.provenance,
        warnings=first.warnings,
        storage=storage,
    ) as writer:
        for block in chain([first], blocks):
            writer.append(*block.written)


def _facts(first: Restored) -> dict[str, Any]:
    unit = {"unit": "counts/s per native pixel area", "scale": first.scale}
    return {"source": first.source} | unit | vars(first.provenance) | {"warnings": first.warnings}


def _write_tiff(first: Restored, blocks: Iterator[Restored], images: int, path: Path) -> None:
    from spadsr.pictures.tiff import write_imagej_tiff

    write_imagej_tiff(
        path,
        (rate for block in blocks for rate in block.rate),
        (images, *first.rate.shape[1:]),
        frame_time=first.settings.frame_time,
        description=_facts(first),
    )


def _write_ome(first: Restored, blocks: Iterator[Restored], images: int, path: Path) -> None:
    from spadsr.pictures.tiff import write_ome_tiff

    factors: list[float] = []

    def pages() -> Iterator[NDArray[np.float32]]:
        for block in blocks:
            factors.extend(block.coverage_factor.tolist())
            for rate, uncertainty in zip(block.rate, block.uncertainty, strict=True):
                yield rate
                yield uncertainty

    write_ome_tiff(
        path,
        pages(),
        (images, *first.rate.shape[1:]),
        size=physical_size(first.notes, first.scale),
        exposure=first.settings.count_time * first.settings.cycles,
        frame_time=first.settings.frame_time,
        description=_facts(first),
        later={"coverage_factor_95": factors},
    )


def _write_film(first: Restored, blocks: Iterator[Restored], images: int, path: Path) -> None:
    from spadsr.pictures.grey import write_film

    write_film(path, (rate for block in blocks for rate in block.rate), rate_scale(first.rate[0]))


def _write_gif(first: Restored, blocks: Iterator[Restored], images: int, path: Path) -> None:
    from spadsr.pictures.grey import write_gif

    write_gif(path, (rate for block in blocks for rate in block.rate), rate_scale(first.rate[0]))


def _write_grey(first: Restored, blocks: Iterator[Restored], images: int, path: Path) -> None:
    _write_png(first[0], rate_scale(first.rate[0]), path)


def _write_png(image: Restored, norm: "Normalize", path: Path) -> None:
    from spadsr.pictures.grey import write_grey

    write_grey(path, image.rate, norm, _origin(image))


def _write_sheet(first: Restored, blocks: Iterator[Restored], images: int, path: Path) -> None:
    write_sheet(first, path)


def write_sheet(result: Restored, path: Path) -> None:
    """Writes the sheet (`draw`) of a restored image, or of the first one of a stack, to a PNG file of any name.

    Raises:
        InputError: it cannot be written.
    """
    with whole_file(path) as partial:
        draw(result, partial)


def _origin(result: Restored) -> dict[str, str]:
    """What the metadata of a picture say."""
    made = result.provenance
    return {"Source": result.source, "Weights": f"{made.model} {made.model_sha256}", "Command": made.command}


def draw(result: Restored, file: Path | io.BytesIO) -> None:
    """Draws the sheet, a PNG, of a restored image, or of the first one of a stack.

    It shows what was recorded, where that is known, the rates, their uncertainty and the residual, where these were
    kept, and, where motion was followed, the hardware frames of each pixel.
    """
    first, taken = _as_stack(result)[0], result.settings
    shape = first.residual.shape
    ideal = Sensor("ideal", torch.ones(shape), torch.zeros(shape), taken.dead_time, taken.counter_bits)
    sheet(
        file,
        first.rate,
        _kept(first.uncertainty),
        ForwardModel(ideal, first.exposure),
        counts=first.counts,
        residual=_kept(first.residual),
        frames=first.cycles if any(each.followed != "none" for each in first.motion) else None,
        name=result.source,
        remark=summary(first.check.chi_squared[None]),
        notes=_origin(result),
    )


def _kept(values: Picture) -> Picture | None:
    """Values that a result file may have left out, which read as NaN; then None."""
    return None if np.isnan(values).all() else values


#: A writer gets the first stack, all stacks (the first one too), the number of images, and where to write.
Write: TypeAlias = Callable[[Restored, Iterator[Restored], int, Path], None]

#: The writer of each ending of a file name; the first that fits is used.
_KINDS: dict[str, Write] = {
    ".h5": _write_result,
    ".ome.tif": _write_ome,
    ".tif": _write_tiff,
    ".sr.png": _write_sheet,
    ".png": _write_grey,
    ".mp4": _write_film,
    ".gif": _write_gif,
}
_MORE: dict[str, Write] = {
    ".hdf5": _write_result,
    ".nxs": _write_result,
    ".ome.tiff": _write_ome,
    ".tiff": _write_tiff,
}
WRITERS = _KINDS | _MORE


def output_bytes(path: Path, shape: tuple[int, int, int], scale: int, storage: Storage | None = None) -> int:
    """About the bytes of a file of that name with T restored images of H x W native pixels; 0 where they are few.

    Args:
        shape: (T, H, W).
        storage: of a result file.
    """
    write, rates = writer_of(path), 4 * scale**2 * math.prod(shape)
    if write is _write_result:
        return (storage or Storage()).result_bytes(shape, scale)
    return rates * (1 if write is _write_tiff else 2 if write is _write_ome else 0)


def is_result_name(path: Path) -> bool:
    """Whether a file of that name is a result file, which holds everything."""
    return writer_of(path) is _write_result


def is_picture_name(path: Path) -> bool:
    """Whether a file of that name is a picture of one image."""
    return writer_of(path) in (_write_grey, _write_sheet)
