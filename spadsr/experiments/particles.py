"""Beads in water: how many are found, where, and for how long their tracks are kept, restored and as counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.ndimage import gaussian_filter, uniform_filter

from noise_model.arrays import Floats, Picture
from noise_model.errors import InputError
from noise_model.image_files import decoded
from noise_model.sensor import Sensor
from spadsr.experiments.experiment import OURS, Data, Experiment, Measure, Outcome, Panel, Row, Task
from spadsr.experiments.matching import Matches, matched, together
from spadsr.experiments.moving import FRAME, Camera, Scene, seen
from spadsr.experiments.table import who_won

WHITE, SCALE = 0.3, 4  # detections a frame of the brightest beads
FILMED = 4  # hardware frames while one frame of the film is shown
STEP = 0.55  # pixels of a film's frame that a bead of 1 um moves along an axis from one to the next, at 24 a second
PIXEL = 1 / 2.85  # um, of the film
SHAPE = (128, 256)  # pixels of the film that are used
ALONG, CLEAN = f"{OURS}, along the motion", "without noise"

F1 = Measure("F1", tie=0.02)
PLACE = Measure("place rms", "um", tie=0.03, more=False)
TRACKS = Measure("tracks kept", "%", tie=3, digits=0)
COUNT = Measure("count error", "%", digits=0)

DATA = Data(
    what="the folder sample_data/bulk_water, frame000.png to frame299.png",
    source="https://github.com/soft-matter/trackpy-examples",
    size="300 frames",
    sha256="none: files of commit 09fb307",
    licence="BSD-3-Clause",
)
#: Frames of that film that were training pictures.
TRAINED_ON = {18, 70, 74, 93, 102, 104, 199, 207, 231, 239, 244, 256, 264, 279, 299}

_BEADS, _SIGMA, _DARK = 57, 1.8, 0.03  # drawn; pixels; light of the water
_DIAMETER, _APART = 9, 6  # pixels, of a bead; between beads
_REACH, _FURTHEST = 1.5, 2.0  # micrometres: of a detection from its bead; of a bead from one window to the next
_LEAST = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.18, 0.25, 0.35)  # of the brightest answer, what counts as a bead
_TRUE = 0.05  # the same, without noise
_WINDOWS, _EVERY = 12, 4  # sums looked at; frames of the film from one to the next
_MOST_FRAMES = 900  # hardware frames, of those that a film of 300 frames has


@dataclass(frozen=True)
class Film:
    """Pictures (n, H, W) over white, and the places (n, beads, 2) of beads where they are known, in pixels."""

    pictures: Picture
    places: Floats | None = None

    def at(self, time: float) -> Picture:
        """The picture that is shown at a time, in hardware frames."""
        return np.asarray(self.pictures[int(np.clip(time / FILMED, 0, len(self.pictures) - 1))])


def drawn_film(seed: int, length: int) -> Film:
    """Bright beads that move by chance."""
    rng = np.random.default_rng(seed)
    start, steps = rng.uniform(0, SHAPE, (_BEADS, 2)), rng.normal(0, STEP, (length, _BEADS, 2))
    places = (start + np.cumsum(steps, axis=0)) % np.array(SHAPE)
    brightness = rng.uniform(0.4, 1.0, _BEADS)
    rows, columns = (np.arange(side)[:, None] for side in SHAPE)
    pictures = []
    for frame in places:
        down, across = (
            np.exp(-((axis - frame[:, at]) ** 2) / 2 / _SIGMA**2) for at, axis in enumerate((rows, columns))
        )
        pictures.append(_DARK + (down * brightness) @ across.T)
    return Film(np.asarray(pictures, np.float32), places)


def read_film(path: Path, length: int) -> Film:
    """The first frames of a film of dark beads in bright water, shown as bright ones; none that was trained on.

    Raises:
        InputError: they are not there.
    """
    files = sorted(path.glob("frame*.png")) if path.is_dir() else []
    files = [file for file in files if not file.stem[5:].isdigit() or int(file.stem[5:]) not in TRAINED_ON][:length]
    if len(files) < length:
        raise DATA.refused(path, f"{len(files)} frames, of which {length} are needed")
    pictures = []
    for file in files:
        levels = decoded(file.read_bytes(), cv2.IMREAD_GRAYSCALE)
        if levels is None or levels.shape[0] < SHAPE[0] or levels.shape[1] < SHAPE[1]:
            raise DATA.refused(file, "no picture of 128 x 256 pixels or more")
        rows, columns = (
            slice((whole - side) // 2, (whole + side) // 2) for whole, side in zip(levels.shape, SHAPE, strict=True)
        )
        pictures.append(levels[rows, columns].astype(np.float32))
    film = np.stack(pictures)
    darker = np.maximum(np.median(film, axis=0) - film, 0)
    return Film(np.asarray(_DARK + (1 - _DARK) * darker / max(1.0, np.percentile(darker, 99.9)), np.float32))


def located(picture: Picture) -> tuple[Floats, Floats]:
    """Places (n, 2) of blobs in pixels, and how strongly the filter answers (n,), by Crocker and Grier's method.

    Noise and ground are filtered out, and the centres of mass taken about the maxima: J. Colloid Interface Sci. 179
    (1996) 298.
    """
    from skimage.feature import peak_local_max

    filtered = np.maximum(gaussian_filter(picture, 1.0) - uniform_filter(picture, _DIAMETER + 2), 0)
    peaks = peak_local_max(filtered, min_distance=_APART // 2, exclude_border=_DIAMETER // 2)  # type: ignore[no-untyped-call]
    half = _DIAMETER // 2
    off = np.mgrid[-half : half + 1, -half : half + 1]
    disc = np.hypot(*off) <= half
    places = []
    for row, column in peaks.tolist():
        mass = filtered[row - half : row + half + 1, column - half : column + half + 1] * disc
        places.append((row + (mass * off[0]).sum() / mass.sum(), column + (mass * off[1]).sum() / mass.sum()))
    return np.array(places, np.float64).reshape(-1, 2), filtered[tuple(peaks.T)].astype(np.float64)


def run(task: Task) -> Outcome:
    """Looks for beads in sums of more and of fewer frames.

    Raises:
        InputError: data that are none, or sums longer than the film.
    """
    if max(task.frames) > _MOST_FRAMES:
        raise InputError(f"{max(task.frames)} frames: the film is short; expected {_MOST_FRAMES} at most", "frames")
    length = _WINDOWS * _EVERY + -(-max(task.frames) // FILMED)
    bench = _Bench(task, drawn_film(task.seed, length) if task.data is None else read_film(task.data, length))
    rows = [row for frames in task.frames for row in bench.rows(frames)]
    noisy = [row for row in rows if row.method != CLEAN]
    plain, ours = ({row.frames: row.values[F1] for row in rows if row.method == name} for name in ("bicubic", OURS))
    change = [100 * (ours[frames] - plain[frames]) for frames in task.frames]
    brought = f"restoring changes F1 by {min(change):+.0f} to {max(change):+.0f} % against plain counts"
    said = [brought, *(who_won(noisy, measure) for measure in (F1, PLACE, TRACKS))]
    facts = {"windows": _WINDOWS, "beads": float(np.mean([len(each) for each in bench.truth])), "white": WHITE}
    return Outcome(rows, bench.pictures, said, facts)


class _Bench:
    """The film, the array, its random numbers, and the pictures kept."""

    def __init__(self, task: Task, film: Film) -> None:
        self.task, self.film = task, film
        sensor = Sensor.load("spad512").uniform((SHAPE[0] // SCALE, SHAPE[1] // SCALE))
        draws, methods = torch.Generator().manual_seed(task.seed), task.methods(slow=False)
        self.camera = Camera(sensor, WHITE, SCALE, draws, methods, task.restorer, "local", ALONG)
        first = -(-max(task.frames) // FILMED) / 2
        self.times = [(first + each * _EVERY) * FILMED for each in range(_WINDOWS)]  # of the centres, hardware frames
        self.truth = [self._places(time) for time in self.times]
        self.tuned, self.judged = range(_WINDOWS // 2), range(_WINDOWS // 2, _WINDOWS)
        self.pictures: dict[str, dict[str, Panel]] = {}
        self._done = 0

    def rows(self, frames: int) -> list[Row]:
        """The figures of all methods in sums of so many frames."""
        found: dict[str, list[Picture]] = {}
        for centre in self.times:
            scene = self._scene(centre)
            found.setdefault(CLEAN, []).append(seen(scene, frames, FRAME))
            for name, picture in self.camera.pictures(scene, frames).items():
                found.setdefault(name, []).append(picture)
            self._done += 1
            self.task.progress(self._done, len(self.task.frames) * _WINDOWS)
        rows = [Row(frames, name, self._figures(name, pictures)) for name, pictures in found.items()]
        at = self.judged[0]
        truth = Panel(self.film.at(self.times[at]), 0, 0.8, self.truth[at] / PIXEL)
        shown = {name: Panel(pictures[at], 0, 0.8) for name, pictures in found.items() if name != CLEAN}
        self.pictures[f"N = {frames:,}"] = {"the instant": truth, **shown}
        return rows

    def _scene(self, centre: float) -> Scene:
        """The film beside a time, in hardware frames."""
        return lambda time: self.film.at(centre + time / FRAME)

    def _places(self, time: float) -> Floats:
        """True places (n, 2) of beads at a time, um, away from the edges."""
        if self.film.places is None:
            return self._beads(located(self.film.at(time)), _TRUE)
        places = self.film.places[int(time / FILMED)]
        inside = np.all((places >= _DIAMETER // 2) & (places < np.array(SHAPE) - _DIAMETER // 2), axis=1)
        return np.asarray(places[inside] * PIXEL)

    @staticmethod
    def _beads(found: tuple[Floats, Floats], least: float) -> Floats:
        """The places (n, 2), um, of those that answer by more than a share of the strongest."""
        places, answer = found
        return np.asarray(places[answer > least * answer.max(initial=0.0)] * PIXEL)

    def _figures(self, name: str, pictures: Sequence[Picture]) -> Mapping[Measure, float]:
        """The figures in the later sums, with what finds most beads in the earlier ones."""
        found = [located(picture) for picture in pictures]

        def matches(some: Sequence[int], least: float) -> Matches:
            return together([matched(self._beads(found[at], least), self.truth[at], _REACH) for at in some])

        least = max(_LEAST, key=lambda each: matches(self.tuned, each).f1)
        judged = matches(self.judged, least)
        kept = self._kept([self._beads(found[at], least) for at in self.judged])
        values = {F1: judged.f1, PLACE: judged.rms, TRACKS: 100 * kept, COUNT: 100 * judged.count_error}
        return {measure: value for measure, value in values.items() if np.isfinite(value)}

    def _kept(self, found: Sequence[Floats]) -> float:
        """Share of the true links between one sum and the next that detections have as well."""
        kept = links = 0
        truth = [self.truth[at] for at in self.judged]
        for one in range(len(found) - 1):
            two = one + 1
            there = matched(truth[one], truth[two], _FURTHEST).pairs.tolist()
            linked = {tuple(pair) for pair in matched(found[one], found[two], _FURTHEST).pairs.tolist()}
            of_bead = [
                {bead: detection for detection, bead in matched(found[at], truth[at], _REACH).pairs.tolist()}
                for at in (one, two)
            ]
            links += len(there)
            kept += sum((of_bead[0].get(bead, -1), of_bead[1].get(next_, -1)) in linked for bead, next_ in there)
        return kept / max(1, links)


PARTICLES = Experiment(
    name="particles",
    shows="beads in water: how many are found, where, and for how long their tracks are kept",
    drawn="57 fluorescent beads in Brownian motion",
    data=DATA,
    frames=(4, 16, 64, 256),
    seconds=40,
    run=run,
)
