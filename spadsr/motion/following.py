"""Following: the sum of a moving scene becomes the picture of its central instant, with counts that stay whole.

First the motion of the whole scene, if its counts tell of one; then that of the parts that this does not explain.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.errors import InputError
from noise_model.progress import Report, silent
from noise_model.sensor import PLACES
from spadsr.motion.blocks import Blocks
from spadsr.motion.changes import Change, change_within
from spadsr.motion.merging import Merged, merge
from spadsr.motion.path import Path, estimate_path
from spadsr.motion.standing import standing_out
from spadsr.motion.sweep import find_lines, gather
from spadsr.motion.verdict import Verdict, judge

#: What may be followed: nothing; shifts of the whole scene; its turns as well; its parts as well; what moves.
Way: TypeAlias = Literal["none", "shift", "rigid", "local", "auto"]
WAYS: tuple[Way, ...] = get_args(Way)

#: Parts of a sum, at most, in each of which the scene is taken to stand still.
MOST_PARTS = 128

_REACH = 20  # native pixels over the sum: the fastest parts that are looked for
_LEAST_PARTS = 8  # of a sum: fewer tell nothing of a path
_LOOKED_FOR = 1.03  # chi-squared along a path, from which on parts are looked for that move by themselves
_FEW = 0.05  # of the pixels: where fewer do, the whole scene is followed alone


@dataclass(frozen=True, eq=False)
class Motion:
    """How a scene moved while an image was summed, and what was made of it.

    Attributes:
        change: how much the scene changes within the sum.
        followed: what was followed.
        times: (G,) the middle of each part, in units of the sum's duration, 0 at its centre.
        verdict: what the counts say of the path; None where none was looked for.
        velocity: (2, H, W) of each pixel's own motion, native pixels down and right over the sum; None without.
    """

    change: Change
    followed: Way = "none"
    times: Floats = field(default_factory=lambda: np.zeros(0))
    verdict: Verdict | None = None
    velocity: NDArray[np.float32] | None = None

    @property
    def path(self) -> Path:
        """Where the array looked in each part; the path of one at rest where none was looked for."""
        parts = len(self.times)
        return (
            Path(np.zeros((parts, 3)), np.zeros((parts, 3)), np.ones(parts)) if not self.verdict else self.verdict.path
        )

    def sentences(self) -> list[str]:
        """What the user should know of what was followed, a line each."""
        if self.velocity is None:
            return self.verdict.sentences() if self.verdict else []
        moving = float(np.any(self.velocity != 0, axis=0).mean())
        return [f"parts of the scene were followed by themselves ({moving:.0%} of the pixels)"]


@dataclass(frozen=True, eq=False)
class Followed:
    """A sum along the motion of its scene.

    Attributes:
        merged: counts and frames, and the sensor as they saw it: of 4 x 4 places within each pixel; of whole pixels,
            where parts moved by themselves; None where the sum is that of a scene at rest.
    """

    motion: Motion
    merged: Merged | None


def way_of(name: str) -> Way:
    """What is to be followed, by its name.

    Raises:
        InputError: it is none of these.
    """
    for way in WAYS:
        if way == name:
            return way
    raise InputError(f"motion {name}: expected one of {', '.join(WAYS)}", "motion")


def follow(blocks: Blocks, way: Way, progress: Report = silent) -> Followed:
    """Sums blocks along the motion of their scene, as far as the counts tell of one.

    Args:
        way: with "auto" a scene that stands still is summed as it is, and parts are followed only where the motion of
            the whole scene does not explain the counts.
        progress: called with hundredths done and their number.

    Raises:
        InputError: there are too few blocks to tell a motion.
    """
    change = change_within(blocks)
    if way == "none" or (way == "auto" and not change.moves):
        return Followed(Motion(change, "none", blocks.times), None)
    if len(blocks) < _LEAST_PARTS:
        raise InputError(f"sums of {len(blocks)} images: expected {_LEAST_PARTS} or more to follow a motion", "sum")
    first, second = (60, 40) if way == "auto" else (30, 70) if way == "local" else (100, 0)
    blocks = blocks.without(standing_out(blocks))
    path = estimate_path(blocks, turning=way != "shift", progress=_part_of(progress, 0, first))
    verdict = judge(blocks, path)
    blocks = blocks.without(verdict.hot)
    poses = np.ascontiguousarray(verdict.path.poses)
    if way == "local" or (way == "auto" and verdict.chi_squared > _LOOKED_FOR):
        lines = find_lines(blocks, _reach(blocks), poses, _part_of(progress, first, second))
        if way == "local" or lines.moving > _FEW:
            motion = Motion(change, "local", blocks.times, verdict, lines.velocity.astype(np.float32))
            return Followed(motion, gather(blocks, lines, poses))
    if not verdict.moves:
        return Followed(Motion(change, "none", blocks.times, verdict), None)
    motion = Motion(change, "shift" if way == "shift" else "rigid", blocks.times, verdict)
    return Followed(motion, merge(blocks.only(verdict.used), poses[verdict.used], PLACES))


def _reach(blocks: Blocks) -> tuple[int, int]:
    rows, columns = blocks.sensor.shape
    return min(_REACH, rows // 3), min(_REACH, columns // 3)


def _part_of(progress: Report, start: int, size: int) -> Report:
    """Progress of one step of several, in hundredths of all."""

    def report(done: int, total: int) -> None:
        progress(start + size * done // max(total, 1), 100)

    return report
