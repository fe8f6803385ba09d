"""Means over pictures, for every method under every condition."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spadsr.evaluation.conditions import Condition
from spadsr.evaluation.evaluate import Evaluation, Row

_WORST, _VERY_WORST = 0.05, 0.01  # of the pictures
_SPREAD = (0.1, 0.9)  # quantiles over pictures


@dataclass(frozen=True)
class Mean:
    """A mean over pictures and its standard error (NaN for a single picture)."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self}"

    def __format__(self, sign: str) -> str:
        value = f"{self.value:{sign}.2f}"
        return f"{value} ± {self.error:.2f}" if np.isfinite(self.error) else value


@dataclass(frozen=True)
class Summary:
    """One method under one condition, over all pictures.

    Attributes:
        psnr, ssim: means; dB and 0 to 1.
        worst: mean PSNR of the worst twentieth of the pictures, at least one, dB.
        very_worst: the same of the worst hundredth.
        lead: PSNR minus that of the best of the other methods (the one with the highest mean), picture by picture, dB.
        total_ratio: total detected rate over the truth's.
        worst_tenth: largest |mean truth - mean answer| among the tenths of the answer's values, share of white.
        within_68, within_95: shares of pixels inside the intervals; None without error bars.
        within_68_of_pictures: 10th and 90th percentile over pictures of the first of these shares.
        sharpness: mean standard uncertainty over white; None without error bars.
    """

    condition: Condition
    method: str
    pictures: int
    psnr: Mean
    worst: float
    very_worst: float
    ssim: Mean
    lead: Mean | None
    total_ratio: float
    worst_tenth: float
    within_68: float | None
    within_95: float | None
    within_68_of_pictures: tuple[float, float] | None
    sharpness: float | None


def summarised(evaluation: Evaluation) -> list[Summary]:
    """The mean over pictures of each method under each condition, in the order in which these came."""
    groups: defaultdict[Condition, defaultdict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in evaluation.rows:
        groups[row.condition][row.method].append(row)
    return [
        _summary(evaluation, rows, groups[row.condition])
        for group in groups.values()
        for rows in group.values()
        for row in rows[:1]
    ]


def _summary(evaluation: Evaluation, rows: Sequence[Row], group: Mapping[str, Sequence[Row]]) -> Summary:
    condition, method = rows[0].condition, rows[0].method
    radiometry = evaluation.radiometry[condition, method]
    rivals = [np.array([row.psnr for row in other]) for name, other in group.items() if name != method]
    own = np.array([row.psnr for row in rows])
    best = max(rivals, key=lambda rival: float(rival.mean()), default=None)
    return Summary(
        condition,
        method,
        len(rows),
        _mean(own),
        _worst(own, _WORST),
        _worst(own, _VERY_WORST),
        _mean(np.array([row.ssim for row in rows])),
        None if best is None else _mean(own - best),
        radiometry.total_ratio,
        float(np.abs(radiometry.tenths()).max()),
        _share(row.within_68 for row in rows),
        _share(row.within_95 for row in rows),
        _spread([row.within_68 for row in rows if row.within_68 is not None]),
        _share(row.sharpness for row in rows),
    )


def _worst(values: np.ndarray[Any, np.dtype[np.float64]], share: float) -> float:
    """The mean of that share of the values, the lowest, and of one at least."""
    return float(np.sort(values)[: max(1, round(share * values.size))].mean())


def _mean(values: np.ndarray[Any, np.dtype[np.float64]]) -> Mean:
    error = float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else float("nan")
    return Mean(float(values.mean()), error)


def _share(shares: Iterable[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None


def _spread(shares: Sequence[float]) -> tuple[float, float] | None:
    if not shares:
        return None
    low, high = np.quantile(shares, _SPREAD)
    return float(low), float(high)


def by_scale(summaries: Sequence[Summary]) -> list[list[Summary]]:
    """Summaries in groups of equal mode and scale, in the order in which these came."""
    groups: defaultdict[tuple[str, int], list[Summary]] = defaultdict(list)
    for summary in summaries:
        groups[summary.condition.mode, summary.condition.scale].append(summary)
    return list(groups.values())


def title(series: Sequence[Summary]) -> str:
    """The title of a series of equal mode and scale."""
    first = series[0]
    return (
        f"x{first.condition.scale}, {first.condition.mode} array, {first.pictures} picture{'s' * (first.pictures > 1)}"
    )
