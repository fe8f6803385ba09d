"""Fluorescence of nuclei: the area they cover, how many are found, and the picture, from a fraction of the light."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_laplace

from noise_model.arrays import Floats, Picture
from noise_model.forward_model import ForwardModel
from noise_model.image_files import decoded
from noise_model.sensor import Exposure, Sensor
from spadsr.evaluation.metrics import block_mean, psnr
from spadsr.experiments.experiment import OURS, Data, Experiment, Measure, Outcome, Panel, Row, Task
from spadsr.experiments.matching import Matches, together
from spadsr.experiments.moving import answers
from spadsr.experiments.table import who_won

FRAME, WHITE, SCALE = 10.2e-6, 0.2, 4  # s; detections a frame
DICE = Measure("Dice", tie=0.02)
F1 = Measure("F1", tie=0.03)
PSNR = Measure("PSNR", "dB", tie=0.2, digits=1)

_LARGEST, _HALVED = (384, 512), 2  # pixels in the middle of a micrograph that are taken, and together as one
_MOST, _EVERY = 16, 3  # micrographs used; of so many, one is for tuning
_THRESHOLDS = (0.6, 0.8, 1.0, 1.2)  # over Otsu's, of the root of the light
_BLOBS, _HEIGHTS = (3.0, 5.0), (0.02, 0.05, 0.1, 0.15, 0.2)  # pixels; least answer of the filter

Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Micrograph:
    """A picture of nuclei (H, W) over white, and which pixel belongs to which: 0 to none."""

    light: Picture
    labels: Labels

    def dice(self, covered: NDArray[np.bool_]) -> float:
        """Overlap of an area with that of the nuclei: 1 where they are the same, 0 where they are apart."""
        nuclei = self.labels > 0
        return float(2 * np.sum(covered & nuclei) / max(1, int(np.sum(covered)) + int(np.sum(nuclei))))

    def found(self, places: NDArray[np.intp]) -> Matches:
        """Which nuclei have one of some places (n, 2) in them: each counts once."""
        hit = self.labels[tuple(places.T)]
        found = len(set(hit[hit > 0].tolist()))
        number = len(np.unique(self.labels[self.labels > 0]))
        return Matches(found, len(places) - found, number - found, np.empty(0), np.empty((0, 2), np.int64))


def covered(picture: Picture, factor: float) -> NDArray[np.bool_]:
    """Pixels above a factor times Otsu's threshold, of the root of the light, a little smoothed."""
    from skimage.filters import threshold_otsu

    root = np.sqrt(np.maximum(gaussian_filter(picture, 1.0), 0))
    return np.asarray(root > factor * threshold_otsu(root))  # type: ignore[no-untyped-call]


def blobs(picture: Picture, size: float) -> tuple[NDArray[np.intp], Floats]:
    """Places (n, 2) where a matched filter for discs answers most, and its answers (n,), of the root of the light."""
    from skimage.feature import peak_local_max

    answer = -gaussian_laplace(np.sqrt(np.maximum(picture, 0)), size).astype(np.float64) * size**2
    places = peak_local_max(answer, min_distance=6, threshold_abs=min(_HEIGHTS), exclude_border=False)  # type: ignore[no-untyped-call]
    return places, answer[tuple(places.T)]


