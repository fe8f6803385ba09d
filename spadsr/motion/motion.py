"""What is found of the motion of a scene: plain data, without what finds it."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.errors import InputError
from spadsr.motion.blocks import Blocks

#: What may be followed: nothing; shifts of the whole scene; its turns as well; its parts as well; what moves.
Way: TypeAlias = Literal["none", "shift", "rigid", "local", "auto"]
WAYS: tuple[Way, ...] = get_args(Way)

#: Parts of a sum, at most, in each of which the scene is taken to stand still.
MOST_PARTS = 128

_MOVES = 4.0  # standard errors above chance
_LEAST_CHANGE, _LEAST_SHIFT = 0.02, 0.15
_LOCAL_MOTION = 1.1  # chi-squared


def way_of(name: str) -> Way:
    """What is to be followed, by its name.

    Raises:
        InputError: it is none of these.
    """
    for way in WAYS:
        if way == name:
            return way
    raise InputError(f"motion {name}: expected one of {', '.join(WAYS)}", "motion")


@dataclass(frozen=True)
class Change:
    """How much a scene changes within a recording.

    Attributes:
        errors: how far the variation of neighbouring pixels over time is above what chance explains, standard errors.
        share: rms change of what a few neighbouring pixels count, over their counts.
        shift_errors: the same, of that part of the variation that a shift or turn of the whole scene makes.
        shift: rms shift of the whole scene that it stands for, native pixels.
    """

    errors: float = 0.0
    share: float = 0.0
    shift_errors: float = 0.0
    shift: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether the sum of the recording is not that of a scene at rest."""
        changed = self.errors > _MOVES and self.share > _LEAST_CHANGE
        return changed or (self.shift_errors > _MOVES and self.shift > _LEAST_SHIFT)

    def sentence(self) -> str:
        """What the user should know of a scene that moves."""
        how = (
            f"by {self.shift:.1f} native pixels as a whole"
            if self.shift_errors > self.errors
            else f"the counts of neighbouring pixels by {self.share:.0%}"
        )
        return (
            f"the scene moves within the sum ({how}, {max(self.errors, self.shift_errors):.0f} standard errors above"
            " chance): the restored image is blurred, and its uncertainty does not know"
        )


@dataclass(frozen=True, eq=False)
class Path:
    """Where an array looked in each of G blocks, with respect to the centre of the recording.

    Attributes:
        poses: (G, 3) rows down and columns right in native pixels, and radians about the centre of the array.
        sd: (G, 3) their standard deviations.
        brightness: (G,) of the scene over its mean.
        directions: along how many directions the scene has features that tell shifts, 0 to 2; the path has none along
            others.
        size: blocks that were joined to one before they were fitted.
    """

    poses: Floats
    sd: Floats
    brightness: Floats
    directions: int = 2
    size: int = 1

    @classmethod
    def still(cls, blocks: Blocks) -> "Path":
        """The path of an array that does not move."""
        count = len(blocks)
        return cls(np.zeros((count, 3)), np.zeros((count, 3)), np.ones(count))


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the counts say of an estimated path.

    Attributes:
        path: the one to merge along: the estimate but for what is not known, or none.
        gain: log likelihood of the counts along the estimated path over that at rest.
        chi_squared_still, chi_squared: per block of 5 x 5 pixels, at rest and along `path`; about 1 where it explains
            all.
        unknown: number of directions along which shifts are not known, 0 to 2.
        used: (G,) blocks to merge; those that lost the scene or stay unexplained are left out.
        repeats: the scene repeats, so that a path that is off by a period explains the counts as well.
        hot: (H, W) pixels that stand still while the scene moves: to be left out, as `Blocks.without` does. None where
            nothing moves, or where the sensor's maps are known.
    """

    path: Path
    gain: float
    chi_squared_still: float
    chi_squared: float
    unknown: int
    used: NDArray[np.bool_]
    repeats: bool
    hot: NDArray[np.bool_]

    @property
    def moves(self) -> bool:
        """Whether the whole scene moves, as far as the counts tell."""
        return bool(np.any(self.path.poses))

    @property
    def local(self) -> bool:
        """Whether parts of the scene move that the path does not explain."""
        return self.chi_squared > _LOCAL_MOTION

    def sentences(self) -> list[str]:
        """What the user should know, a line each."""
        said = []
        if self.unknown == 1 and self.moves:
            said.append("shifts along one direction of the scene cannot be seen and are not made (stripes, or an edge)")
        if self.repeats and self.moves:
            said.append("the scene repeats: a path that is off by a period explains the counts as well")
        if not self.used.all():
            said.append(f"{(~self.used).sum()} of {len(self.used)} blocks are left out: the path does not explain them")
        if self.hot.any():
            said.append(f"{self.hot.sum()} pixels stand still while the scene moves: hot, left out")
        if self.local:
            said.append(f"parts of the scene move by themselves (chi-squared {self.chi_squared:.2f}, expected is 1)")
        return said


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
