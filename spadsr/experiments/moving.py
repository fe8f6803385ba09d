"""Scenes that move while they are looked at: what an array counts of them, and the pictures that methods make of it."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

import spadsr
from noise_model.arrays import Counts, Floats, Picture
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure
from spadsr.evaluation.methods import Method
from spadsr.evaluation.metrics import block_mean
from spadsr.restoration.restorer import Restorer

#: time, s, beside the centre of an exposure -> picture (s H, s W) over white.
Scene = Callable[[float], Picture]

_INSTANTS = 24  # that stand for an exposure, at least where it has as many frames


def instants(frames: int, count_time: float, most: int = _INSTANTS) -> Floats:
    """Times in the middle of equal parts of so many hardware frames, beside their centre, s."""
    parts = min(frames, most)
    return ((np.arange(parts) + 0.5) / parts - 0.5) * frames * count_time


def seen(scene: Scene, frames: int, count_time: float, at: float = 0.0, most: int = _INSTANTS) -> Picture:
    """The mean of a scene over so many hardware frames that are centred at a time, s."""
    times = at + instants(frames, count_time, most)
    return np.asarray(np.mean([scene(time) for time in times.tolist()], axis=0, dtype=np.float64), np.float32)


def counted(
    scene: Scene, white: float, model: ForwardModel, scale: int, generator: torch.Generator, parts: int = 1
) -> Counts:
    """Counts (P, H, W) of consecutive parts of an exposure of a scene; their sum is what all of it counts.

    Args:
        white: detections a frame where a picture is 1.
        scale: of the scene's pictures over the array; native pixels see means.
        parts: at most; the largest number that divides the frames is taken.
    """
    frames, time = model.exposure.most_cycles, model.exposure.count_time
    parts = max(each for each in range(1, parts + 1) if frames % each == 0)
    few = frames // parts
    part = ForwardModel(model.sensor, Exposure(time, few))
    centres, each = instants(frames, time, parts), max(1, _INSTANTS // parts)
    light = np.stack([block_mean(seen(scene, few, time, at, each), scale) for at in centres.tolist()])
    return part.sample(torch.from_numpy(light * np.float32(white / time)), generator).numpy()


def restored_along(parts: Counts, model: ForwardModel, restorer: Restorer, way: str, scale: int) -> Picture:
    """The scene (s H, s W) at the centre of an exposure, counts/s, restored along its motion.

    Args:
        parts: (P, H, W) counts of consecutive parts of the exposure.
        model: of the whole exposure.
        way: what is followed; see `spadsr.restore`.
    """
    exposure = Exposure(model.exposure.count_time, model.exposure.most_cycles // len(parts))
    found = spadsr.restore(
        parts,
        exposure=exposure,
        sensor=model.sensor,
        scale=scale,
        sum=len(parts),
        motion=way,
        image=0,
        weights=restorer,
    )
    return found.rate


def answers(
    methods: Mapping[str, Method], counts: Sequence[Counts], model: ForwardModel, scale: int, white: float
) -> dict[str, list[Picture]]:
    """The pictures over white that methods make of counts (H, W) of several scenes, by method.

    Args:
        white: detections a frame where a picture is 1.
    """
    unit = np.float32(model.exposure.count_time / white)
    return {name: [restore(each, model, scale).rate * unit for each in counts] for name, restore in methods.items()}
