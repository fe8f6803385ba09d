"""What `import spadsr` offers to Python: restoring, calibrating and simulating with arrays and recordings."""

from __future__ import annotations  # of types that only checkers need

import operator
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from hardware.captures.capture import Capture
from hardware.captures.in_memory import capture_in_memory
from hardware.captures.pixel_masks import masked
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.files import at_home
from noise_model.forward_model import ForwardModel
from noise_model.progress import Report, silent
from noise_model.sensor import Exposure, Sensor
from spadsr.motion.motion import way_of
from spadsr.restoration.recordings import Restoration
from spadsr.restoration.restored import Restored
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.weights import load_restorer

if TYPE_CHECKING:
    from spadsr.calibration.calibrate import CalibratedSensor  # takes long to load, and only `calibrate` needs it

    Images: TypeAlias = ArrayLike | torch.Tensor
    AnySensor: TypeAlias = Sensor | CalibratedSensor | str | Path

_COMMAND = "spadsr.restore, in Python"  # for the provenance
_LARGEST_COUNT, _LARGEST_SEED = 2**31 - 1, 2**63 - 1
_BINARY_ASSUMED = "binary array assumed; give the sensor that took the counts if it was another"


def restore(
    counts: Capture | Images,
    *,
    exposure: Exposure | None = None,
    sensor: AnySensor | None = None,
    scale: int = 4,
    sum: int = 1,
    motion: str = "none",
    image: int | None = None,
    dark: str | Path | Sequence[str | Path] = (),
    mask: str | Path | ArrayLike | None = None,
    weights: Restorer | str | Path | None = None,
    device: str = "cpu",
    orientations: int = 1,
    progress: Report | None = None,
) -> Restored:
    """Restores photon detection rates from counts, with their uncertainty, at up to sixteen times the resolution.

    Args:
        counts: a capture that `spadsr.open` opened, or an array of whole numbers (H, W) or (T, H, W): numpy, torch or
            nested lists. They are used as they are: never scaled, shifted or cut.
        exposure: how long one image of an array was exposed, `Exposure(count_time, cycles)`; a capture says it itself.
            Its cycles may be an array (H, W) or (T, H, W): the hardware frames of each pixel, 0 where it never looked.
        sensor: that took it: a calibrated sensor, its YAML file, or the name of a preset ("spc3", "spad512"). Without
            one a capture's own settings are used, and an array is taken for one of a binary array.
        scale: resolution of the answer over that of the sensor: 1, 2, 4, 8 or 16.
        sum: consecutive images that are added up before restoring; N grows with them.
        motion: what is followed where the scene of a sum moves, so that what is restored is the scene at the sum's
            central instant: "shift", "rigid" (shifts and turns of the whole scene), "local" (of its parts as well),
            "auto" (whatever moves) or "none".
        image: the index of the only (summed) image to restore. Without it, the first one of a capture, and all of an
            array. `restore_all` goes through a whole capture.
        dark: recordings in the dark: their dark rates are taken off, and the pixels that are hot in them left out.
        mask: bad pixels to leave out, an array or an image file (H, W): 0 is a good pixel, everything else bad.
        weights: "base", "tiny", a weight file, or what `spadsr.load` loaded.
        device: "cpu", or "cuda" where there is a GPU; of weights that are not loaded yet.
        orientations: how many turned and mirrored images, up to 8, are averaged: better, and as many times slower; of
            weights that are not loaded yet.
        progress: called with the images done and their number (hundredths of images, where motion is followed);
            nothing is told otherwise.

    Returns:
        A restored image, or a stack of them, with the number of dimensions of the counts (a capture's image has 2):
        `rate` and `uncertainty` (s H, s W) float32, in counts/s per native pixel area.

    Raises:
        InputError: counts that are no whole numbers, negative, or above what the exposure can give, the first of them
            named; an array without exposure; a sensor of another size or kind.
    """
    scale, sum = _integer(scale, "scale"), _integer(sum, "sum")
    capture, known = _prepared(counts, exposure, _sensor(sensor), (sum, None), dark, mask)
    single = image is not None or isinstance(counts, Capture) or np.ndim(counts) == 2
    if single:
        capture = _image_of(capture, _integer(image or 0, "image"))
    restorer, way = _restorer(weights, device, orientations), way_of(motion)
    restoration = Restoration(capture, restorer, scale, known, _COMMAND, way)
    findings, blocks, report = restoration.findings(), [], _Steps(restoration, progress or silent)
    for block in restoration.blocks(progress=report.within):
        findings.add(block)
        blocks.append(block)
        report.add(len(block))
    stack = replace(Restored.stacked(blocks), warnings=findings.warnings())
    return stack[0] if single else stack


