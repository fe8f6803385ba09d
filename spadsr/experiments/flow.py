"""Blood cells in a channel: how many are found, where, and how large, between blur and noise."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import h5py
import numpy as np
import torch
from scipy.ndimage import gaussian_filter, shift

from noise_model.arrays import Floats, Picture
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.evaluation.metrics import psnr
from spadsr.experiments.experiment import OURS, Data, Experiment, Measure, Outcome, Panel, Row, Task
from spadsr.experiments.matching import Matches, matched, together
from spadsr.experiments.moving import FRAME, Camera, answers, counted
from spadsr.experiments.table import who_won

WHITE, SCALE = 0.7, 4  # detections a frame
SPEED = 20e-3  # of the cells, m/s
ALONG = f"{OURS}, along the motion"

F1 = Measure("F1", tie=0.03)
PLACE = Measure("place rms", "um", tie=0.05, more=False)
AREA = Measure("area bias", "%", digits=0)
PSNR = Measure("PSNR", "dB", tie=0.2, digits=1)

DATA = Data(
    what="an RT-DC recording (.rtdc, HDF5), or a zip or folder with one, such as fmt-hdf5_image-mask-blood_2021.zip",
    source="https://github.com/DC-analysis/dclab, tests/data/, commit 0e7aede",
    size="248 kB",
    sha256="54c9bc8efb05a0d09873514c21856fba845aedf6489230b4a258d3e5166de8b4",
    licence="GPL-2 or later",
)

_MOST_EVENTS, _LARGEST, _MOST_BYTES = 18, 1024, 1 << 28  # images used; pixels along a side; of a file in a zip
_PADDED = 64  # sides are made multiples of it
_WALL, _SIDE = 12, 8  # pixels at the walls and the ends of the channel in which nothing is looked for
_LEAST, _REACH = 10.0, 3.0  # square micrometres of a cell; micrometres between a detection and its cell
_THRESHOLDS, _SMOOTHED = (0.1, 0.15, 0.22, 0.32), (0.0, 3.0, 6.0)  # share of the light lost; pixels
_TRUE = (0.15, 1.0)  # the same, without noise
_EMPTY = 16384  # frames of the empty channel
_REPEATS = 3  # draws of each measured event


@dataclass(frozen=True)
class Channel:
    """A channel, and what cells do to its light.

    Attributes:
        ground: (H, W) light of the empty channel over white.
        events: (n, H, W) light over that of the empty channel, as cells pass.
        pixel: side of a pixel, um.
        inner: rows that were not added at the edges.
    """

    ground: Picture
    events: Picture
    pixel: float
    inner: slice

    @classmethod
    def of(cls, images: Picture, pixel: float) -> "Channel":
        """From images (n, H, W) of cells that pass a straight channel along their rows."""
        empty = np.median(np.median(images, axis=0), axis=1)[:, None].repeat(images.shape[2], axis=1)
        passing = np.clip(images / np.maximum(empty, 1), 0, 1.5)
        spare = [-side % _PADDED for side in empty.shape]
        edges = [(each // 2, each - each // 2) for each in spare]
        ground = np.pad(empty / np.percentile(empty, 99), edges, "edge").astype(np.float32)
        events = np.pad(passing, [(0, 0), *edges], "edge").astype(np.float32)
        return cls(ground, events, pixel, slice(edges[0][0], edges[0][0] + images.shape[1]))

    def seen(self, event: int, time: float) -> Picture:
        """The light (H, W) over white at a time, s, beside that of an event."""
        moved = shift(self.events[event], (0, time * SPEED * 1e6 / self.pixel), order=1, mode="nearest")
        return np.asarray(moved * self.ground)

    def cells(self, passing: Picture, threshold: float, smoothed: float) -> Floats:
        """Row, column (um) and area (um^2) of each cell (n, 3): where more light is lost than a threshold."""
        from skimage.measure import label, regionprops

        lost = 1 - passing[self.inner]
        dark = (gaussian_filter(lost, smoothed) if smoothed else lost) > threshold
        dark[:_WALL] = dark[-_WALL:] = False
        found = []
        for region in regionprops(label(dark)):  # type: ignore[no-untyped-call]
            area, (_, left, _, right) = region.area * self.pixel**2, region.bbox
            if area < _LEAST or left <= _SIDE or right >= dark.shape[1] - _SIDE:
                continue
            row, column = region.centroid
            found.append(
                ((row + self.inner.start) * self.pixel, column * self.pixel, region.area_convex * self.pixel**2)
            )
        return np.array(found, np.float64).reshape(-1, 3)


def drawn_channel(seed: int, events: int = _MOST_EVENTS, shape: tuple[int, int] = (80, 250)) -> Channel:
    """Red and white cells, 0.34 um a pixel, as dark as in bright field, in a channel of 20 um."""
    rng, pixel = np.random.default_rng(seed), 0.34
    rows, columns = np.mgrid[: shape[0], : shape[1]] * pixel
    middle = shape[0] * pixel / 2
    ground = 100 - 45 * np.exp(-(((np.abs(rows - middle) - 10.5) / 1.2) ** 2))
    images = []
    for _ in range(events):
        image = ground.copy()
        for place in np.arange(14.0, shape[1] * pixel - 10, 24.0) + rng.uniform(-5, 5):
            if rng.random() < 0.25:
                continue
            white, row = rng.random() < 0.3, middle + rng.normal(0, 1.2)
            long, wide = (4.2, 4.0) if white else (rng.uniform(5, 7.5), rng.uniform(2.0, 2.8))
            along, across = (columns - place - rng.uniform(-3, 3)) / long, (rows - row) / wide
            apart = np.hypot(along, across * (1 + 0.25 * np.clip(along, -1, 1)))
            texture = gaussian_filter(rng.normal(size=shape), 2) * 1.2
            image *= 1 - (0.45 + texture) / (1 + np.exp((apart - 1) * 16))
            image *= 1 + 0.12 * np.exp(-(((apart - 1.18) / 0.1) ** 2))
        images.append(image)
    return Channel.of(np.asarray(images, np.float32), pixel)


def read_channel(path: Path) -> Channel:
    """The channel of an RT-DC recording, its first events.

    Raises:
        InputError: the file is none.
    """
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.suffix in {".rtdc", ".zip"}]
        if not files:
            raise DATA.refused(path, "no .rtdc or .zip file in it")
        path = files[0]
    try:
        source = _unzipped(path) if zipfile.is_zipfile(path) else path
        with h5py.File(source) as file:
            stored = file["events/image"]
            if stored.ndim != 3 or max(stored.shape[1:]) > _LARGEST or min(stored.shape[1:]) < _PADDED:
                raise ValueError(f"images of shape {stored.shape}")
            images = stored[:_MOST_EVENTS].astype(np.float32)
            pixel = float(file.attrs["imaging:pixel size"])
    except (OSError, KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, RuntimeError) as error:
        raise DATA.refused(path, f"not such a file ({error})") from error
    if len(images) < 4 or not 0 < pixel < 100:
        raise DATA.refused(path, f"{len(images)} images of {pixel} um a pixel, of which 4 are needed")
    if not np.isfinite(images).all() or images.min() < 0 or np.median(images) <= 0:
        raise DATA.refused(path, "images that are black, or not finite")
    return Channel.of(images, pixel)


def run(task: Task) -> Outcome:
    """Counts cells as they pass, in sums of more and of fewer frames, and along their motion."""
    bench = _Bench(task, drawn_channel(task.seed) if task.data is None else read_channel(task.data))
    rows = [row for frames in task.frames for row in bench.rows(frames)]
    still = [row for row in rows if row.method != ALONG]
    said = [*(who_won(still, each) for each in (F1, PLACE, PSNR)), *_along(rows, still)]
    facts = {"cells_judged": sum(len(bench.truth[at]) for at in bench.judged), "speed_m_per_s": SPEED, "white": WHITE}
    return Outcome(rows, bench.pictures, said, facts)


def _along(rows: Sequence[Row], still: Sequence[Row]) -> list[str]:
    """Whether what is followed along its motion is better than the best of all sums, in words."""
    said = []
    for measure in (F1, PLACE):
        sign = 1 if measure.more else -1
        taken = [[row for row in some if np.isfinite(row.values.get(measure, np.nan))] for some in (rows, still)]
        moved, best = (
            max(some, key=lambda row: sign * row.values[measure], default=None)
            for some in ([row for row in taken[0] if row.method == ALONG], taken[1])
        )
        if moved and best:
            verdict = "beats" if sign * (moved.values[measure] - best.values[measure]) > 0 else "does not beat"
            one, two = (f"{row.values[measure]:.2f} at N = {row.frames}" for row in (moved, best))
            said.append(f"{measure.name} along the motion ({one}) {verdict} every sum ({best.method}, {two})")
    return said


class _Bench:
    """The channel, the array, its random numbers, and the pictures kept."""

    def __init__(self, task: Task, channel: Channel) -> None:
        self.task, self.channel = task, channel
        height, width = channel.ground.shape
        sensor = Sensor.load("spad512").uniform((height // SCALE, width // SCALE))
        draws, methods = torch.Generator().manual_seed(task.seed), task.methods(slow=False)
        self.camera = Camera(sensor, WHITE, SCALE, draws, methods, task.restorer, "shift", ALONG)
        truth = [channel.cells(each, *_TRUE) for each in channel.events]
        self.shots = [at for at in range(len(truth)) for _ in range(1 if task.data is None else _REPEATS)]
        self.truth = [truth[at] for at in self.shots]
        self.tuned, self.judged = ([each for each, at in enumerate(self.shots) if at % 2 == odd] for odd in (0, 1))
        self.pictures: dict[str, dict[str, Panel]] = {}
        empty = ForwardModel(sensor, Exposure(FRAME, _EMPTY))
        counts = counted(lambda _: channel.ground, WHITE, empty, SCALE, draws)
        found = answers(methods, list(counts), empty, SCALE, WHITE)
        self.empty = {name: gaussian_filter(np.maximum(each, 1e-3), 1.0) for name, [each] in found.items()}
        self.empty[ALONG] = self.empty[OURS]
        self._done = 0

    def rows(self, frames: int) -> list[Row]:
        """The figures of all methods in sums of so many frames."""
        found: dict[str, list[Picture]] = {}
        for event in self.shots:
            for name, picture in self.camera.pictures(partial(self.channel.seen, event), frames).items():
                found.setdefault(name, []).append(picture)
            self._done += 1
            self.task.progress(self._done, len(self.task.frames) * len(self.shots))
        self._keep(frames, found)
        return [Row(frames, name, self._figures(name, pictures)) for name, pictures in found.items()]

    def _figures(self, name: str, pictures: Sequence[Picture]) -> Mapping[Measure, float]:
        """The figures on every second event, with what finds most cells on the others."""
        passing = [picture / self.empty[name] for picture in pictures]
        best = max(
            product(_THRESHOLDS, _SMOOTHED), key=lambda how: self._order(self._matched(passing, self.tuned, how))
        )
        matches, areas = self._matched(passing, self.judged, best)
        quality = np.mean([psnr(pictures[at], self.channel.seen(self.shots[at], 0.0)) for at in self.judged])
        values = {F1: matches.f1, PLACE: matches.rms, AREA: areas, PSNR: float(quality)}
        return {measure: value for measure, value in values.items() if np.isfinite(value)}

    def _matched(
        self, passing: Sequence[Picture], some: Sequence[int], how: tuple[float, float]
    ) -> tuple[Matches, float]:
        """The matches in some events, and the mean error of areas, %."""
        parts, ratios = [], list[float]()
        for at in some:
            cells, truth = self.channel.cells(passing[at], *how), self.truth[at]
            parts.append(matched(cells[:, :2], truth[:, :2], _REACH))
            ratios += [cells[one, 2] / truth[two, 2] - 1 for one, two in parts[-1].pairs.tolist()]
        return together(parts), 100 * float(np.mean(ratios)) if ratios else float("nan")

    @staticmethod
    def _order(found: tuple[Matches, float]) -> tuple[float, float]:
        matches, _ = found
        return round(matches.f1, 3), -matches.rms if matches.found else -_REACH

    def _keep(self, frames: int, found: Mapping[str, Sequence[Picture]]) -> None:
        """Keeps the pictures of the event in which most cells pass."""
        at = max(self.judged, key=lambda each: len(self.truth[each]))
        truth = self.channel.seen(self.shots[at], 0.0)
        high = float(truth.max())
        places = self.truth[at][:, :2] / self.channel.pixel
        shown = {name: Panel(pictures[at], 0, high) for name, pictures in found.items()}
        self.pictures[f"N = {frames:,}"] = {"the instant": Panel(truth, 0, high, places), **shown}


def _unzipped(path: Path) -> io.BytesIO:
    """The RT-DC file in a zip."""
    with zipfile.ZipFile(path) as packed:
        inside = [each for each in packed.infolist() if each.filename.endswith(".rtdc")]
        if not inside or inside[0].file_size > _MOST_BYTES:
            raise ValueError("no .rtdc file in it" if not inside else "a file too large in it")
        return io.BytesIO(packed.read(inside[0]))


FLOW = Experiment(
    name="flow",
    shows="blood cells in a channel: how many are found, where, and how large, between blur and noise",
    drawn="red and white cells at 20 mm/s",
    data=DATA,
    frames=(4, 8, 16, 32, 96),
    seconds=50,
    run=run,
)
