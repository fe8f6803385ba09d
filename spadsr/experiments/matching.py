"""Detections matched to what is there: how many are found, and how far off they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats


@dataclass(frozen=True)
class Matches:
    """Detections of one or several pictures against the truth.

    Attributes:
        found: pairs of a detection and an object, each at most once.
        false: detections that belong to no object.
        missed: objects that no detection belongs to.
        distances: (found,) between the two of a pair.
        pairs: (found, 2) indices of detection and object; of one picture alone.
    """

    found: int
    false: int
    missed: int
    distances: Floats
    pairs: NDArray[np.int64]

    @property
    def f1(self) -> float:
        """Twice the pairs over detections and objects, 0 to 1; 1 where there is nothing and nothing is detected."""
        all_of_both = 2 * self.found + self.false + self.missed
        return 2 * self.found / all_of_both if all_of_both else 1.0

    @property
    def rms(self) -> float:
        """Root mean square distance of the pairs; NaN without any."""
        return float(np.sqrt(np.mean(self.distances**2))) if self.found else float("nan")

    @property
    def count_error(self) -> float:
        """Number of detections less that of objects, over the latter; NaN without objects."""
        objects = self.found + self.missed
        return (self.false - self.missed) / objects if objects else float("nan")


def matched(detections: Floats, truth: Floats, reach: float) -> Matches:
    """Pairs detections (n, 2) and true places (m, 2) no further apart than `reach`: as many as can be, then nearest."""
    from scipy.optimize import linear_sum_assignment

    detections, truth = (np.asarray(places, np.float64).reshape(-1, 2) for places in (detections, truth))
    apart = np.hypot(*np.moveaxis(detections[:, None] - truth[None, :], -1, 0))
    beyond = reach * (1 + min(apart.shape))  # dearer than all pairs together: one more pair is always worth it
    rows, columns = linear_sum_assignment(np.where(apart <= reach, apart, beyond))
    near = apart[rows, columns] <= reach
    pairs = np.stack([rows, columns], axis=1)[near].astype(np.int64)
    found = len(pairs)
    return Matches(found, len(detections) - found, len(truth) - found, apart[rows, columns][near], pairs)


def together(parts: Sequence[Matches]) -> Matches:
    """The matches of several pictures as of one."""
    found, false, missed = (sum(getattr(each, name) for each in parts) for name in ("found", "false", "missed"))
    distances = np.concatenate([np.empty(0), *(each.distances for each in parts)])
    return Matches(found, false, missed, distances, np.empty((0, 2), np.int64))