def run(task: Task) -> Outcome:
    """Measures on annotated micrographs, or on drawn ones."""
    pictures = _drawn(task.seed) if task.data is None else list(_read(task.data))
    if len(pictures) < 2:
        raise DATA.refused(Path(task.data or ""), "one micrograph: another is needed to tune thresholds on")
    pictures = [pictures[at] for at in np.unique(np.linspace(0, len(pictures) - 1, _MOST).astype(int))]
    tuned = [at for at in range(len(pictures)) if at % _EVERY == 0]
    judged = [at for at in range(len(pictures)) if at % _EVERY]
    draws, rows, shown = torch.Generator().manual_seed(task.seed), list[Row](), dict[str, dict[str, Panel]]()
    at = max(judged, key=lambda each: len(np.unique(pictures[each].labels)))
    for done, frames in enumerate(task.frames):
        found = _restored(task, pictures, frames, draws)
        for method, answer in found.items():
            rows.append(Row(frames, method, _figures(pictures, answer, tuned, judged)))
            shown[f"N = {frames}"] = {name: Panel(answer[at]) for name, answer in found.items()}
        shown[f"N = {frames}"]["truth"] = Panel(pictures[at].light)
        task.progress(done + 1, len(task.frames))
    sentence = "; ".join([*(who_won(rows, measure) for measure in (DICE, F1, PSNR)), *_light(rows)])
    nuclei = sum(len(np.unique(each.labels)) - 1 for each in (pictures[at] for at in judged))
    return Outcome(rows, shown, sentence, {"tuned_on": len(tuned), "judged_on": len(judged), "nuclei_judged": nuclei})


def _restored(
    task: Task, pictures: Sequence[Micrograph], frames: int, draws: torch.Generator
) -> dict[str, list[Picture]]:
    found: dict[str, list[Picture]] = {}
    for picture in pictures:
        native = block_mean(picture.light, SCALE)
        model = ForwardModel(Sensor.load("spad512").uniform(native.shape), Exposure(FRAME, frames))
        counts = model.sample(torch.from_numpy(native * np.float32(WHITE / FRAME)), draws).numpy()
        for method, [answer] in answers(task.methods(), [counts], model, SCALE, WHITE).items():
            found.setdefault(method, []).append(answer)
    return found


def _figures(
    pictures: Sequence[Micrograph], answer: Sequence[Picture], tuned: Sequence[int], judged: Sequence[int]
) -> dict[Measure, float]:
    """The figures of a method, its thresholds those that are best on other pictures."""

    def dice(some: Sequence[int], factor: float) -> float:
        return float(np.mean([pictures[at].dice(covered(answer[at], factor)) for at in some]))

    factor = max(_THRESHOLDS, key=lambda each: dice(tuned, each))
    places = {(at, size): blobs(answer[at], size) for at, size in product(range(len(pictures)), _BLOBS)}

    def f1(some: Sequence[int], size: float, height: float) -> float:
        parts = [pictures[at].found(where[high > height]) for at in some for where, high in [places[at, size]]]
        return together(parts).f1

    size, height = max(product(_BLOBS, _HEIGHTS), key=lambda each: f1(tuned, *each))
    quality = float(np.mean([psnr(answer[at], pictures[at].light) for at in judged]))
    return {DICE: dice(judged, factor), F1: f1(judged, size, height), PSNR: quality}


def _light(rows: Sequence[Row]) -> list[str]:
    """From how much more light the best other method finds the same areas, as part of a sentence."""
    ours = {row.frames: row.values[DICE] for row in rows if row.method == OURS}
    others: dict[int, float] = {}
    for row in rows:
        if row.method != OURS:
            others[row.frames] = max(others.get(row.frames, 0.0), row.values[DICE])
    for few, many in ((few, many) for few in sorted(ours) for many in sorted(others, reverse=True) if many > few):
        if ours[few] >= others[many] - DICE.tie:
            return [f"areas of N = {few} as good as any other method's of N = {many}"]
    return []