def restore_all(
    counts: Capture | Images,
    *,
    exposure: Exposure | None = None,
    sensor: AnySensor | None = None,
    scale: int = 4,
    sum: int = 1,
    every: int | None = None,
    motion: str = "none",
    dark: str | Path | Sequence[str | Path] = (),
    mask: str | Path | ArrayLike | None = None,
    weights: Restorer | str | Path | None = None,
    device: str = "cpu",
    orientations: int = 1,
    progress: Report | None = None,
) -> Iterator[Restored]:
    """Restores all images of a capture or an array, one by one, in memory that does not grow with their number.

    The arguments are those of `restore`; the images are restored as they are asked for. Warnings of a restored image
    are about that image.

    Args:
        every: images from the first of a sum to the first of the next; fewer than `sum` make a film of sums that
            overlap. Without it they adjoin.

    Raises:
        InputError: as `restore`; of a count, when its image is asked for.
    """
    scale, sum = _integer(scale, "scale"), _integer(sum, "sum")
    step = None if every is None else _integer(every, "every")
    capture, known = _prepared(counts, exposure, _sensor(sensor), (sum, step), dark, mask)
    restorer, way = _restorer(weights, device, orientations), way_of(motion)
    restoration = Restoration(capture, restorer, scale, known, _COMMAND, way)
    return _one_by_one(restoration, progress or silent)


def simulate(rate: Images, *, exposure: Exposure, sensor: AnySensor, seed: int = 0) -> NDArray[np.int32]:
    """Simulates the counts that a sensor records of a scene, with every effect of the sensor.

    Args:
        rate: (H, W) or (T, H, W) photon detection rate of a pixel of mean photon detection efficiency, counts/s,
            without dark counts: the unit in which `restore` answers.
        exposure: how long one image is exposed.
        sensor: a calibrated sensor, its YAML file, or the name of a preset, which serves any size with uniform maps.
        seed: the same seed gives the same counts.

    Returns:
        Counts, of the shape of `rate`.

    Raises:
        InputError: rates that are negative or not finite, the first of them named; a sensor of another size.
    """
    rates, settled = _numbers(rate, "rate"), _checked(exposure)
    _refuse(rates, ~(np.isfinite(rates) & (rates >= 0)), "rate", "expected finite rates of 0 and more, counts/s")
    known = _sensor(sensor)
    if known is None:
        raise InputError("which sensor? give sensor=, a calibrated one or a preset such as 'spc3'", "sensor")
    if known.shape != rates.shape[-2:]:
        if known.measured:
            size = " x ".join(map(str, known.shape))
            raise InputError(f"{known.name}: a sensor of {size} pixels, but rates {rates.shape}", "sensor")
        known = known.uniform((rates.shape[-2], rates.shape[-1]))
    most = settled.most_cycles * ((1 << known.counter_bits) - 1)
    if most > _LARGEST_COUNT:
        raise InputError(
            f"counts of up to {most}: expected {_LARGEST_COUNT} at most; simulate fewer cycles", "exposure"
        )
    generator = torch.Generator().manual_seed(_integer(seed, "seed", 0, _LARGEST_SEED))
    with np.errstate(over="ignore"):  # a rate beyond single precision saturates the sensor all the same
        photons = torch.from_numpy(np.ascontiguousarray(rates, np.float32))
    return ForwardModel(known, settled).sample(photons, generator).numpy()


def calibrate(
    dark: str | Path | Sequence[str | Path] = (),
    flats: str | Path | Sequence[str | Path] = (),
    *,
    sensor: str | Path | None = None,
    progress: Report | None = None,
) -> CalibratedSensor:
    """Estimates a sensor from recordings in the dark and of even light.

    Args:
        dark: recordings in the dark. Images that a recording itself marks as dark or flat are used as such.
        flats: recordings of even light, of different brightness if possible.
        sensor: sensor file or preset whose numbers stand in for what the recordings do not tell; by default a preset
            of the same kind of array.
        progress: called with the images gathered and their number, recording by recording; nothing is told otherwise.

    Returns:
        The sensor and how sure its numbers are: `.sensor`, `.warnings`, and `.save("mine.yaml")`, which writes the
        sensor with its maps and a report. `restore` and `simulate` take it as their sensor.

    Raises:
        InputError: no recordings, or recordings that are unreadable, of different arrays, or not fit to calibrate with.
    """
    from spadsr.calibration.calibrate import calibrate_captures

    darks, lights = _paths(dark), _paths(flats)
    if not darks and not lights:
        raise InputError("nothing to calibrate from: give dark= and flats=, the names of recordings", "dark", "flats")
    if isinstance(sensor, Sensor):
        raise InputError("expected the file of a sensor, or the name of a preset, and no sensor itself", "sensor")
    preset = None if sensor is None else str(sensor)
    return calibrate_captures(
        darks, lights, preset, {}, "spadsr.calibrate, in Python", lambda label: nullcontext(progress or silent)
    )


