"""Whether a recording is like those that a network was trained with: a warning for each quantity out of range.

The ranges are those of the recipe in the weight file. Warnings are about what can matter only. In light so faint that a
frame rarely counts at all, the counts of all frames together matter, not how many frames they come from; dead time
matters to pixels that are blind for a long time. A quantity may leave its range by a factor of two: that cost nothing
wherever it was measured.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from noise_model.arrays import Floats
from noise_model.errors import Note
from noise_model.forward_model import SATURATED_LOAD, ForwardModel
from noise_model.laws import CountingProcess
from noise_model.moments import moments
from simulate.pairs import PairRecipe
from spadsr.restoration.hot_pixels import stands_out
from spadsr.restoration.restorer import Restorer

_OCTAVE = 2.0
_BLOCK = 8  # rows and columns that brightness is a mean over
_UNUSUAL = 0.05  # counts of the brightest pixels that are less likely are unusual
_SLACK = 0.25  # share of the pixels of a block that may be saturated by chance, or because they are hot
_BLIND = 0.5  # share of the time: for pixels that are blind for longer, dead times below the range matter
_MASKED = 2.0  # times the share that training masks: with 0.05 for 0.03 nothing is lost, with 0.1 intervals fail
_HOT_TIMES = 1.5  # hot pixels count so many times as much as their neighbours: no fixed pattern is so strong
_LEAST_HOT = 3  # pixels: one or two may be stars


def trained_for(provenance: Mapping[str, Any]) -> PairRecipe | None:
    """The recipe of the captures that weights were trained with, by their provenance; None where it does not say."""
    recipe = provenance.get("recipe")
    if not isinstance(recipe, Mapping) or recipe.get("simulated") or "pairs" not in recipe:
        return None
    try:
        return PairRecipe.model_validate(recipe["pairs"])
    except ValidationError:
        return None


class TrainingRange:
    """Compares a recording, block by block, with those that a network was trained with. Memory is that of one image.

    Args:
        model: sensor and exposure that the recording is restored with.
        calibrated: the sensor's maps were measured on the array that took the recording.
    """

    def __init__(self, restorer: Restorer, model: ForwardModel, calibrated: bool) -> None:
        self._recipe, self._least_side = trained_for(restorer.provenance), restorer.network.least_side
        self._model, self._calibrated = model, calibrated
        self._good = model.good.numpy()
        self._total: Floats = np.zeros(model.sensor.shape)
        self._looked: Floats = np.zeros(model.sensor.shape)  # hardware frames
        self._cycles: tuple[int, int] | None = None  # the fewest of a pixel that looked, and the most
        recipe, relative = self._recipe or PairRecipe(), _relative_exposure(model)
        most = replace(model, exposure=replace(model.exposure, cycles=max(model.exposure.most_cycles, 1)))
        self._limits = _limits(recipe, most.process, model.sensor.binary, relative)
        self._dimmest = _Extreme(-self._limits.least)
        self._brightest = _Extreme(_OCTAVE * self._limits.most)
        self._fullest = _Extreme(self._limits.saturated + _SLACK)

    def add(self, counts: NDArray[np.integer[Any]], cycles: NDArray[np.integer[Any]] | None = None) -> None:
        """Takes in the counts of the next images, (n, H, W), and the frames of each pixel where these differ."""
        most = self._model.exposure.most_cycles
        frames = np.full((1, *self._total.shape), most) if cycles is None else cycles
        good = self._good & (frames > 0)
        brightest = _brightest_block(np.where(good, counts, 0), good)
        self._dimmest.add(-brightest)
        self._brightest.add(brightest)
        self._fullest.add(_brightest_block((counts >= self._limits.full * frames / most) & good, good))
        self._total += counts.sum(axis=0, dtype=np.float64)
        self._looked += np.broadcast_to(frames, counts.shape).sum(axis=0, dtype=np.float64)
        least, highest = self._cycles or (most, 0)
        self._cycles = int(frames.min(where=frames > 0, initial=least)), max(highest, int(frames.max()))

    def warnings(self) -> list[str]:
        """One line for every quantity that is out of range in the images added."""
        if self._recipe is None:
            return ["the weights do not say what they were trained for: perhaps not for captures like this one"]
        return [
            *_of_array(self._recipe, self._model, *(self._cycles or (self._model.exposure.most_cycles,) * 2)),
            *self._of_brightness(self._recipe),
            *_of_sensor(self._recipe, self._model, self._calibrated, self._seen),
            *self._of_hot_pixels(self._recipe),
            *self._of_size(),
        ]

    @property
    def _seen(self) -> NDArray[np.bool_]:
        """(H, W) good pixels that looked in one frame or more of the images added."""
        return self._good if self._cycles is None else self._good & (self._looked > 0)

    def _of_brightness(self, recipe: PairRecipe) -> Iterator[str]:
        where = "where it is brightest"
        if self._dimmest.outside:
            line = self._dimmest.of_images(
                f"{-self._dimmest.value:.2g} counts a pixel {where}; the weights were trained with"
                f" {self._limits.least:.2g} or more: sum more images"
            )
            yield Note(line, "sum")
        if self._fullest.outside:
            yield self._fullest.of_images(
                f"{self._fullest.value:.0%} of the pixels saturated {where}; the weights were trained with"
                f" {self._limits.saturated:.0%}: such rates are a lower limit"
            )
        if self._brightest.outside:
            yield self._brightest.of_images(
                f"{self._brightest.value:.4g} counts a pixel {where}; the weights were trained with up to"
                f" {self._limits.most:.3g}"
            )
        yield from self._of_dead_time(recipe)
        yield from self._of_dark_counts(recipe)

    def _of_dead_time(self, recipe: PairRecipe) -> Iterator[str]:
        """A warning where exposure / dead time is below its range; above it, rates and their spread are right."""
        relative, low = _relative_exposure(self._model), min(recipe.relative_exposure)
        load = self._brightest.value / self._model.exposure.most_cycles / relative
        if relative * _OCTAVE < low or (relative < low and load > _BLIND):
            yield (
                f"exposure / dead time = {relative:.3g}; the weights were trained with {low:g} or more; the brightest"
                f" pixels are blind for {min(load, 1):.0%} of the time"
            )

    def _of_dark_counts(self, recipe: PairRecipe) -> Iterator[str]:
        sensor, exposure = self._model.sensor, self._model.exposure
        dark = float(sensor.dark_count_rate.median()) * exposure.count_time * exposure.most_cycles
        white = recipe.binary_white if sensor.binary else recipe.counting_white
        share, most = dark / max(self._brightest.value, dark, 1e-9), recipe.dark_bulk[1] / white[0]
        if share > _OCTAVE * most:
            yield (
                f"dark counts are {share:.0%} of all counts where it is brightest; the weights were trained with up to"
                f" {most:.0%}"
            )

    def _of_hot_pixels(self, recipe: PairRecipe) -> Iterator[str]:
        good, looked = self._seen, np.maximum(self._looked, 1)
        alike = self._total * (looked.min(where=good, initial=looked.max()) / looked)
        hot = int((stands_out(alike, good, _HOT_TIMES) & good).sum())  # as if all had looked as rarely as the rarest
        share = hot / max(int(good.sum()), 1)
        if hot >= _LEAST_HOT and share > recipe.hot_fraction:
            yield Note(
                f"{hot} pixels look hot ({share:.1%}); the weights were trained with up to {recipe.hot_fraction:.0%}:"
                " give a recording in the dark, or mask them",
                "dark",
                "mask",
            )

    def _of_size(self) -> Iterator[str]:
        rows, columns = self._total.shape
        least = self._least_side
        if min(rows, columns) < least:
            yield f"{rows} x {columns} pixels; the weights were trained with {least} x {least} or more"


class _Extreme:
    """The largest of one value for each image, the image it is of, and how many of the values exceed a limit."""

    def __init__(self, limit: float) -> None:
        self.limit, self.value, self.image = limit, -np.inf, 0
        self.outside, self._images = 0, 0

    def add(self, values: Floats) -> None:
        index = int(values.argmax())
        if values[index] > self.value:
            self.value, self.image = float(values[index]), self._images + index
        self.outside += int((values > self.limit).sum())
        self._images += len(values)

    def of_images(self, sentence: str) -> str:
        """The sentence, after the images that it is about."""
        many = f"{self.outside} of {self._images} images, worst image {self.image}"
        return f"{f'image {self.image}' if self.outside == 1 else many}: {sentence}"


def _relative_exposure(model: ForwardModel) -> float:
    dead_time = model.sensor.dead_time
    return model.exposure.count_time / dead_time if dead_time > 0 else np.inf


@dataclass(frozen=True)
class _Limits:
    """The range of brightness of a recipe as counts in one exposure.

    Attributes:
        least, most: mean counts of an image's brightest block.
        full: counts from which on a pixel is saturated: its counter is full, or it is hardly ever armed and counts more
            than the brightest pixels in training usually do, or as much as dead time allows.
        saturated: share of the pixels of the brightest block that are saturated.
    """

    least: float
    most: float
    full: float
    saturated: float


@lru_cache(maxsize=16)  # for each image of a long recording anew
def _limits(recipe: PairRecipe, process: CountingProcess, binary: bool, relative_exposure: float) -> _Limits:
    white, cycles = recipe.counting_white, recipe.counting_cycles
    if binary:
        white, cycles = recipe.binary_white, recipe.binary_cycles
    frame = moments(replace(process, cycles=1), white[1])
    count, share = _at_least(process, white[1])
    unusual = count[share < _UNUSUAL].min(initial=np.inf)
    blind = SATURATED_LOAD * process.cycles * relative_exposure
    full = min(max(blind, unusual), process.cycles * min(process.most_counts, process.counter_maximum))
    return _Limits(
        least=max(recipe.least_counts, white[0] * min(cycles)),
        most=float(np.interp(white[1], frame.x, frame.mean)) * max(cycles),
        full=full,
        saturated=float(share[count >= full].max(initial=0)),
    )


def _at_least(process: CountingProcess, x: float) -> tuple[Floats, Floats]:
    """Counts, and for each the chance of that many or more at a rate x = r T."""
    first, pmf = next(process.windows(torch.tensor([x], dtype=torch.float64)))
    counts = first.double() + torch.arange(pmf.shape[1])
    return counts.numpy(), (pmf[0] / pmf.sum()).flip(0).cumsum(0).flip(0).numpy()


def _brightest_block(values: NDArray[Any], good: NDArray[np.bool_]) -> Floats:
    """(n,) the largest mean over the good pixels of a block, of values (n, H, W) that are 0 at other pixels."""
    rows, columns = (np.arange(0, max(side // _BLOCK, 1)) * _BLOCK for side in good.shape[-2:])

    def blocks(of: NDArray[Any]) -> Floats:
        summed = np.add.reduceat(of, rows, axis=-2, dtype=np.float64)
        return np.asarray(np.add.reduceat(summed, columns, axis=-1))

    return np.asarray((blocks(values) / np.maximum(blocks(good), 1)).max(axis=(1, 2)))


def _of_array(recipe: PairRecipe, model: ForwardModel, least: int, most: int) -> Iterator[str]:
    binary = model.sensor.binary
    share, cycles = (
        (recipe.binary_share, recipe.binary_cycles) if binary else (1 - recipe.binary_share, recipe.counting_cycles)
    )
    kind, low, high = "binary" if binary else "counting", min(cycles), max(cycles)
    if share == 0:
        yield f"the weights were trained without {kind} arrays"
    elif not low <= least <= most <= _OCTAVE * high:
        frames = f"{most}" if least == most else f"{least} to {most}"
        yield (
            f"N = {frames} hardware frames an image; the weights were trained with {low} to {high} of a {kind} array"
        )


def _of_sensor(recipe: PairRecipe, model: ForwardModel, calibrated: bool, good: NDArray[np.bool_]) -> Iterator[str]:
    """Effects of the sensor that are stronger than those the weights were trained with."""
    sensor = model.sensor
    relative = (sensor.pde / sensor.mean_pde)[sensor.good]
    known = {
        "afterpulse probability": (sensor.afterpulse_probability, max(recipe.afterpulse_probability)),
        "crosstalk to a neighbour": (float(sensor.crosstalk.max()), max(recipe.crosstalk)),
        "spread of the detection efficiency": (float(relative.std(correction=0)), recipe.pde_spread[1]),
    }
    for name, (value, most) in known.items():
        if value > _OCTAVE * most:
            yield f"{name} {value:.2g}; the weights were trained with up to {most:g}"
    masked = 1 - float(good.mean())
    if masked > (_MASKED * recipe.dead_fraction if recipe.masked_share > 0 else 0):
        yield f"{masked:.1%} of the pixels are masked or never looked, more than the weights were trained with"
    if calibrated and recipe.known_share == 0:
        yield "the weights were trained without maps of the sensor, and make little use of a calibrated one"
