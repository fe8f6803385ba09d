"""A fan that turns: the picture and the angle at an instant, against the length of the exposure."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch

from noise_model.arrays import Floats, Picture
from noise_model.sensor import Sensor
from spadsr.evaluation.metrics import psnr
from spadsr.experiments.experiment import OURS, Experiment, Measure, Outcome, Panel, Row, Task
from spadsr.experiments.moving import FRAME, Camera
from spadsr.experiments.spot import FOUND, PLACE, spots
from spadsr.experiments.table import who_won

SHAPE, SCALE = (64, 32), 4
TURNS = 3000 / 60  # 1/s
BLADES, HUB, TIP, HALF = 3, 3.0, 14.0, 0.28  # native pixels; half of a blade, radians
WHITE = 0.2  # detections a frame, of a blade
ALONG = f"{OURS}, rigid motion"

PSNR = Measure("PSNR", "dB", tie=0.2, digits=1)
ANGLE = Measure("angle rms", "degrees", tie=0.3, more=False)

_REPEATS = 6

_Y, _X = (np.mgrid[: SHAPE[0] * SCALE, : SHAPE[1] * SCALE] + 0.5) / SCALE
_RADIUS, _TURN = np.hypot(_Y - SHAPE[0] / 2, _X - SHAPE[1] / 2), np.arctan2(_Y - SHAPE[0] / 2, _X - SHAPE[1] / 2)


def fan(start: float, time: float) -> Picture:
    """Bright blades on a dark ground, their edges soft over half a native pixel.

    Args:
        start: angle at time 0, radians.
        time: s.
    """
    pitch = 2 * np.pi / BLADES
    apart = np.abs((_TURN - start - 2 * np.pi * TURNS * time + pitch / 2) % pitch - pitch / 2)
    edge = np.clip(0.5 + (HALF - apart) * _RADIUS / 0.5, 0, 1)
    ring = np.clip((_RADIUS - HUB) / 0.5 + 0.5, 0, 1) * np.clip((TIP - _RADIUS) / 0.5 + 0.5, 0, 1)
    hub = np.clip((HUB - 1 - _RADIUS) / 0.5 + 0.5, 0, 1)
    return np.asarray(0.05 + 0.95 * np.maximum(edge * ring, 0.6 * hub), np.float32)


def angle_of(picture: Picture) -> float:
    """The angle of a fan modulo one blade, radians: the phase of as many waves around its hub as it has blades."""
    ring = (_RADIUS > HUB + 1) & (_RADIUS < TIP - 1)
    waves = np.exp(1j * BLADES * _TURN[ring])
    return float(np.angle(np.sum(np.maximum(picture, 0)[ring] / _RADIUS[ring] * waves)) / BLADES)


def frames_needed(rows: Sequence[Row], method: str, level: float) -> float | None:
    """The frames at which a method first reaches a PSNR, interpolated over the logarithm of N; None: it never does."""
    curve = sorted((row.frames, row.values[PSNR]) for row in rows if row.method == method)
    if curve and curve[0][1] >= level:
        return float(curve[0][0])
    for (few, low), (many, high) in pairwise(curve):
        if low < level <= high:
            return float(few * (many / few) ** ((level - low) / (high - low)))
    return None


def run(task: Task) -> Outcome:
    """Measures the fan and a spot; both are drawn."""
    draws, rows, pictures = torch.Generator().manual_seed(task.seed), list[Row](), dict[str, dict[str, Panel]]()
    starts, sensor = np.random.default_rng(task.seed), Sensor.load("spad512").uniform(SHAPE)
    camera = Camera(sensor, WHITE, SCALE, draws, task.methods(), task.restorer, "rigid", ALONG)
    for done, frames in enumerate(task.frames):
        found, panels = _turning(camera, frames, starts.uniform(0, 2 * np.pi, _REPEATS))
        rows += found
        pictures[f"N = {frames:,}"] = panels
        task.progress(2 * done + 1, 2 * len(task.frames))
        rows += spots(task, frames, starts, draws)
        task.progress(2 * done + 2, 2 * len(task.frames))
    turning = [row for row in rows if row.condition == "fan"]
    writing = [row for row in rows if row.condition == "spot"]
    few = dict(list(pictures.items())[1::2]) if len(pictures) > 3 else pictures
    of_fan = [who_won(turning, PSNR), *speeds(turning), *gain(turning), who_won(turning, ANGLE)]
    of_spot = [who_won(writing, measure) for measure in (FOUND, PLACE)] if writing else []
    said = [*(f"fan: {each}" for each in of_fan), *(f"spot: {each}" for each in of_spot)]
    return Outcome(rows, few, said, {"frame_s": FRAME, "turns_per_s": TURNS, "repeats": _REPEATS})


def _turning(camera: Camera, frames: int, starts: Floats) -> tuple[list[Row], dict[str, Panel]]:
    """Figures of the fan from several angles (R,), and pictures of one of them."""
    scenes = [partial(fan, start) for start in starts.tolist()]
    taken = [camera.pictures(scene, frames) for scene in scenes]
    found = {name: [each[name] for each in taken] for name in taken[0]}
    truth, rows = [scene(0.0) for scene in scenes], []
    for method, pictures in found.items():
        off = np.array([angle_of(picture) for picture in pictures]) - starts
        off = (off + np.pi / BLADES) % (2 * np.pi / BLADES) - np.pi / BLADES
        quality = float(np.mean([psnr(picture, true) for picture, true in zip(pictures, truth, strict=True)]))
        rows.append(Row(frames, method, {PSNR: quality, ANGLE: float(np.degrees(np.sqrt(np.mean(off**2))))}, "fan"))
    return rows, {name: Panel(each[0]) for name, each in found.items()} | {"the instant": Panel(truth[0])}


def speeds(rows: Sequence[Row]) -> list[str]:
    """How many more pictures a second the network makes at equal quality, in words."""
    ours = sorted((row.frames, row.values[PSNR]) for row in rows if row.method == OURS)
    if len(ours) < 2:
        return []
    frames, level = ours[1]
    others = [name for name in dict.fromkeys(row.method for row in rows) if not name.startswith(OURS)]
    needed = {name: frames_needed(rows, name, level) for name in others}
    said = [
        f"{name} N = {many:.0f}, {many / frames:.1f} times as long" if many else f"{name} never has them"
        for name, many in needed.items()
    ]
    return [
        f"for the {level:.1f} dB of {OURS} at N = {frames}, {1 / frames / FRAME:,.0f} pictures/s, {'; '.join(said)}"
    ]


def gain(rows: Sequence[Row]) -> list[str]:
    """What following the rotation brings over the network's best without, in words."""
    best: Mapping[str, tuple[float, int]] = {
        name: max((row.values[PSNR], row.frames) for row in rows if row.method == name)
        for name in {row.method for row in rows} & {OURS, ALONG}
    }
    if len(best) < 2:
        return []
    (plain, few), (followed, many) = best[OURS], best[ALONG]
    return [
        f"with its motion followed {followed:.1f} dB at N = {many:,}, without {plain:.1f} dB at best, at N = {few:,}"
    ]


ROTATION = Experiment(
    "rotation",
    "a fan at 3,000 turns a minute and the spot of an oscilloscope: how short exposures can be, against the instant",
    "both",
    None,
    (1, 4, 16, 64, 256, 1024),
    45,
    run,
)
