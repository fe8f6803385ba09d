"""Following: the sum of a moving scene becomes the picture of its central instant, with counts that stay whole.

First the motion of the whole scene, if its counts tell of one; then that of the parts that this does not explain.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

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
from spadsr.motion.sweep import Lines, find_lines, gather
from spadsr.motion.verdict import Verdict, judge

#: What may be followed: nothing; shifts of the whole scene; its turns as well; its parts as well; what moves.
Way: TypeAlias = Literal["none", "shift", "rigid", "local", "auto"]
WAYS: tuple[Way, ...] = get_args(Way)

#: Parts of a sum, at most, in each of which the scene is taken to stand still.
MOST_PARTS = 128

_REACH = 20  # native pixels over the sum: the fastest parts that are looked for
_LEAST_PARTS = 8  # of a sum: fewer tell nothing of a path
_FEW = 0.01  # of the pixels: where fewer move by themselves, the whole scene is followed alone


@dataclass(frozen=True, eq=False)
class Motion:
    """How a scene moved while an image was summed, and what was made of it.

    Attributes:
        change: how much the scene changes within the sum.
        followed: what was followed.
        times: (G,) the middle of each part, in units of the sum's duration, 0 at its centre.
        poses, sd: (G, 3) where the array looked in each part, as in `Path`, and how sure that is.
        used: (G,) the parts that were merged.
        chi_squared_still, chi_squared: as in `Verdict`; NaN where nothing was followed.
        velocity: (2, H, W) of each pixel's own motion, native pixels down and right over the sum; None without.
        sentences: what the user should know of what was followed.
    """

    change: Change
    followed: Way = "none"
    times: Floats = field(default_factory=lambda: np.zeros(0))
    poses: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    sd: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    used: NDArray[np.bool_] = field(default_factory=lambda: np.ones(0, bool))
    chi_squared_still: float = np.nan
    chi_squared: float = np.nan
    velocity: NDArray[np.float32] | None = None
    sentences: tuple[str, ...] = ()


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
        return _plain(blocks, change)
    if len(blocks) < _LEAST_PARTS:
        raise InputError(f"sums of {len(blocks)} images: expected {_LEAST_PARTS} or more to follow a motion", "sum")
    first, second = (60, 40) if way == "auto" else (30, 70) if way == "local" else (100, 0)
    blocks = blocks.without(standing_out(blocks))
    path = estimate_path(blocks, turning=way != "shift", progress=_part_of(progress, 0, first))
    verdict = judge(blocks, path)
    blocks = blocks.without(verdict.hot)
    poses = np.ascontiguousarray(verdict.path.poses)
    if way == "local" or (way == "auto" and verdict.local):
        lines = find_lines(blocks, _reach(blocks), poses, _part_of(progress, first, second))
        if way == "local" or lines.moving > _FEW:
            return Followed(_motion(blocks, change, verdict, lines), gather(blocks, lines, poses))
    motion, used = _motion(blocks, change, verdict, None, "shift" if way == "shift" else "rigid"), verdict.used
    return Followed(motion, merge(blocks.only(used), poses[used], PLACES) if verdict.moves else None)


def _plain(blocks: Blocks, change: Change) -> Followed:
    still = Path.still(blocks)
    return Followed(Motion(change, "none", blocks.times, still.poses, still.sd, np.ones(len(blocks), bool)), None)


def _motion(blocks: Blocks, change: Change, verdict: Verdict, lines: Lines | None, way: Way = "local") -> Motion:
    path = verdict.path
    facts: dict[str, Any] = {} if lines is None else {"velocity": lines.velocity.astype(np.float32)}
    return Motion(
        change,
        way if verdict.moves or lines is not None else "none",
        blocks.times,
        path.poses,
        path.sd,
        verdict.used if lines is None else np.ones(len(blocks), bool),
        verdict.chi_squared_still,
        verdict.chi_squared,
        sentences=tuple(_sentences(verdict, lines)),
        **facts,
    )


def _sentences(verdict: Verdict, lines: Lines | None) -> list[str]:
    """What is to be said; of parts that were followed nothing more than how many of the pixels they are."""
    if lines is None:
        return verdict.sentences()
    return [f"parts of the scene were followed by themselves ({lines.moving:.0%} of the pixels)"]


def _reach(blocks: Blocks) -> tuple[int, int]:
    rows, columns = blocks.sensor.shape
    return min(_REACH, rows // 3), min(_REACH, columns // 3)


def _part_of(progress: Report, start: int, size: int) -> Report:
    """Progress of one step of several, in hundredths of all."""

    def report(done: int, total: int) -> None:
        progress(start + size * done // max(total, 1), 100)

    return report
