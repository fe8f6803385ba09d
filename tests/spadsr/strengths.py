"""Which strengths of the denoisers in `spadsr.evaluation.baselines` give the highest mean PSNR at x4, on pictures.

    python tests/spadsr/strengths.py PICTURES [nlm|tv] [N ...]

The pictures must not be those that methods are compared on. The binary array at 0.2 detections of white a frame; the
lines hold the counts of a mean pixel and the mean PSNR of each strength, in dB.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from spadsr.evaluation.baselines import Baseline, denoised, nlm, tv
from spadsr.evaluation.conditions import Condition
from spadsr.evaluation.evaluate import evaluate
from spadsr.evaluation.methods import Answer, Method

DENOISERS = {"nlm": nlm, "tv": tv}
GRID = {
    "nlm": (0.2, 0.3, 0.4, 0.55, 0.75, 1.0, 1.4, 2.0),
    "tv": (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0),
}


def mean_psnr(pictures: Path, name: str, strengths: Sequence[float], frames: int) -> dict[float, float]:
    """Mean PSNR at x4 over the pictures, dB, for every strength."""
    methods = {str(s): _method(denoised(partial(DENOISERS[name], strength=s))) for s in strengths}
    rows = evaluate(pictures, [Condition("binary", 4, 0.2, frames)], methods).rows
    return {s: float(np.mean([row.psnr for row in rows if row.method == str(s)])) for s in strengths}


def _method(baseline: Baseline) -> Method:
    return lambda counts, model, scale: Answer(baseline(counts, model, scale))


if __name__ == "__main__":
    for name in sys.argv[2:3] or list(DENOISERS):
        for frames in map(int, sys.argv[3:] or ("1", "4", "16", "64", "256")):
            found = mean_psnr(Path(sys.argv[1]), name, GRID[name], frames)
            best = max(found, key=lambda strength: found[strength])
            print(f"{name} N = {frames:<4} best {best:<4}", " ".join(f"{s}: {p:.2f}" for s, p in found.items()))
