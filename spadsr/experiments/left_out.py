"""What a recording says itself: some of its frames, restored, predict the frames left out. No truth is needed."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from hardware.captures.capture import Capture, open_capture
from noise_model.arrays import Counts, Floats
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.experiments.experiment import OURS, Experiment, Measure, Outcome, Panel, Row, Task
from spadsr.experiments.splits import DATA, Images, Split, are_averages, coarse, splits_of, splits_of_averages, sum_of
from spadsr.experiments.table import who_won

PSNR = Measure("PSNR", "dB", tie=0.1)
COUNTS, BLUR = "plain counts", "best blur"

_SIGMAS = (0.5, 0.8, 1.2, 1.8, 2.5, 3.5)  # pixels: no one can know which is best, so the opponent may look
_BINNED, _LARGE = 4, 128  # pixels together, of arrays with so many on each side
_MOST_LINES = 3  # of pictures
_MOST_FOR_BM3D = 10_000  # pixels


def predictions(split: Split, task: Task, scale: int) -> Iterator[tuple[str, Floats]]:
    """By method, the mean counts of an image (H, W), from counts of so many pixels together on a side."""
    height, width = split.some.shape
    native = split.some.reshape(height // scale, scale, width // scale, scale).sum(axis=(1, 3))
    sensor = split.one.sensor if scale == 1 else coarse(split.one.sensor, scale)
    taken = sum_of(ForwardModel(sensor, split.one.exposure), split.images * scale * scale)
    for name, restore in task.methods(slow=native.size <= _MOST_FOR_BM3D).items():
        rate = restore(native, taken, scale).rate
        mean = split.one.expected_counts(torch.from_numpy(np.maximum(rate, 0))).double().numpy()
        if name != "bicubic":
            yield name, mean
            continue
        mean = split.some / split.images if scale == 1 else mean
        yield COUNTS if scale == 1 else name, mean
        yield from ((f"{BLUR} {sigma}", gaussian_filter(mean, sigma)) for sigma in _SIGMAS)


def run(task: Task) -> Outcome:
    """Measures on a recording, on averages of one scene that lie within each other, or on a drawn recording."""
    if task.data is None:
        return _measured(task, splits_of(Images(*_drawn(task.seed)), task.frames))
    if are_averages(task.data):
        return _measured(task, splits_of_averages(task.data, task.frames))
    with open_capture(task.data) as capture:
        return left_out(capture, task)


def left_out(capture: Capture, task: Task) -> Outcome:
    """Measures on an opened recording; the task's frames are images summed.

    Raises:
        InputError: it has pixels with frames of their own, or too few images.
    """
    if capture.mapped:
        raise InputError(
            f"{capture.path}: merged counts, whose images have no frames to leave out; expected a recording"
        )
    scenes = capture.summed(1)
    images = Images(scenes, ForwardModel(scenes.sensor, scenes.exposure))
    found = _measured(task, splits_of(images, task.frames))
    return replace(found, notes=[*(f"{scenes.path}: {each}" for each in scenes.assumptions), *found.notes])


def _measured(task: Task, splits: dict[int, list[Split]]) -> Outcome:
    """The figures of every method for every N, at the resolution of the array and, of large ones, from 4x4 pixels."""
    [first, *_] = next(iter(splits.values()))
    shape, judged = first.some.shape, float(first.judged.mean())
    scales = [1] + [_BINNED] * (min(shape) >= _LARGE and not any(side % _BINNED for side in shape))
    all_of_them, done = len(scales) * sum(map(len, splits.values())), 0
    rows, pictures = list[Row](), dict[str, dict[str, Panel]]()
    for scale, images in product(scales, splits):
        errors: defaultdict[str, list[float]] = defaultdict(list)
        for split in splits[images]:
            found = dict(predictions(split, task, scale))
            for name, mean in found.items():
                errors[name].append(split.error(mean))
            done += 1
            task.progress(done, all_of_them)
        white, frames = split.white(), images * first.one.exposure.most_cycles
        condition = f"{scale}x{scale} pixels as one, x{scale}" if scale > 1 else "x1" if len(scales) > 1 else ""
        named = _one_blur({name: float(np.mean(each)) for name, each in errors.items()})
        rows += [
            Row(frames, method, {PSNR: float(-10 * np.log10(error / white**2))}, condition)
            for method, (_, error) in named.items()
        ]
        means = {method: found[name] for method, (name, _) in named.items()}
        means["the frames left out"] = split.others / split.left
        line = f"N = {frames:,}" + (f", x{scale}" if condition else "")
        pictures[line] = {name: Panel(mean.astype(np.float32), 0, white) for name, mean in means.items()}
    few = dict(list(pictures.items())[-_MOST_LINES:])
    facts = {"judged_pixels": judged, "sums": {str(images): len(some) for images, some in splits.items()}}
    missing = ", ".join(f"{number:,}" for number in task.frames if number not in splits)
    notes = [f"too few images for sums of {missing}, which need as many again to predict"] if missing else []
    return Outcome(rows, few, _said(rows, judged), facts, notes)


def _one_blur(errors: Mapping[str, float]) -> dict[str, tuple[str, float]]:
    """Name and error of every method, of all blurs only the best."""
    best = min((name for name in errors if name.startswith(BLUR)), key=lambda name: errors[name])
    kept = (name for name in errors if name == best or not name.startswith(BLUR))
    return {BLUR if name == best else name: (name, errors[name]) for name in kept}


def _said(rows: Sequence[Row], judged: float) -> list[str]:
    """Who won, and at which N, a sentence for each condition; and of how many pixels, where they are few."""
    said = []
    for condition in dict.fromkeys(row.condition for row in rows):
        part = [row for row in rows if row.condition == condition]
        ours = {row.frames: row.values[PSNR] for row in part if row.method == OURS}
        best = max(ours, key=lambda frames: ours[frames])
        said.append(
            f"{condition + ': ' if condition else ''}{who_won(part, PSNR)}; N = {best:,} is best ({ours[best]:.1f} dB)"
        )
    return said if judged > 0.5 else [*said, f"{judged:.0%} of the pixels were judged: the others move, or are hot"]


def _drawn(seed: int) -> tuple[Counts, ForwardModel]:
    """A photograph, seen by a simulated SPC3 in 128 images (T, H, W), its settings all that is known of it."""
    import cv2
    from skimage.data import camera

    model = ForwardModel(Sensor.load("spc3"), Exposure(10.4e-6))
    grey = camera()[:, 128:384].astype(np.float32) / np.float32(255)  # type: ignore[no-untyped-call]
    light = cv2.resize(grey, (32, 64), interpolation=cv2.INTER_AREA) / np.float32(model.exposure.count_time)
    rates = torch.from_numpy(np.broadcast_to(light, (128, 64, 32)).copy())
    counts = model.sample(rates, torch.Generator().manual_seed(seed)).numpy()
    settings = model.sensor.dead_time, model.sensor.counter_bits
    known = Sensor("SPC3", torch.ones(64, 32), torch.zeros(64, 32), *settings, measured=False)
    return counts, ForwardModel(known, model.exposure)


LEFT_OUT = Experiment(
    "leftout",
    "some frames of your own recording, restored, predict the others: who predicts best, from how many (N: images)",
    "a photograph seen by a simulated SPC3",
    DATA,
    (1, 4, 16, 64),
    40,
    run,
)
