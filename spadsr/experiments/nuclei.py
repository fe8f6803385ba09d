"""Fluorescence of nuclei: the area they cover, how many are found, and the picture, from a fraction of the light."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt, gaussian_filter, gaussian_laplace

from noise_model.arrays import Floats, Picture
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.evaluation.metrics import block_mean, psnr
from spadsr.experiments.experiment import OURS, Experiment, Measure, Outcome, Panel, Row, Task
from spadsr.experiments.matching import together
from spadsr.experiments.micrographs import DATA, Labels, Micrograph, drawn_micrographs, read_micrographs
from spadsr.experiments.moving import FRAME, answers
from spadsr.experiments.table import who_won

WHITE, SCALE = 0.2, 4  # detections a frame
DICE = Measure("Dice", tie=0.02)
F1 = Measure("F1", tie=0.03)
APART = Measure("F1 of outlines", tie=0.03)
PSNR = Measure("PSNR", "dB", tie=0.2, digits=1)

_MOST, _EVERY = 16, 3  # micrographs used; of so many, one is for tuning
_THRESHOLDS = (0.6, 0.8, 1.0, 1.2)  # over Otsu's, of the root of the light
_LEAST_AREA = 20  # pixels of a nucleus
_BLOBS, _HEIGHTS = (3.0, 5.0), (0.02, 0.05, 0.1, 0.15, 0.2)  # pixels; least answer of the filter


def covered(picture: Picture, factor: float) -> NDArray[np.bool_]:
    """Pixels above a factor times Otsu's threshold, of the root of the light, a little smoothed."""
    from skimage.filters import threshold_otsu

    root = np.sqrt(np.maximum(gaussian_filter(picture, 1.0), 0))
    return np.asarray(root > factor * threshold_otsu(root))  # type: ignore[no-untyped-call]


def outlines(area: NDArray[np.bool_]) -> Labels:
    """An area cut into nuclei (watershed of the distance to its edge): 0 is none."""
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    filled = binary_fill_holes(area)
    depth = distance_transform_edt(filled)
    tops = peak_local_max(gaussian_filter(depth, 2), min_distance=9, labels=filled.astype(int), exclude_border=False)  # type: ignore[no-untyped-call]
    seeds = np.zeros(area.shape, np.int32)
    seeds[tuple(tops.T)] = np.arange(1, len(tops) + 1)
    found = watershed(-depth, seeds, mask=filled)  # type: ignore[no-untyped-call]
    return np.where(np.bincount(found.ravel())[found] < _LEAST_AREA, 0, found).astype(np.int32)


def blobs(picture: Picture, size: float) -> tuple[NDArray[np.intp], Floats]:
    """Places (n, 2) where a matched filter for discs answers most, and its answers (n,), of the root of the light."""
    from skimage.feature import peak_local_max

    answer = -gaussian_laplace(np.sqrt(np.maximum(picture, 0)), size).astype(np.float64) * size**2
    places = peak_local_max(answer, min_distance=6, threshold_abs=min(_HEIGHTS), exclude_border=False)  # type: ignore[no-untyped-call]
    return places, answer[tuple(places.T)]


def run(task: Task) -> Outcome:
    """Measures on annotated micrographs, or on drawn ones."""
    pictures = drawn_micrographs(task.seed) if task.data is None else list(read_micrographs(task.data))
    if task.data is not None and len(pictures) < 2:
        raise DATA.refused(task.data, "one micrograph: another is needed to tune thresholds on")
    pictures = [pictures[at] for at in np.unique(np.linspace(0, len(pictures) - 1, _MOST).astype(int))]
    tuned = [at for at in range(len(pictures)) if at % _EVERY == 0]
    judged = [at for at in range(len(pictures)) if at % _EVERY]
    draws, rows, shown = torch.Generator().manual_seed(task.seed), list[Row](), dict[str, dict[str, Panel]]()
    at = sorted(judged, key=lambda each: len(np.unique(pictures[each].labels)))[len(judged) // 2]
    for done, frames in enumerate(task.frames):
        found = _restored(task, pictures, frames, draws)
        for method, answer in found.items():
            rows.append(Row(frames, method, _figures(pictures, answer, tuned, judged)))
            shown[f"N = {frames}"] = {name: Panel(answer[at]) for name, answer in found.items()}
        shown[f"N = {frames}"]["truth"] = Panel(pictures[at].light)
        task.progress(done + 1, len(task.frames))
    said = [*(who_won(rows, measure) for measure in (DICE, F1, APART, PSNR)), *_light(rows)]
    nuclei = sum(len(np.unique(each.labels)) - 1 for each in (pictures[at] for at in judged))
    return Outcome(rows, shown, said, {"tuned_on": len(tuned), "judged_on": len(judged), "nuclei_judged": nuclei})


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
    apart = together([pictures[at].apart(outlines(covered(answer[at], factor))) for at in judged]).f1
    return {DICE: dice(judged, factor), F1: f1(judged, size, height), APART: apart, PSNR: quality}


def _light(rows: Sequence[Row]) -> list[str]:
    """From how much more light the best other method finds the same areas, in words; nothing where it never does."""
    ours = {row.frames: row.values[DICE] for row in rows if row.method == OURS}
    others: dict[int, float] = {}
    for row in rows:
        if row.method != OURS:
            others[row.frames] = max(others.get(row.frames, 0.0), row.values[DICE])
    for few, many in ((few, many) for few in sorted(ours) for many in sorted(others, reverse=True) if many > few):
        if ours[few] >= others[many] - DICE.tie:
            return [f"areas of N = {few} as good as any other method's of N = {many}"]
    return []


NUCLEI = Experiment(
    "nuclei",
    "fluorescence of nuclei: areas (Dice), nuclei found (F1) and pictures (PSNR), from how little light",
    "ellipses of uneven brightness, some of which touch",
    DATA,
    (1, 4, 16),
    40,
    run,
)
