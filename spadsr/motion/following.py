"""Following: the sum of a moving scene becomes the picture of its central instant, with counts that stay whole.

First the motion of the whole scene, if its counts tell of one; then that of the parts that this does not explain.
"""

from dataclasses import dataclass, replace

import numpy as np

from noise_model.errors import InputError
from noise_model.progress import Report, silent
from noise_model.sensor import PLACES
from spadsr.motion.blocks import Blocks
from spadsr.motion.changes import change_within
from spadsr.motion.merging import Merged, merge
from spadsr.motion.motion import Motion, Verdict, Way
from spadsr.motion.path import estimate_path
from spadsr.motion.standing import standing_out
from spadsr.motion.straight import straight_path
from spadsr.motion.sweep import find_lines, gather
from spadsr.motion.verdict import judge

_REACH = 20  # native pixels over the sum: the fastest parts that are looked for
_LEAST_PARTS = 8  # of a sum: fewer tell nothing of a path
_LEAST_SIDE = 8  # native pixels, of an array of which more than edges is left where it moves
_LOOKED_FOR = 1.03  # chi-squared along a path, from which on parts are looked for that move by themselves
_ANOTHER = 10.0  # of log likelihood that a second direction of a straight path has to add
_FEW = 0.05  # of the pixels: where fewer do, the whole scene is followed alone


@dataclass(frozen=True, eq=False)
class Followed:
    """A sum along the motion of its scene.

    Attributes:
        merged: counts and frames of 4 x 4 places within each pixel, and the sensor as they saw it; None where the sum
            is that of a scene at rest.
    """

    motion: Motion
    merged: Merged | None


def follow(blocks: Blocks, way: Way, progress: Report = silent) -> Followed:
    """Sums blocks along the motion of their scene, as far as the counts tell of one.

    Args:
        way: with "auto" a scene that stands still, or of too few blocks or pixels to tell, is summed as it is, and
            parts are followed only where the motion of the whole scene does not explain the counts.
        progress: called with hundredths done and their number.

    Raises:
        InputError: there are too few blocks or pixels to tell the motion asked for.
    """
    change = change_within(blocks)
    small, few = min(blocks.sensor.shape) < _LEAST_SIDE, len(blocks) < _LEAST_PARTS
    if way == "none" or (way == "auto" and (small or few or not change.moves)):
        return Followed(Motion(change, "none", blocks.times), None)
    if small:
        rows, columns = blocks.sensor.shape
        raise InputError(
            f"{rows} x {columns} pixels: expected {_LEAST_SIDE} or more a side to follow a motion", "motion"
        )
    if few:
        raise InputError(f"sums of {len(blocks)} images: expected {_LEAST_PARTS} or more to follow a motion", "sum")
    first, second = (60, 40) if way == "auto" else (30, 70) if way == "local" else (100, 0)
    blocks = blocks.without(standing_out(blocks))
    verdict = path_verdict(blocks, turning=way != "shift", progress=_part_of(progress, 0, first))
    blocks = blocks.without(verdict.hot)
    poses = np.ascontiguousarray(verdict.path.poses)
    if way == "local" or (way == "auto" and verdict.chi_squared > _LOOKED_FOR):
        lines = find_lines(blocks, _reach(blocks), poses, _part_of(progress, first, second))
        if lines.moving > (0 if way == "local" else _FEW):
            motion = Motion(change, "local", blocks.times, verdict, lines.velocity.astype(np.float32))
            return Followed(motion, gather(blocks, lines, poses, PLACES))
    if not verdict.moves:
        return Followed(Motion(change, "none", blocks.times, verdict), None)
    motion = Motion(change, "rigid" if poses[:, 2].any() else "shift", blocks.times, verdict)
    return Followed(motion, merge(blocks.only(verdict.used), poses[verdict.used], PLACES))


def path_verdict(blocks: Blocks, *, turning: bool = True, progress: Report = silent) -> Verdict:
    """The verdict on the path that explains the counts best; arguments as of `estimate_path`.

    Detail finer than pixels may look like a turn. Where a path with turns leaves something, one without them is looked
    for as well; and where none is found, because parts hold too few counts, a straight one.
    """
    verdict = judge(blocks, estimate_path(blocks, turning=turning, progress=progress))
    if turning and verdict.chi_squared >= _LOOKED_FOR:
        shifts = judge(blocks, estimate_path(blocks, turning=False, progress=progress))
        verdict = shifts if shifts.gain > verdict.gain else verdict
    if verdict.moves:
        return verdict
    straight = _straight_verdict(blocks, progress)
    return straight if straight.moves else verdict


def _straight_verdict(blocks: Blocks, progress: Report) -> Verdict:
    """The verdict on a straight path: one down or across, unless the counts tell of both."""
    path = straight_path(blocks, _reach(blocks), progress)
    both, *single = (
        judge(blocks, replace(path, poses=path.poses * kept, sd=path.sd * kept))
        for kept in np.array([(1, 1, 1), (1, 0, 0), (0, 1, 0)])
    )
    best = max(single, key=lambda each: each.gain)
    return both if both.gain > best.gain + _ANOTHER else best


def _reach(blocks: Blocks) -> tuple[int, int]:
    rows, columns = blocks.sensor.shape
    return min(_REACH, rows // 2), min(_REACH, columns // 2)


def _part_of(progress: Report, start: int, size: int) -> Report:
    """Progress of one step of several, in hundredths of all."""

    def report(done: int, total: int) -> None:
        progress(start + size * done // max(total, 1), 100)

    return report
