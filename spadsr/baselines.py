"""What a careful user would do without a network: the inverse response, denoised or not, enlarged bicubically."""

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from noise_model.errors import InputError
from noise_model.response import detection_rate
from noise_model.sampling import count_law
from noise_model.sensor import Exposure, Sensor

Image: TypeAlias = NDArray[np.float32]
Counts: TypeAlias = NDArray[np.integer]
Table: TypeAlias = NDArray[np.float64]

#: counts (H, W), exposure, sensor, scale s -> rate (s H, s W), counts/s per native pixel area.
Baseline: TypeAlias = Callable[[Counts, Exposure, Sensor, int], Image]

_SMALLEST_FIELD = 16  # bm3d 4.0 reads beyond its memory on a picture that is a single 8 x 8 block


def bicubic(counts: Counts, exposure: Exposure, sensor: Sensor, scale: int) -> Image:
    """The inverse response of every pixel by itself, enlarged."""
    return enlarge(_rate(counts, exposure, sensor), scale)


def bm3d_bicubic(counts: Counts, exposure: Exposure, sensor: Sensor, scale: int) -> Image:
    """BM3D on variance-stabilised counts, its exact unbiased inverse, then as `bicubic`.

    Raises:
        InputError: the package bm3d is not installed.
    """
    return enlarge(_rate(bm3d_counts(counts, exposure, sensor), exposure, sensor), scale)


BASELINES: Mapping[str, Baseline] = {"bicubic": bicubic, "bm3d": bm3d_bicubic}


def enlarge(rate: NDArray[np.floating], scale: int) -> Image:
    """Bicubic interpolation of (H, W) to (s H, s W) about pixel centres, so that block means stay in place.

    With Keys' kernel (a = -1/2), the only cubic one that keeps a ramp a ramp; OpenCV's (a = -3/4) ripples.
    """
    image = torch.from_numpy(rate.astype(np.float32))[None, None]
    wide = F.interpolate(image, scale_factor=scale, mode="bicubic", antialias=True)  # antialias: Keys' kernel
    return np.asarray(wide[0, 0].numpy())


def bm3d_counts(counts: Counts, exposure: Exposure, sensor: Sensor) -> NDArray[np.float64]:
    """(H, W) mean counts that BM3D estimates, in the domain where counts have one variance."""
    try:
        from bm3d import bm3d
    except ImportError as error:
        raise InputError("bm3d: the package is not installed; run: pip install 'spadsr[baseline]'") from error
    values, sigma = stabiliser(exposure, sensor)
    padding = [(0, max(0, _SMALLEST_FIELD - side)) for side in counts.shape]
    noisy = np.pad(values[counts], padding, mode="symmetric")
    clean = bm3d(noisy, sigma)[: counts.shape[0], : counts.shape[1]]
    return unbiased_inverse(clean, exposure, sensor)


def stabiliser(exposure: Exposure, sensor: Sensor) -> tuple[Table, float]:
    """The variance-stabilising transform of every possible count, and the standard deviation it leads to.

    Binary: Anscombe's asin(sqrt((K + 3/8) / (N + 3/4))), variance 1 / (4 N + 2). Counting, b = dead time / exposure:
    the integral of 1 / sd(K) over the mean, sd^2 = m (1 - m b / N)^2, with the same offsets; 2 sqrt(K + 3/8) at b = 0.
    """
    n = exposure.cycles
    k = np.arange(sensor.saturation_value(n) + 1) + 3 / 8
    if sensor.binary:
        return np.arcsin(np.sqrt(k / (n + 3 / 4))), 1 / math.sqrt(4 * n + 2)
    b = sensor.dead_time / exposure.count_time
    if b == 0:
        return 2 * np.sqrt(k), 1.0
    ceiling = n / b + 3 / 4
    share = np.minimum(k, ceiling - 3 / 8) / ceiling
    return 2 * math.sqrt(n / b) * np.arctanh(np.sqrt(share)), 1.0


def unbiased_inverse(clean: NDArray[np.floating], exposure: Exposure, sensor: Sensor) -> NDArray[np.float64]:
    """Mean counts whose transformed counts have the mean `clean`: the tabulated expectation of the transform, inverted.

    Inverting the transform itself would be too low by about a quarter of a count, much at one count a pixel
    (Makitalo and Foi, IEEE TIP 20 (2011) 99).
    """
    transformed, mean = expectations(exposure, sensor)
    return np.asarray(np.interp(clean, transformed, mean))


def expectations(exposure: Exposure, sensor: Sensor) -> tuple[Table, Table]:
    """(R,) means of the transformed and of the plain counts, both ascending, over a grid of rates."""
    values, _ = stabiliser(exposure, sensor)
    law = count_law(exposure, sensor)
    chances = np.diff(law.cdf.double().numpy(), axis=1, prepend=0.0)
    counts = law.first.numpy()[:, None] + np.arange(chances.shape[1])
    counts = np.minimum(counts, values.size - 1)  # columns above the largest count have no chance
    transformed, mean = (chances * values[counts]).sum(axis=1), (chances * counts).sum(axis=1)
    rising = np.diff(np.maximum.accumulate(transformed), prepend=-1.0) > 0
    return transformed[rising], mean[rising]


def _rate(counts: NDArray[np.number], exposure: Exposure, sensor: Sensor) -> Image:
    rate, _ = detection_rate(torch.from_numpy(np.asarray(counts, dtype=np.float32)), exposure, sensor)
    return rate.numpy()