class _Steps:
    """Progress in images, or in hundredths of them where motion is followed, which may take long."""

    def __init__(self, restoration: Restoration, progress: Report) -> None:
        self._done, self._units, self._report = 0, restoration.units, progress
        self._all = restoration.images * self._units

    def within(self, done: int, total: int) -> None:
        """Takes in how much is done of the next image."""
        self._report(self._done + done * self._units // total, self._all)

    def add(self, images: int) -> None:
        """Takes in that further images are done."""
        self._done += images * self._units
        self._report(self._done, self._all)


def _one_by_one(restoration: Restoration, progress: Report) -> Iterator[Restored]:
    report = _Steps(restoration, progress)
    for block in restoration.blocks(progress=report.within):
        for index, picture in enumerate(block):
            findings = restoration.findings()
            findings.add(block[index : index + 1])
            yield replace(picture, warnings=findings.warnings())
            report.add(1)


def _prepared(
    counts: Capture | Images,
    exposure: Exposure | None,
    sensor: Sensor | None,
    sum: tuple[int, int | None],
    dark: str | Path | Sequence[str | Path],
    mask: str | Path | ArrayLike | None,
) -> tuple[Capture, Sensor | None]:
    """What is restored, and the sensor that took it, with what darks and a mask say.

    Args:
        sum: images that are added up, and from the first of a sum to that of the next.
    """
    darks, notes = _paths(dark), tuple[str, ...]()
    if darks:
        from spadsr.calibration.calibrate import with_darks

        sensor, notes = with_darks(darks, sensor, {}, _COMMAND, lambda label: nullcontext(silent))
    capture = _capture(counts, exposure, sensor).summed(*sum)
    capture = capture if mask is None else masked(capture, mask)
    return replace(capture, assumptions=(*capture.assumptions, *notes)), sensor


def _capture(counts: Capture | Images, exposure: Exposure | None, sensor: Sensor | None) -> Capture:
    """The capture given, or an array as one."""
    if not isinstance(counts, Capture):
        return _capture_of_array(_numbers(counts, "counts"), exposure, sensor)
    if exposure is not None:
        raise InputError("a capture says itself how it was exposed: leave the exposure out", "exposure")
    return counts


def _capture_of_array(counts: NDArray[Any], exposure: Exposure | None, sensor: Sensor | None) -> Capture:
    _refuse(counts, ~_whole(counts), "counts", "expected whole numbers of 0 and more, as they were counted")
    if exposure is None:
        raise InputError(
            "counts alone do not say how long they were exposed: add exposure=spadsr.Exposure(10e-6, 64), with the"
            " seconds of one hardware frame and the number of frames in an image",
            "exposure",
        )
    exposure = _checked(exposure)
    bits, dead_time = (1, 0.0) if sensor is None else (sensor.counter_bits, sensor.dead_time)
    settings = Settings(exposure.count_time, exposure.most_cycles, bits, dead_time)
    shape = (counts.size // max(1, counts.shape[-2] * counts.shape[-1]), *counts.shape[-2:])
    cycles = _cycles_of(exposure, shape)
    most = (exposure.most_cycles if cycles is None else cycles.reshape(counts.shape)) * ((1 << bits) - 1)
    given = f"{exposure.frames} hardware frames of a {bits}-bit counter"
    above = f"expected {np.max(most)} at most, from {given}; correct the exposure or sensor"
    _refuse(counts, counts > most, "counts", above)
    images = counts.astype(np.uint32).reshape(shape)
    capture = capture_in_memory(Path("counts"), images, settings, None, cycles)
    return replace(capture, assumptions=(_BINARY_ASSUMED,)) if sensor is None else capture


def _cycles_of(exposure: Exposure, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    """The hardware frames of each pixel of images (T, H, W); None where one number is that of all."""
    if exposure.map is None:
        return None
    cycles = exposure.map.cpu().numpy()
    if cycles.shape not in (shape, shape[1:]):
        raise InputError(
            f"cycles of shape {cycles.shape}: expected one for each pixel, {shape[1:]} or {shape}", "exposure"
        )
    return np.broadcast_to(cycles, shape).astype(np.int64)


def _checked(exposure: Exposure) -> Exposure:
    """The exposure itself, if it is one that a camera can have."""
    if not isinstance(exposure, Exposure):
        raise InputError(
            f"exposure {exposure!r}: expected spadsr.Exposure(count_time, cycles), such as spadsr.Exposure(10e-6, 64)",
            "exposure",
        )
    if isinstance(exposure.cycles, np.ndarray | torch.Tensor):
        cycles = _numbers(exposure.cycles, "cycles")
        _refuse(cycles, ~_whole(cycles), "cycles", "expected whole numbers of hardware frames, 0 and more")
        exposure = replace(exposure, cycles=torch.from_numpy(cycles.astype(np.int64)))
    Settings(exposure.count_time, exposure.most_cycles)
    return exposure


def _integer(value: Any, name: str, least: int | None = None, most: int | None = None) -> int:
    """A whole number, of whatever type, in its range."""
    try:
        number = operator.index(value)
    except TypeError as error:
        raise InputError(f"{name} {value!r}: expected a whole number", name) from error
    if (least is not None and number < least) or (most is not None and number > most):
        raise InputError(f"{name} {number}: expected {least} to {most}", name)
    return number


def _numbers(values: Images, name: str) -> NDArray[Any]:
    """Numbers as an array (H, W) or (T, H, W)."""
    if np.ma.is_masked(values):
        raise InputError(
            f"{name}: a masked array; mark bad pixels in the sensor's pixel_mask and give all numbers", name
        )
    if isinstance(values, str | Path):
        raise InputError(f"{name}: the name of a file; open it first: spadsr.open({str(values)!r})", name)
    try:
        numbers = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name}: not an array of numbers ({error})", name) from error
    if numbers.dtype.kind not in "biuf":
        raise InputError(f"{name} of type {numbers.dtype}: expected numbers; recordings are opened with open", name)
    if numbers.ndim not in (2, 3) or numbers.size == 0:
        shapes = "(rows, columns) or (images, rows, columns)"
        raise InputError(f"{name} of shape {numbers.shape}: expected {shapes}, one or more of each", name)
    return numbers


def _whole(numbers: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray((numbers >= 0) & (numbers == np.floor(numbers)) & np.isfinite(numbers))


def _refuse(numbers: NDArray[Any], bad: NDArray[np.bool_], name: str, expected: str) -> None:
    """Names the first number that is bad, if any is."""
    if bad.any():
        place = tuple(int(each) for each in np.unravel_index(bad.argmax(), bad.shape))
        raise InputError(f"{name}{list(place)} is {numbers[place].item()}: {expected}", name)


def _image_of(capture: Capture, place: int) -> Capture:
    """One image of a capture, as a capture."""
    images = range(capture.shape[0])
    if not -len(images) <= place < len(images):
        raise InputError(f"image {place}: there are {len(images)} of them after summing, counted from 0", "image")
    at, cycles = images[place], capture.cycles(images[place], images[place] + 1)
    source = replace(
        capture.source,
        read=lambda start, stop: capture.read(at + start, at + stop),
        cycles=None if cycles is None else (lambda start, stop: cycles[start:stop]),
        parts=None if capture.source.parts is None else (lambda image, most: capture.parts(at + image, most)),
        sequence=None,
    )
    return replace(capture, shape=(1, *capture.shape[1:]), image_key=None, source=source)


def _sensor(sensor: AnySensor | None) -> Sensor | None:
    if sensor is None or isinstance(sensor, Sensor):
        return sensor
    if isinstance(sensor, str | Path):
        return Sensor.load(sensor)
    if not isinstance(getattr(sensor, "sensor", None), Sensor):
        raise InputError(f"sensor {sensor!r}: expected a sensor, its file, or the name of a preset", "sensor")
    return sensor.sensor


def _paths(given: str | Path | Sequence[str | Path]) -> list[Path]:
    return [at_home(given)] if isinstance(given, str | Path) else [at_home(each) for each in given]


def _restorer(weights: Restorer | str | Path | None, device: str, orientations: int) -> Restorer:
    """The network of these weights: loaded once, and again only when their file has changed."""
    if isinstance(weights, Restorer):
        return weights
    if not isinstance(weights, str | Path | None):
        raise InputError(f"weights {weights!r}: expected a name, a file, or what spadsr.load gives", "weights")
    orientations = _integer(orientations, "orientations")
    file = at_home(weights or "")
    changed = file.stat().st_mtime_ns if file.is_file() else 0
    with _LOADING:
        return _loaded(weights, changed, device, orientations)


_LOADING = Lock()  # threads that want the same network wait for the one that loads it


@lru_cache(maxsize=4)
def _loaded(weights: str | Path | None, changed: int, device: str, orientations: int) -> Restorer:
    return load_restorer(weights, device, orientations)
