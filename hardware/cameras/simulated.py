"""A simulated camera: any sensor in front of a drifting scene, in real time, with lost images if wanted."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.camera import Block, CameraError, Offer, saturated_share, smallest_dtype
from hardware.settings import Settings
from noise_model.arrays import Picture
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Sensor

ADDRESS = "simulated:SENSOR,flux=20000,drift=8,even=0,loss=0,seed=0"
OPTIONS = {"flux": 2e4, "drift": 8.0, "even": 0.0, "loss": 0.0, "seed": 0.0}

#: s; the shortest time between two images.
SHORTEST_PERIOD = 1e-5
#: s: the time that a block spans, about, and the time for which images are kept for a receiver that is late.
BLOCK_TIME, MEMORY_TIME = 0.01, 1.0
#: The most images in a block.
MOST_IMAGES = 1024
#: Images that are drawn before the start where drawing is slower than the camera: the most images, s, and bytes.
RING_IMAGES, RING_TIME, RING_BYTES = 4096, 3.0, 1 << 28
#: Images lost at once, on average; more where many are to be lost.
MEAN_LOSS = 64
#: Least number of scene pixels along the longer side of the sensor: the more, the more smoothly the scene drifts.
FINE = 256


def availability() -> tuple[bool, str]:
    """Says that the camera is always usable."""
    return True, "needs nothing; SENSOR is a preset (spc3, spad512) or a calibrated sensor YAML"


def connect(
    what: str, *, flux: float = 2e4, drift: float = 8.0, even: float = 0.0, loss: float = 0.0, seed: float = 0.0
) -> "SimulatedCamera":
    """A simulated camera with the sensor `what` (usually spc3) in front of a scene.

    Args:
        flux: detections/s of a mean pixel, on average over the scene; 0 is the dark.
        drift: speed of the scene, pixels/s.
        even: 1 for even light instead of a scene.
        loss: share of images that are lost, from 0 to less than 1.
        seed: seed of scene, counts and losses.

    Raises:
        CameraError: an option is out of range.
        InputError: no such sensor.
    """
    if not (0 <= flux < 1e12 and abs(drift) < 1e6 and 0 <= loss < 1 and 0 <= seed < 2**63 and even in (0, 1)):
        raise CameraError(f"simulated: an option is out of range; usual are {ADDRESS.partition(',')[2]}")
    sensor = Sensor.load(what or "spc3")
    return SimulatedCamera(sensor, moving_scene(sensor.shape, flux, drift, bool(even), int(seed)), loss, int(seed))


def moving_scene(
    shape: tuple[int, int], flux: float, drift: float, even: bool, seed: int
) -> Callable[[NDArray[np.float64]], Picture]:
    """A cloudy scene that drifts from right to left and comes round again, as a function of time.

    Args:
        shape: rows and columns of the sensor.
        flux: mean rate, detections/s of a mean pixel.
        drift: speed, pixels/s.
        even: whether the scene is without detail.
        seed: seed of the scene.

    Returns:
        A function of times (n,), s, that gives rates (n, H, W) in detections/s of a mean pixel.
    """
    fine = max(1, FINE // max(shape))
    scene = np.ones((shape[0] * fine, shape[1] * fine)) if even else _clouds((shape[0] * fine, shape[1] * fine), seed)
    scene = (flux * scene).astype(np.float32)

    def shifted(shift: int) -> Picture:
        moved = np.roll(scene, -shift, axis=1).reshape(shape[0], fine, shape[1], fine)
        return np.asarray(moved.mean(axis=(1, 3)), np.float32)

    def rates(times: NDArray[np.float64]) -> Picture:
        shifts, which = np.unique((times * (drift * fine)).astype(np.int64) % scene.shape[1], return_inverse=True)
        return np.stack([shifted(int(shift)) for shift in shifts])[which]

    return rates


def _clouds(shape: tuple[int, int], seed: int) -> NDArray[np.float64]:
    """A cloudy picture of mean 1 and a contrast of about 1:100, alike at every scale, whose opposite borders match."""
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal(shape))
    rows, columns = np.fft.fftfreq(shape[0])[:, None] * shape[0], np.fft.rfftfreq(shape[1]) * shape[1]
    spectrum /= np.maximum(np.hypot(rows, columns), 1) ** 1.5
    spectrum[0, 0] = 0
    smooth = np.fft.irfft2(spectrum, shape)
    picture = np.exp(smooth / smooth.std())
    return np.asarray(picture / picture.mean(), np.float64)


class SimulatedCamera:
    """A simulated camera: random counts of a sensor in front of a scene, in real time.

    Images are drawn when they are due. Where drawing takes longer than the time between them, a few thousand are drawn
    before the start and handed over again and again, as `identity` says. A receiver that is late by more than a second
    loses images, as with a camera whose memory is full.

    Args:
        sensor: the sensor that is simulated.
        rates: rates(times (n,), s) gives (n, H, W) detections/s of a mean pixel.
        loss: share of images that are lost.
        seed: seed of counts and losses.
    """

    name = "simulated"
    waits = False

    def __init__(
        self, sensor: Sensor, rates: Callable[[NDArray[np.float64]], Picture], loss: float = 0.0, seed: int = 0
    ) -> None:
        self.shape = sensor.shape
        self.pixel_mask = None if sensor.pixel_mask is None else sensor.pixel_mask.numpy().astype(np.uint32)
        self._sensor, self._rates, self._loss, self._seed = sensor, rates, loss, seed
        self._applied: Settings | None = None
        self._source: Callable[[int], NDArray[Any]] | None = None
        self._drawn, self._distinct = "not configured", 0
        self._stopped = Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._applied = None

    def configure(self, settings: Settings) -> Settings:
        """Applies count time, cycles, frame time and, for a counting sensor, counter bits; the rest is the sensor's.

        Draws some images to find out how fast that is, which takes a moment.
        """
        for name, choice in self.choices().items():
            value = getattr(settings, name)
            if value is not None and name != "frame_time" and not choice.low <= value <= choice.high:
                expected = f"expected {choice.low:g} to {choice.high:g}"
                raise CameraError(f"simulated: cannot apply {name} {value:g}; {expected}", name)
        shortest = max(settings.cycles * settings.count_time, SHORTEST_PERIOD)
        self._applied = Settings(
            count_time=settings.count_time,
            cycles=settings.cycles,
            counter_bits=1 if self._sensor.binary else settings.counter_bits,
            dead_time=self._sensor.dead_time,
            frame_time=max(settings.frame_time or 0.0, shortest),
        )
        self._source = self._prepared(self._applied, max(settings.frame_time or 0.0, shortest))
        return self._applied

    def blocks(self) -> Iterator[Block]:
        """Hands over images in real time."""
        if self._applied is None or self._applied.frame_time is None or self._source is None:
            raise CameraError("simulated: no settings yet; call configure first")
        self._stopped.clear()
        return self._run(self._applied, self._applied.frame_time, self._source)

    def stop(self) -> None:
        """Ends `blocks`."""
        self._stopped.set()

    def choices(self) -> dict[str, Offer]:
        """Count time, cycles and frame time, and counter bits of a counting sensor."""
        bits = {} if self._sensor.binary else {"counter_bits": Offer(1, 16)}
        times = {"count_time": Offer(1e-9, 1e3), "frame_time": Offer(SHORTEST_PERIOD, 1e6)}
        return {**times, "cycles": Offer(1, 65534), **bits}

    def identity(self) -> dict[str, str]:
        """The sensor that is simulated, and how the images are made.

        `distinct_images` is there where they are repeated: so many are drawn, and no others follow.
        """
        repeated = {"distinct_images": str(self._distinct)} if self._distinct else {}
        return {"description": f"simulated: {self._sensor.name}", "images": self._drawn} | repeated

    def _run(self, applied: Settings, period: float, source: Callable[[int], NDArray[Any]]) -> Iterator[Block]:
        images, losses = _block_images(period), np.random.default_rng(self._seed)
        first, start = 0, time.monotonic()
        while not self._stopped.is_set():
            lost = self._chance_loss(images, losses)
            late = time.monotonic() - start - (first + lost + images) * period
            lost += int(late / period) if late > MEMORY_TIME else 0
            first += lost
            counts = source(first)
            if self._stopped.wait(max(0.0, start + (first + images) * period - time.monotonic())):
                return
            saturated = saturated_share(counts, applied.saturation_value)
            yield Block(counts, first, period, time.monotonic(), lost, True, saturated)
            first += images

    def _chance_loss(self, images: int, random: np.random.Generator) -> int:
        expected = self._loss / (1 - self._loss) * images
        burst = max(MEAN_LOSS, round(expected))
        return int(random.integers(1, 2 * burst)) if random.uniform() < expected / burst else 0

    def _prepared(self, applied: Settings, period: float) -> Callable[[int], NDArray[Any]]:
        """A function of the first index that gives a block: drawn on demand, or before the start and repeated."""
        images = _block_images(period)
        draw = self._drawer(applied, period, images)
        draw(0)  # tables and compiled code
        began = time.monotonic()
        ring = [draw(images)]
        if time.monotonic() - began < images * period / 2:
            self._drawn, self._distinct = "each drawn when it is due", 0
            return draw
        most = min(RING_IMAGES // images, RING_BYTES // ring[0].nbytes)
        while len(ring) < most and time.monotonic() - began < RING_TIME:
            ring.append(draw(images * (len(ring) + 1)))
        self._distinct = len(ring) * images
        self._drawn = f"{self._distinct} images, drawn before the start and repeated"
        return lambda first: ring[first // images % len(ring)].copy()

    def _drawer(self, applied: Settings, period: float, images: int) -> Callable[[int], NDArray[Any]]:
        sensor = replace(self._sensor, counter_bits=applied.counter_bits)
        generator = torch.Generator().manual_seed(self._seed)
        dtype = smallest_dtype(applied.saturation_value)

        def draw(first: int) -> NDArray[Any]:
            rates = torch.from_numpy(self._rates(np.arange(first, first + images, dtype=np.float64) * period))
            return ForwardModel(sensor, applied.exposure).sample(rates, generator).numpy().astype(dtype)

        return draw


def _block_images(period: float) -> int:
    return int(min(max(round(BLOCK_TIME / period), 1), MOST_IMAGES))