def _read(folder: Path) -> Iterator[Micrograph]:
    """The micrographs of a folder that have an annotation."""
    images = [path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")] if folder.is_dir() else []
    pairs = [(path, beside) for path in sorted(images, key=_in_order) if (beside := _annotation(path)) is not None]
    if not pairs:
        raise DATA.refused(folder, f"{len(images)} JPEG pictures in it, none of them with an annotation")
    for path, beside in pairs:
        light, labels = _light_of(path), _labels(beside)
        if labels.size != light.size or min(light.shape) < 128:
            raise DATA.refused(
                beside, f"{labels.size} labels for {light.shape[0]} x {light.shape[1]} pixels of {path.name}"
            )
        middle = tuple(_middle(side, most) for side, most in zip(light.shape, _LARGEST, strict=True))
        light, labels = light[middle], labels.reshape(light.shape)[middle]
        bright = block_mean(light / np.float32(max(float(np.percentile(light, 99.5)), 1.0)), _HALVED)
        yield Micrograph(bright.clip(0, 1.5), labels[1::_HALVED, 1::_HALVED])


def _light_of(path: Path) -> Picture:
    """The brightest colour of every pixel: the dye has one, and weighed as eyes do hardly a grey level is left."""
    import cv2

    levels = decoded(path.read_bytes(), cv2.IMREAD_UNCHANGED)
    if levels is None:
        raise DATA.refused(path, "not a readable picture")
    return np.asarray(levels if levels.ndim == 2 else levels.max(axis=2), np.float32)


def _in_order(path: Path) -> tuple[int, str]:
    return len(path.stem), path.stem


def _middle(side: int, most: int) -> slice:
    """The middle of a side, a whole number of native pixels long."""
    length = min(side, most) // (8 * _HALVED * SCALE) * (8 * _HALVED * SCALE)
    return slice((side - length) // 2, (side + length) // 2)


def _annotation(path: Path) -> Path | None:
    """The file beside a picture, or in the published layout, that says which pixel belongs to which nucleus."""
    places = path.with_name(f"{path.stem}_labels.png"), path.parent.parent / "annotations" / path.stem
    return next((place for place in places if place.is_file()), None)


def _labels(path: Path) -> Labels:
    """Labels of all pixels, row by row."""
    if path.suffix == ".png":
        import cv2

        read = decoded(path.read_bytes(), cv2.IMREAD_UNCHANGED)
        if read is None or read.ndim != 2:
            raise DATA.refused(path, "no grey image of labels")
        return read.astype(np.int32).ravel()
    try:
        return np.array(path.read_text().split(), dtype=np.int32)
    except (ValueError, OverflowError) as error:
        raise DATA.refused(path, "no text of whole numbers") from error


def _drawn(seed: int, number: int = 6, shape: tuple[int, int] = (128, 192)) -> list[Micrograph]:
    """Ellipses of uneven brightness on a faint ground; some of them touch."""
    rng, rows, columns = np.random.default_rng(seed), *np.indices(shape)
    found = []
    for _ in range(number):
        light, labels = np.full(shape, 0.04), np.zeros(shape, np.int32)
        for label in range(1, 15):
            row, column = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
            turn, long = rng.uniform(0, np.pi), rng.uniform(9, 15)
            along = (rows - row) * np.cos(turn) + (columns - column) * np.sin(turn)
            across = (columns - column) * np.cos(turn) - (rows - row) * np.sin(turn)
            inside = np.hypot(along / long, across / long / rng.uniform(0.6, 0.95)) < 1
            texture = gaussian_filter(rng.normal(size=shape), 3)
            light = np.where(inside, rng.uniform(0.35, 1.0) * (1 + 0.15 * texture / texture.std()), light)
            labels[inside] = label
        found.append(Micrograph(gaussian_filter(light, 1.0).clip(0, 1.5).astype(np.float32), labels))
    return found


DATA = Data(
    "a folder of micrographs and annotations: images/1.jpg with annotations/1, or 1.jpg with 1_labels.png, and so on",
    "github.com/canfkoyuncu/fluorescence_dataset, folder dataset, commit 81cec1a",
    "37 pictures, about 100 MB",
    "that of one picture measured here is 48a90ffa087258478ab1a0c5b387cdedd77f66f77f8e1788abe354b5bcd937b1",
    "publicly available; cite Koyuncu et al., Cytometry A 89A (2016) 338",
)

NUCLEI = Experiment(
    "nuclei",
    "fluorescence of nuclei: areas (Dice), nuclei found (F1) and pictures (PSNR), from how little light",
    "ellipses of uneven brightness, some of which touch",
    DATA,
    (1, 4, 16),
    40,
    run,
)
