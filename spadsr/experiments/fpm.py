"""Fourier ptychography from the counts of a single-photon array: what helps phase retrieval, and what does not."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hardware.parsing.matlab5 import load, variables
from noise_model.arrays import Floats
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from noise_model.tensors import repeated
from spadsr.evaluation.baselines import enlarge
from spadsr.experiments.experiment import Data, Experiment, Measure, Outcome, Panel, Row, Task
from spadsr.experiments.moving import FRAME
from spadsr.experiments.phase_retrieval import CountedImages, MeasuredAmplitudes, Ptychography, climbed
from spadsr.experiments.ptychography import Geometry, directions_through_slide, seen_by_pixels, spiral
from spadsr.experiments.table import who_won
from spadsr.restoration.restorer import Restorer

WHITE = 0.7  # detections a frame of the brightest pixels
LONG_FRAME = 100e-6  # s, of a hardware frame in which hot pixels tell
PITCH, HEIGHT, GLASS, THICKNESS = 4e-3, 90.88e-3, 1.52, 1e-3  # of the stand, m: LEDs, their distance, slide
WAVELENGTH, APERTURE, PIXEL = 630e-9, 0.1, 1.845e-6
LEDS = 225
DRAWN, CROPPED = 48, 64  # pixels along each side

LEAST, LIKELIHOOD, FIRST, BICUBIC = "least squares", "likelihood and prior", "restored first", "bicubic first"
BLIND = f"{LIKELIHOOD}, not calibrated"
OWN, EVEN, HOT, COARSE = "own LED light", "even LED light", "hot pixels", "pixels 2 x 2"

CORRELATION = Measure("correlation", tie=0.001, digits=4)
PSNR = Measure("PSNR", "dB", tie=0.3, digits=1)
PHASE = Measure("phase rms", "rad", tie=0.003, more=False, digits=3)
SSIM = Measure("SSIM", tie=0.005, digits=3)

DATA = Data(
    what="bloodsmear_red.mat, 225 images of a blood smear, or the folder with it",
    source="https://github.com/SmartImagingLabUConn/Fourier-Ptychography, Data/, commit 22968f2",
    size="4.1 MB",
    sha256="3a8b07c71c374657f89a6f195d49523268860dcd25fc38c921677fcf841382a8",
    licence="none stated for the data; the code beside them is under GPL-2",
)

#: Condition and two methods, one against the other, in the sentences who won.
_COMPARED = (
    (OWN, (LIKELIHOOD, LEAST)),
    (OWN, (FIRST, LEAST)),
    (EVEN, (LIKELIHOOD, LEAST)),
    (HOT, (BLIND, LIKELIHOOD)),
    (COARSE, (FIRST, BICUBIC)),
    (COARSE, (LIKELIHOOD, BICUBIC)),
)

_BATCH = 25  # images restored at once
_SCALE = 300.0  # of amplitudes, roots of counts/s: any


@dataclass(frozen=True)
class Stand:
    """A microscope, what its images are without noise, and the object.

    Attributes:
        microscope: with its pupil.
        images: (LEDs, side, side) intensities.
        truth: (samples, samples) spectrum of the object.
        misfit: share of the images' light that the truth does not explain.
    """

    microscope: Ptychography
    images: Tensor
    truth: Tensor
    misfit: float

    @property
    def geometry(self) -> Geometry:
        """Of images sampled as finely as these."""
        return self.microscope.geometry(self.images.shape[-1])


def drawn_stand(seed: int, side: int = DRAWN, leds: int = LEDS) -> Stand:
    """A stained smear, crowded as real ones are: red cells, 7 to 8 micrometres wide, and dark nuclei of white ones."""
    microscope = Ptychography(directions_through_slide(PITCH * spiral(leds), HEIGHT), WAVELENGTH, APERTURE, PIXEL)
    geometry, rng = microscope.geometry(side), np.random.default_rng(seed)
    samples, step = geometry.samples, PIXEL / geometry.finer * 1e6
    extent = samples * step
    along = (np.arange(samples) + 0.5) * step
    absorbed, delayed = 0.02 * _plasma(samples, rng), 0.03 * _plasma(samples, rng)
    for number in range(max(3, int(extent**2 / 60))):
        row, column = rng.uniform(0, extent, 2)
        down, right = ((along - place + extent / 2) % extent - extent / 2 for place in (row, column))
        apart = np.hypot(down[:, None], rng.uniform(0.8, 1.25) * right[None, :])
        nucleus, radius = number % 12 == 0, rng.uniform(3.4, 4.0)
        body = (
            1 / (1 + np.exp((apart / radius - 1) * 14)) * (1 if nucleus else 1 - 0.25 * np.exp(-((apart / 1.7) ** 2)))
        )
        absorbed = np.maximum(absorbed, (1.6 if nucleus else rng.uniform(0.25, 0.45)) * body)
        delayed = np.maximum(delayed, (1.0 if nucleus else rng.uniform(0.35, 0.6)) * body)
    field = torch.from_numpy((_SCALE * np.exp(-absorbed + 1j * delayed)).astype(np.complex64))
    spectrum = torch.fft.fftshift(torch.fft.fft2(field / geometry.finer, norm="ortho"))
    truth = spectrum * (geometry.weighed(torch.ones(leds)) > 0)
    fields = geometry.fields(truth)
    return Stand(microscope, fields.abs().square(), truth, 0.0)


def _plasma(samples: int, rng: np.random.Generator) -> Floats:
    """What lies between cells, of mean 1: smooth, and varying by half of it."""
    waves = np.fft.fft2(rng.normal(size=(samples, samples)))
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(samples)] * 2))
    smooth = np.fft.ifft2(waves * np.exp(-((frequency / 0.04) ** 2))).real
    return np.asarray(1 + 0.5 * smooth / smooth.std())


def measured_stand(path: Path, side: int = CROPPED) -> Stand:
    """The middle of a blood smear; the truth is what explains its images of high dynamic range best, and its pupil.

    Raises:
        InputError: the file is another.
    """
    file = path / "bloodsmear_red.mat" if path.is_dir() else path
    if not file.is_file():
        raise DATA.refused(path, f"there is no {file.name} in it")
    amplitudes, numbers = _loaded(file)
    edge = (amplitudes.shape[-1] - side) // 2
    inner = slice(edge, edge + side)
    amplitudes = _SCALE * amplitudes[:, inner, inner]
    turn = np.radians(numbers["theta"])
    places = PITCH * spiral(len(amplitudes)) + 1e-3 * np.array([numbers["xint"], numbers["yint"]])
    places = places @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    leds = directions_through_slide(places, HEIGHT, GLASS, THICKNESS)
    microscope = Ptychography(leds, numbers["wlength"], APERTURE, PIXEL, numbers["z"])
    images = MeasuredAmplitudes(amplitudes, torch.ones(len(leds)))
    geometry = microscope.geometry(side)
    truth, geometry = climbed(geometry, images, geometry.start(amplitudes.square()), iterations=60, recover_pupil=True)
    misfit = (geometry.fields(truth).abs() - amplitudes).square().sum() / amplitudes.square().sum()
    return Stand(replace(microscope, pupil=geometry.pupil), amplitudes.square(), truth, float(misfit))


def run(task: Task) -> Outcome:
    """Counts the images under all LEDs and retrieves the object from them, in several ways."""
    stand = drawn_stand(task.seed) if task.data is None else measured_stand(task.data)
    bench = _Bench(task, stand)
    some = sorted(task.frames)[len(task.frames) // 2]
    rows = [row for frames in task.frames for row in bench.rows(OWN, frames, [LEAST, LIKELIHOOD, FIRST])]
    rows += bench.rows(EVEN, some, [LEAST, LIKELIHOOD])
    rows += bench.rows(HOT, some, [BLIND, LIKELIHOOD])
    rows += bench.rows(COARSE, max(task.frames), [BICUBIC, FIRST, LIKELIHOOD])
    said = [_compared(rows, condition, *pair) for condition, pair in _COMPARED]
    facts = {"misfit_of_truth": stand.misfit, "white": WHITE, "mean_counts": bench.light}
    return Outcome(rows, bench.pictures, said, facts)


def _compared(rows: Sequence[Row], condition: str, one: str, other: str) -> str:
    """Which of two methods has won under a condition."""
    two = [row for row in rows if row.condition == condition and row.method in (one, other)]
    return f"{condition}: {who_won(two, PSNR, one)}"


class _Bench:
    """The stand, the random numbers, and the pictures kept."""

    def __init__(self, task: Task, stand: Stand) -> None:
        self.task, self.stand = task, stand
        self.draws = torch.Generator().manual_seed(task.seed)
        self.pictures: dict[str, dict[str, Panel]] = {}
        self.light: dict[str, float] = {}
        self._done, self._all = 0, 3 * len(task.frames) + 7

    def rows(self, condition: str, frames: int, methods: Sequence[str]) -> list[Row]:
        """The figures of methods under a condition."""
        coarse = 2 if condition == COARSE else 1
        side = self.stand.images.shape[-1] // coarse
        known = Sensor.load("spad512")
        sensor = known.uniform((side, side)) if condition != HOT else _of_good(known.cropped(*[slice(0, side)] * 2))
        model = ForwardModel(sensor, Exposure(LONG_FRAME if condition == HOT else FRAME, frames))
        rates = seen_by_pixels(self.stand.images, coarse)
        tops = torch.quantile(rates.flatten(1), 0.999, dim=1)
        brightness = WHITE / model.exposure.count_time / (tops.max().expand_as(tops) if condition == EVEN else tops)
        counts = model.sample(rates * brightness[:, None, None], self.draws)
        self.light[f"{condition}, N = {frames}"] = float(counts.double().mean())
        found = {method: self._retrieved(method, counts, model, brightness, coarse) for method in methods}
        if condition == OWN:
            self._keep(frames, found)
        return [Row(frames, method, figures(self.stand, each), condition) for method, each in found.items()]

    def _retrieved(self, method: str, counts: Tensor, model: ForwardModel, brightness: Tensor, coarse: int) -> Tensor:
        """The spectrum of the object."""
        geometry, exposures = self.stand.geometry, [model.exposure] * len(counts)
        sensor = model.sensor if method in {LEAST, LIKELIHOOD} else model.sensor.uniform(model.sensor.shape)
        images = CountedImages(geometry, counts, exposures, sensor, brightness, coarse)
        rates = images.rates
        if method == FIRST:
            rates = _restored(self.task.restorer, counts, model, coarse) / brightness[:, None, None]
        elif method == BICUBIC:
            rates = torch.stack([torch.from_numpy(np.array(enlarge(each.numpy(), coarse))) for each in rates])
        elif coarse > 1:
            rates = repeated(rates, coarse)
        start = geometry.start(rates)
        asked = (
            images if method.startswith(LIKELIHOOD) else MeasuredAmplitudes(rates.clamp(min=0).sqrt(), images.weights)
        )
        spectrum, _ = climbed(geometry, asked, start)
        self._done += 1
        self.task.progress(self._done, self._all)
        return spectrum

    def _keep(self, frames: int, found: dict[str, Tensor]) -> None:
        """Keeps pictures of the moduli; and of the phases, where N is the middle one."""
        spectra = {**found, "truth": self.stand.truth}
        fields = {name: aligned(self.stand, spectrum) for name, spectrum in spectra.items()}
        moduli = {name: np.abs(each).astype(np.float32) for name, each in fields.items()}
        low, high = (float(np.percentile(moduli["truth"], part)) for part in (0.5, 99.5))
        self.pictures[f"N = {frames:,}"] = {name: Panel(each, low, high) for name, each in moduli.items()}
        if frames == sorted(self.task.frames)[len(self.task.frames) // 2]:
            phases = {name: np.angle(each).astype(np.float32) for name, each in fields.items()}
            low, high = (float(np.percentile(phases["truth"], part)) for part in (0.5, 99.5))
            self.pictures[f"phase, N = {frames:,}"] = {name: Panel(each, low, high) for name, each in phases.items()}


def aligned(stand: Stand, spectrum: Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.complex64]]":
    """The object away from its edges, scale and phase those of the truth."""
    border = stand.geometry.samples // 9
    inner = slice(border, -border)
    found, truth = (stand.geometry.object_of(each)[inner, inner].numpy() for each in (spectrum, stand.truth))
    phase = np.exp(-1j * np.angle(np.mean(truth)))
    return np.asarray(found * np.vdot(found, truth) / np.vdot(found, found) * phase, np.complex64)


def figures(stand: Stand, spectrum: Tensor) -> dict[Measure, float]:
    """How much an object is like the truth: its modulus, scaled to fit, and its phase, weighed by the light."""
    from skimage.metrics import structural_similarity

    found, truth = aligned(stand, spectrum), aligned(stand, stand.truth)
    one, two = np.abs(found), np.abs(truth)
    one = one * (one * two).sum() / (one * one).sum()
    span = float(np.percentile(two, 99.5) - np.percentile(two, 0.5))
    off = np.angle(found * truth.conj())
    return {
        CORRELATION: float(np.corrcoef(one.ravel(), two.ravel())[0, 1]),
        PSNR: float(10 * np.log10(span**2 / np.mean((one - two) ** 2))),
        PHASE: float(np.sqrt((two**2 * off**2).sum() / (two**2).sum())),
        SSIM: float(structural_similarity(one, two, data_range=span)),  # type: ignore[no-untyped-call]
    }


def _restored(restorer: Restorer, counts: Tensor, model: ForwardModel, scale: int) -> Tensor:
    """Rates (LEDs, s H, s W) that the network makes of every image."""
    return torch.cat(
        [restorer.answer(some, model, scale)[0].cpu().clamp(min=0) for some in torch.split(counts, _BATCH)]
    )


def _of_good(sensor: Sensor) -> Sensor:
    """The sensor with all its pixels in use, hot ones too."""
    return replace(sensor, pixel_mask=None)


def _loaded(file: Path) -> tuple[Tensor, dict[str, float]]:
    """Amplitudes (LEDs, H, H), and the numbers beside them."""
    names = ("wlength", "z", "theta", "xint", "yint")
    try:
        held = {each.name: each for each in variables(file)}
        images = held["imlow_HDR"]
        if len(images.shape) != 3 or images.dtype.kind not in "fiu":
            raise ValueError(f"images of shape {images.shape}")
        amplitudes = torch.from_numpy(np.moveaxis(load(file, images), 2, 0).astype(np.float32))
        numbers = {name: float(load(file, held[name]).item()) for name in names}
    except (InputError, OSError, KeyError, ValueError, IndexError, OverflowError, struct.error, zlib.error) as error:
        raise DATA.refused(file, f"not such a file ({error})") from error
    if not np.isfinite(list(numbers.values())).all() or not 1e-7 < numbers["wlength"] < 1e-5:
        raise DATA.refused(file, "a wavelength that is none")
    square = amplitudes.shape[1] == amplitudes.shape[2] >= CROPPED and amplitudes.shape[0] == LEDS
    if not square or not bool(amplitudes.isfinite().all()) or float(amplitudes.min()) < 0:
        raise DATA.refused(file, f"images of shape {tuple(amplitudes.shape)}, or values that are no amplitudes")
    return amplitudes, numbers


FPM = Experiment(
    name="fpm",
    shows="Fourier ptychography: amplitude and phase from counts under 225 LEDs, with the network in front and without",
    drawn="blood cells, 15 x 15 LEDs",
    data=DATA,
    frames=(1, 16, 256),
    seconds=50,
    run=run,
)
