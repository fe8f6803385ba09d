"""Scenes that move while they are looked at: what an array counts of them, and the pictures that methods make of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

import spadsr
from noise_model.arrays import Counts, Floats, Picture
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.evaluation.methods import Method
from spadsr.evaluation.metrics import block_mean
from spadsr.restoration.restorer import Restorer

#: time, s, beside the centre of an exposure -> picture (s H, s W) over white.
Scene = Callable[[float], Picture]

FRAME = 10.2e-6  # s, of one hardware frame of a binary array

#: Hardware frames from which on motion is followed, and into how many parts they are cut for that, at most.
FOLLOWED_FROM, PARTS = 64, 64

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


@dataclass(frozen=True)
class Camera:
    """A binary array before a scene that moves, and what its counts are restored by.

    Attributes:
        white: detections a frame where a picture is 1.
        scale: of pictures over the array.
        draws: of counts.
        methods: that restore the sum of all frames, by name.
        restorer: that restores along the motion.
        way: what it follows; see `spadsr.restore`.
        along: its name among the methods.
    """

    sensor: Sensor
    white: float
    scale: int
    draws: torch.Generator
    methods: Mapping[str, Method]
    restorer: Restorer
    way: str
    along: str

    def pictures(self, scene: Scene, frames: int) -> dict[str, Picture]:
        """The pictures (s H, s W) over white of one exposure, by method; of many frames, along the motion as well."""
        model, followed = ForwardModel(self.sensor, Exposure(FRAME, frames)), frames >= FOLLOWED_FROM
        parts = counted(scene, self.white, model, self.scale, self.draws, PARTS if followed else 1)
        whole = answers(self.methods, [parts.sum(axis=0)], model, self.scale, self.white)
        found = {name: picture for name, [picture] in whole.items()}
        return found | {self.along: self._along(parts, frames)} if followed else found

    def _along(self, parts: Counts, frames: int) -> Picture:
        """The scene at the centre of an exposure, from the counts (P, H, W) of its parts."""
        found = spadsr.restore(
            parts,
            exposure=Exposure(FRAME, frames // len(parts)),
            sensor=self.sensor,
            scale=self.scale,
            sum=len(parts),
            motion=self.way,
            image=0,
            weights=self.restorer,
        )
        return np.asarray(found.rate * np.float32(FRAME / self.white))


def answers(
    methods: Mapping[str, Method], counts: Sequence[Counts], model: ForwardModel, scale: int, white: float
) -> dict[str, list[Picture]]:
    """The pictures over white that methods make of counts (H, W) of several scenes, by method.

    Args:
        white: detections a frame where a picture is 1.
    """
    unit = np.float32(model.exposure.count_time / white)
    return {name: [restore(each, model, scale).rate * unit for each in counts] for name, restore in methods.items()}
