"""Is a capture like those the network was trained for? If not, in what: a line for each quantity out of range.

The ranges are those of the recipe in the weight file. Only what can matter is said: of light so faint that a frame
rarely counts at all, only the counts of all frames matter, not how they are shared out; dead time matters to pixels
that are blind for long. Numbers may leave their range by an octave: that cost nothing wherever it was measured.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from hardware.captures.capture import Capture
from noise_model.laws import Shape
from noise_model.moments import Floats, moments
from noise_model.response import SATURATED_LOAD
from noise_model.sensor import Exposure, Sensor
from simulate.pairs import PairRecipe
from spadsr.restoration.hot_pixels import stands_out
from spadsr.restoration.restorer import Restorer

_OCTAVE = 2.0
_BLOCK = 8  # rows and columns that brightness is a mean over
_UNUSUAL = 0.05  # chance of counts of the brightest pixels
_SLACK = 0.25  # of the pixels of a block: scatter between images, and hot pixels
_BLIND = 0.5  # share of the time from which dead time below the range shows
_MASKED = 2.0  # times the share that training masks. With 0.05 for 0.03 nothing is lost, with 0.1 intervals fail
_HOT_TIMES = 1.5  # brighter than the neighbours: no fixed pattern is so strong
_HOT_TELLING = 0.01  # share of pixels that look hot from which calibrating gains some tenths of a dB
_LEAST_HOT = 3  # pixels: one or two may be stars


def trained_for(provenance: Mapping[str, Any]) -> PairRecipe | None:
    """The captures that weights of this provenance were trained with; None where it does not say."""
    recipe = provenance.get("recipe")
    if not isinstance(recipe, Mapping) or recipe.get("simulated") or "pairs" not in recipe:
        return None
    try:
        return PairRecipe.model_validate(recipe["pairs"])
    except ValidationError:
        return None


class TrainingRange:
    """Compares a recording, block by block, with what a network was trained for. Memory is that of one image."""

    def __init__(self, restorer: Restorer, capture: Capture, sensor: Sensor, calibrated: bool) -> None:
        """`sensor` is what the capture is restored with; `calibrated` says that its maps are of that very array."""
        self._recipe, self._least_side = trained_for(restorer.provenance), restorer.network.least_side
        self._exposure, self._sensor, self._calibrated = capture.exposure, sensor, calibrated
        self._good = sensor.good.numpy()
        self._total: Floats = np.zeros(capture.shape[1:])
        self._images = 0
        self._limits = _Limits.of(self._recipe or PairRecipe(), capture.exposure, sensor)
        self._dimmest = _Extreme(-self._limits.least)
        self._brightest = _Extreme(_OCTAVE * self._limits.most)
        self._fullest = _Extreme(self._limits.saturated + _SLACK)

    def add(self, counts: NDArray[np.integer[Any]]) -> None:
        """The next images, (n, H, W)."""
        brightest = _brightest_block(np.where(self._good, counts, 0), self._good)
        self._dimmest.add(-brightest)
        self._brightest.add(brightest)
        self._fullest.add(_brightest_block((counts >= self._limits.full) & self._good, self._good))
        self._total += counts.sum(axis=0, dtype=np.float64)
        self._images += len(counts)

    def warnings(self) -> list[str]:
        """A line for every quantity out of range, of all images added."""
        if self._recipe is None:
            return ["the weights do not say what they were trained for, so nobody can tell whether it was the like"]
        return [
            *_of_array(self._recipe, self._exposure, self._sensor),
            *self._of_brightness(self._recipe),
            *_of_sensor(self._recipe, self._sensor, self._calibrated),
            *self._of_hot_pixels(self._recipe),
            *self._of_size(),
        ]

    def _of_brightness(self, recipe: PairRecipe) -> Iterator[str]:
        where = "where it is brightest"
        if self._dimmest.outside:
            yield self._dimmest.said(
                f"{-self._dimmest.value:.2g} counts a pixel {where}; the weights were trained with"
                f" {self._limits.least:.2g} or more: --sum adds up images"
            )
        if self._fullest.outside:
            yield self._fullest.said(
                f"{self._fullest.value:.0%} of the pixels saturated {where}; the weights were trained with"
                f" {self._limits.saturated:.0%}: such rates are a lower limit"
            )
        if self._brightest.outside:
            yield self._brightest.said(
                f"{self._brightest.value:.4g} counts a pixel {where}; the weights were trained with up to"
                f" {self._limits.most:.3g}"
            )
        yield from self._of_dead_time(recipe)
        yield from self._of_dark_counts(recipe)

    def _of_dead_time(self, recipe: PairRecipe) -> Iterator[str]:
        """Dead times shorter than those trained with are no matter: the rates are right, and their spread known."""
        relative, low = _relative_exposure(self._exposure, self._sensor), min(recipe.relative_exposure)
        load = self._brightest.value / self._exposure.cycles / relative
        if relative * _OCTAVE < low or (relative < low and load > _BLIND):
            yield (
                f"exposure / dead time = {relative:.3g}; the weights were trained with {low:g} or more; the brightest"
                f" pixels are blind for {min(load, 1):.0%} of the time"
            )

    def _of_dark_counts(self, recipe: PairRecipe) -> Iterator[str]:
        dark = float(self._sensor.dark_count_rate.median()) * self._exposure.count_time * self._exposure.cycles
        white = recipe.binary_white if self._sensor.binary else recipe.counting_white
        share, most = dark / max(self._brightest.value, dark, 1e-9), recipe.dark_bulk[1] / white[0]
        if share > _OCTAVE * most:
            yield (
                f"dark counts are {share:.0%} of all counts where it is brightest; the weights were trained with up to"
                f" {most:.0%}"
            )

    def _of_hot_pixels(self, recipe: PairRecipe) -> Iterator[str]:
        hot = int((stands_out(self._total, self._good, _HOT_TIMES) & self._good).sum())
        share = hot / max(int(self._good.sum()), 1)
        if hot >= _LEAST_HOT and share > recipe.hot_fraction:
            yield (
                f"{hot} pixels look hot ({share:.1%}); the weights were trained with up to {recipe.hot_fraction:.0%}:"
                " calibrate the sensor (--sensor), or mask them"
            )
        elif hot >= _LEAST_HOT and share > _HOT_TELLING and not self._calibrated:
            yield f"{hot} pixels look hot ({share:.1%}): a calibrated sensor (--sensor) tells them from points of light"

    def _of_size(self) -> Iterator[str]:
        rows, columns = self._total.shape
        least = self._least_side
        if min(rows, columns) < least:
            yield f"{rows} x {columns} pixels; the weights were trained with {least} x {least} or more"


class _Extreme:
    """The largest of the values of many images, its image, and how many are above a limit."""

    def __init__(self, limit: float) -> None:
        self.limit, self.value, self.image = limit, -np.inf, 0
        self.outside, self._images = 0, 0

    def add(self, values: Floats) -> None:
        index = int(values.argmax())
        if values[index] > self.value:
            self.value, self.image = float(values[index]), self._images + index
        self.outside += int((values > self.limit).sum())
        self._images += len(values)

    def said(self, sentence: str) -> str:
        """The sentence, with the images that it is true of."""
        many = f"{self.outside} of {self._images} images, worst image {self.image}"
        return f"{f'image {self.image}' if self.outside == 1 else many}: {sentence}"


def _relative_exposure(exposure: Exposure, sensor: Sensor) -> float:
    return exposure.count_time / sensor.dead_time if sensor.dead_time > 0 else np.inf


@dataclass(frozen=True)
class _Limits:
    """What a recipe's range of brightness amounts to, in an exposure.

    Attributes:
        least, most: mean counts of an image's brightest block.
        full: counts from which a pixel is saturated: its counter is full, or it is hardly ever armed and counts more
            than the brightest that were trained with usually do, or all that dead time lets it.
        saturated: share of the pixels of the brightest block.
    """

    least: float
    most: float
    full: float
    saturated: float

    @classmethod
    def of(cls, recipe: PairRecipe, exposure: Exposure, sensor: Sensor) -> "_Limits":
        white, cycles = recipe.counting_white, recipe.counting_cycles
        if sensor.binary:
            white, cycles = recipe.binary_white, recipe.binary_cycles
        frame = moments(Shape.of(replace(exposure, cycles=1), sensor), white[1])
        image = Shape.of(exposure, sensor)
        count, share = _at_least(image, white[1])
        unusual = count[share < _UNUSUAL].min(initial=np.inf)
        blind = SATURATED_LOAD * exposure.cycles * _relative_exposure(exposure, sensor)
        full = min(max(blind, unusual), exposure.cycles * min(image.most_counts, image.counter_maximum))
        return cls(
            least=max(recipe.least_counts, white[0] * min(cycles)),
            most=float(np.interp(white[1], frame.x, frame.mean)) * max(cycles),
            full=full,
            saturated=float(share[count >= full].max(initial=0)),
        )


def _at_least(shape: Shape, x: float) -> tuple[Floats, Floats]:
    """Counts, and the chance of so many or more at a rate x = r T."""
    first, pmf = next(shape.windows(torch.tensor([x], dtype=torch.float64)))
    counts = first.double() + torch.arange(pmf.shape[1])
    return counts.numpy(), (pmf[0] / pmf.sum()).flip(0).cumsum(0).flip(0).numpy()


def _brightest_block(values: NDArray[Any], good: NDArray[np.bool_]) -> Floats:
    """(n,) largest mean of `values` (n, H, W) over the good pixels of a block; they are 0 elsewhere."""
    rows, columns = (np.arange(0, max(side // _BLOCK, 1)) * _BLOCK for side in good.shape)

    def blocks(of: NDArray[Any]) -> Floats:
        summed = np.add.reduceat(of, rows, axis=-2, dtype=np.float64)
        return np.asarray(np.add.reduceat(summed, columns, axis=-1))

    return np.asarray((blocks(values) / np.maximum(blocks(good), 1)).max(axis=(1, 2)))


def _of_array(recipe: PairRecipe, exposure: Exposure, sensor: Sensor) -> Iterator[str]:
    share, cycles = (
        (recipe.binary_share, recipe.binary_cycles)
        if sensor.binary
        else (1 - recipe.binary_share, recipe.counting_cycles)
    )
    kind, low, high = "binary" if sensor.binary else "counting", min(cycles), max(cycles)
    if share == 0:
        yield f"the weights were trained without {kind} arrays"
    elif not low <= exposure.cycles <= _OCTAVE * high:
        yield (
            f"N = {exposure.cycles} hardware frames an image; the weights were trained with {low} to {high} of a"
            f" {kind} array"
        )


def _of_sensor(recipe: PairRecipe, sensor: Sensor, calibrated: bool) -> Iterator[str]:
    """What a sensor is known to do, beside what the weights have seen."""
    relative = (sensor.pde / sensor.mean_pde)[sensor.good]
    known = {
        "afterpulse probability": (sensor.afterpulse_probability, max(recipe.afterpulse_probability)),
        "crosstalk to a neighbour": (float(sensor.crosstalk.max()), max(recipe.crosstalk)),
        "spread of the detection efficiency": (float(relative.std(correction=0)), recipe.pde_spread[1]),
    }
    for name, (value, most) in known.items():
        if value > _OCTAVE * most:
            yield f"{name} {value:.2g}; the weights were trained with up to {most:g}"
    masked = 1 - float(sensor.good.float().mean())
    if masked > (_MASKED * recipe.dead_fraction if recipe.masked_share > 0 else 0):
        yield f"{masked:.1%} of the pixels are masked, more than the weights were trained with"
    if calibrated and recipe.known_share == 0:
        yield "the weights were trained without maps of the sensor, and make little of --sensor"
