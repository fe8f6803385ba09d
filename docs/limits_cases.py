"""Captures that ask for more than counts can tell: scenes, how they are taken, and where errors are measured."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.evaluation.metrics import block_mean

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

NATIVE = 32  # rows and columns of the captures
SCALE = 4
FRAME = 1.0  # s: rates are detections a frame
DEAD_TIME = FRAME / 17.5
PERIODS = (16, 10, 6, 5)  # pixels of the truth, top to bottom: 4, 2.5, 1.5 and 1.25 native pixels
STAR_RATE, STARS = 0.3, 24


@dataclass(frozen=True)
class Case:
    """One capture and its truth.

    Attributes:
        name: of the picture's file.
        title: what it shows.
        counts: (32, 32).
        truth: (32 s, 32 s) detections a frame and native pixel area.
        region: (32 s, 32 s) bool, where the figures are measured.
        model: how it was taken, as the network is told.
    """

    name: str
    title: str
    counts: NDArray[np.int64]
    truth: Image
    region: Mask
    model: ForwardModel

    @property
    def scale(self) -> int:
        return int(self.truth.shape[0] // self.counts.shape[0])


def array(bits: int = 1, dead_time: float = 0.0) -> Sensor:
    """An array of which only the kind is known: bits and dead time."""
    maps = torch.full((NATIVE, NATIVE), 0.5), torch.zeros(NATIVE, NATIVE)
    return Sensor("typical", *maps, dead_time, bits, measured=False)


def capture(
    name: str,
    title: str,
    truth: Image,
    region: Mask,
    frames: int,
    *,
    told: Sensor | None = None,
    real: Sensor | None = None,
) -> Case:
    """A still scene, taken by the sensor `real`, which is `told` to the network, in so many frames."""
    told, exposure = told or array(), Exposure(FRAME, frames)
    native = torch.from_numpy(block_mean(truth, truth.shape[0] // NATIVE))
    counts = ForwardModel(real or told, exposure).sample(native, torch.Generator().manual_seed(0))
    return Case(name, title, counts.numpy().astype(np.int64), truth, region, ForwardModel(told, exposure))


def everywhere(truth: Image) -> Mask:
    return np.ones(truth.shape, dtype=np.bool_)


def gratings() -> Case:
    """Bars of four periods in plenty of light; the figures are those of the finest."""
    side = NATIVE * SCALE
    x = np.arange(side) + 0.5
    bars = [0.3 + 0.25 * np.sin(2 * np.pi * x / period) for period in PERIODS]
    truth = np.repeat(np.stack(bars), side // len(bars), axis=0).astype(np.float32)
    region = everywhere(truth)
    region[: -side // len(bars)] = False
    return capture("gratings", "bars finer than the pixels, N = 1024", truth, region, 1024)


def page() -> Case:
    from skimage.data import page as scan

    truth = _grey(scan())[20:148, 60:188] * np.float32(0.6)  # type: ignore[no-untyped-call]
    return capture("text", "small print, N = 256", truth, truth < 0.7 * np.median(truth), 256)


def face() -> Case:
    truth = _cameraman()[24:152, 68:196] * np.float32(0.5)
    region = everywhere(truth) & False
    region[20:72, 22:64] = True
    return capture("face", "a face, one binary frame, white at 0.5", truth, region, 1)


def texture() -> Case:
    from skimage.data import grass

    truth = _grey(grass())[:128, :128] * np.float32(0.5)  # type: ignore[no-untyped-call]
    return capture("texture", "grass, N = 4", truth, everywhere(truth), 4)


def points(calibrated: bool = False, blur: float = 0.0) -> Case:
    """Stars of one native pixel, and as many hot pixels, equally bright.

    Args:
        blur: of the stars by optics, Gaussian, full width at half maximum in native pixels.
    """
    places = np.random.default_rng(2).permutation(NATIVE * NATIVE)[: 2 * STARS]
    sky = np.full(NATIVE * NATIVE, 0.01, np.float32)
    sky[places[:STARS]] = STAR_RATE
    sharp = sky.reshape(NATIVE, NATIVE).repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    truth = np.asarray(gaussian_filter(sharp, blur * SCALE / 2.355), np.float32)
    dark = torch.zeros(NATIVE * NATIVE)
    dark[torch.from_numpy(places[STARS:])] = STAR_RATE
    real = replace(array(), dark_count_rate=dark.reshape(NATIVE, NATIVE), measured=True)
    told = real if calibrated else array()
    title = "stars of one pixel, and hot pixels, N = 64"
    return capture("points", title, truth, sharp > 0.1, 64, told=told, real=real)


def saturated() -> Case:
    """Striped discs ever brighter; no counting pixel can count more than exposure over dead time, 17.5."""
    side = NATIVE * SCALE
    down, right = np.indices((side, side)) + 0.5
    truth = np.full((side, side), 0.5)
    for place, rate in enumerate((5, 20, 80, 400)):
        near = np.hypot(down - side * (0.25 + 0.5 * (place // 2)), right - side * (0.25 + 0.5 * (place % 2))) < side / 7
        truth[near] = rate * (0.6 + 0.4 * np.sin(right[near] / 4))
    lit = truth.astype(np.float32)
    return capture("saturated", "discs up to far above saturation, one frame", lit, near, 1, told=array(9, DEAD_TIME))


def filament() -> Case:
    """A line of 3/4 native pixel, 200 times as bright as all around; the figures are those of the dark beside."""
    side = NATIVE * SCALE
    down, right = np.indices((side, side)) + 0.5
    distance = down - (0.7 * side - 0.12 * right - 0.002 * (right - 100) ** 2)
    truth = 0.3 + 60 * np.exp(-4 * np.log(2) * (distance / 3) ** 2)
    beside = (np.abs(distance) > 6) & (np.abs(distance) < 14)
    title, counter = "a thin line, one frame of a counting array", array(9, DEAD_TIME)
    return capture("filament", title, truth.astype(np.float32), beside, 1, told=counter)


def moving(speed: float = 0.5) -> Case:
    """A photograph that shifts by half a native pixel a frame, 16 frames summed; the truth is their middle."""
    wide, generator = _cameraman()[24:152] * np.float32(0.5), torch.Generator().manual_seed(0)
    one = ForwardModel(array(), Exposure(FRAME))
    left = [68 + int(speed * SCALE * (t - 8)) for t in range(16)]
    frames = [torch.from_numpy(block_mean(wide[:, at : at + 128], SCALE)) for at in left]
    counts = sum(one.sample(frame, generator).numpy().astype(np.int64) for frame in frames)
    truth = wide[:, 68:196]
    edges = np.hypot(*np.gradient(truth)) > 0.03
    title = "8 native pixels of motion, 16 frames"
    return Case("moving", title, np.asarray(counts), truth, edges, ForwardModel(array(), Exposure(FRAME, 16)))


def crosstalk(nearest: float = 0.03, calibrated: bool = False) -> Case:
    """Nearest neighbours fire each other ten times as often as in any training capture."""
    kernel = nearest * torch.tensor([[0.16, 1, 0.16], [1, 0, 1], [0.16, 1, 0.16]])
    truth = _cameraman()[24:152, 68:196] * np.float32(0.5)
    title = "crosstalk of 3 %, ten times the most trained with, not told, N = 64"
    real = replace(array(), crosstalk=kernel, measured=True)
    told = real if calibrated else array()
    return capture("crosstalk", title, truth, everywhere(truth), 64, told=told, real=real)


def sixteen() -> Case:
    """A capture restored at 16 times the resolution."""
    truth = _grey_camera() * np.float32(0.5)
    return capture("sixteen", "x16, N = 256", truth, everywhere(truth), 256)


CASES: tuple[Callable[[], Case], ...] = (
    gratings,
    page,
    face,
    texture,
    points,
    saturated,
    filament,
    moving,
    crosstalk,
    sixteen,
)

#: The same captures without what makes them hard.
CONTROLS: dict[str, Callable[[], Case]] = {
    "points, hot pixels known": partial(points, calibrated=True),
    "moving, but still": partial(moving, speed=0),
    "points, and the optics blur them over a pixel": partial(points, blur=1.0),
    "crosstalk, known": partial(crosstalk, calibrated=True),
    "crosstalk, but none": partial(crosstalk, nearest=0),
}


def _grey_camera() -> Image:
    from skimage.data import camera

    return _grey(camera())  # type: ignore[no-untyped-call]


def _cameraman() -> Image:
    """The photograph of a man behind a camera, (256, 256)."""
    return block_mean(_grey_camera(), 2)


def _grey(image: NDArray[np.uint8]) -> Image:
    return np.asarray(image, np.float32) / np.float32(255)
