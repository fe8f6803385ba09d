"""Baselines without training: the inverse response, denoised or not, enlarged bicubically.

They are what a careful user would do without a network.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from noise_model.arrays import Counts, Floats, Picture
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel

#: counts (H, W), how they were taken, scale s -> rate (s H, s W), counts/s per native pixel area.
Baseline: TypeAlias = Callable[[Counts, ForwardModel, int], Picture]

#: Noisy picture (H, W) of equal variance, its standard deviation, mean counts of a pixel -> picture without noise.
Denoiser: TypeAlias = Callable[[Floats, float, float], Floats]

_LEVELS = 8  # numbers of frames that a denoiser is run for, where pixels differ
_SMALLEST_FIELD = 16  # bm3d 4.0 reads beyond its memory on a picture that is a single 8 x 8 block

#: Mean counts of a pixel, at which the strengths below (in standard deviations of the noise) have the highest mean PSNR
#: at x4 on training pictures (tests/spadsr/strengths.py); between them strengths are interpolated over the logarithm.
STRENGTH_KNOTS = (0.08, 0.32, 1.3, 5.0, 20.0)
STRENGTHS: Mapping[str, tuple[float, ...]] = {
    "nlm": (2.0, 1.0, 0.75, 0.75, 0.75),
    "tv": (1.4, 1.4, 1.0, 1.0, 0.7),
}


def bicubic(counts: Counts, model: ForwardModel, scale: int) -> Picture:
    """The inverse response of each pixel alone, enlarged bicubically; pixels that never looked are as their nearest."""
    known = counts if model.exposure.map is None else _nearest_seen(counts, model)[1] * _frames(model)
    return enlarge(_rate(known, model), scale)


def denoised(denoiser: Denoiser) -> Baseline:
    """The baseline that denoises counts stabilised to one variance, and enlarges the unbiased inverse bicubically."""
    return partial(_denoised, denoiser)


def _denoised(denoiser: Denoiser, counts: Counts, model: ForwardModel, scale: int) -> Picture:
    return enlarge(_rate(denoised_counts(counts, model, denoiser), model), scale)


def bm3d(noisy: Floats, sigma: float, mean_counts: float) -> Floats:
    """Block matching and 3-D filtering (Dabov et al., IEEE TIP 16 (2007) 2080).

    Raises:
        InputError: the package bm3d is not installed.
    """
    try:
        from bm3d import bm3d as denoise
    except ImportError as error:
        raise InputError("bm3d: the package is not installed; in your clone, run: pip install '.[baseline]'") from error
    padding = [(0, max(0, _SMALLEST_FIELD - side)) for side in noisy.shape]
    clean = denoise(np.pad(noisy, padding, mode="symmetric"), sigma)
    return np.asarray(clean[: noisy.shape[0], : noisy.shape[1]])


def nlm(noisy: Floats, sigma: float, mean_counts: float, strength: float | None = None) -> Floats:
    """Non-local means (Buades et al., CVPR 2005): patches of 7 x 7 in 23 x 23 pixels, `strength` = h / sigma."""
    from skimage.restoration import denoise_nl_means

    h = sigma * (strength or _strength("nlm", mean_counts))
    clean = denoise_nl_means(noisy, patch_size=7, patch_distance=11, h=h, fast_mode=True)
    return np.asarray(clean)


def tv(noisy: Floats, sigma: float, mean_counts: float, strength: float | None = None) -> Floats:
    """Total variation (Chambolle, JMIV 20 (2004) 89), `strength` = weight / sigma."""
    from skimage.restoration import denoise_tv_chambolle

    weight = sigma * (strength or _strength("tv", mean_counts))
    clean = denoise_tv_chambolle(noisy, weight, eps=1e-5, max_num_iter=500)  # type: ignore[no-untyped-call]
    return np.asarray(clean)


BASELINES: Mapping[str, Baseline] = {
    "bicubic": bicubic,
    "bm3d": denoised(bm3d),
    "nlm": denoised(nlm),
    "tv": denoised(tv),
}


def _strength(name: str, mean_counts: float) -> float:
    return float(np.interp(np.log(max(mean_counts, 1e-9)), np.log(STRENGTH_KNOTS), STRENGTHS[name]))


def enlarge(rate: NDArray[np.floating], scale: int) -> Picture:
    """Bicubic interpolation of (H, W) to (s H, s W) about pixel centres, so that block means stay in place.

    It uses Keys' kernel (a = -1/2), the only cubic kernel that keeps a linear ramp linear; OpenCV's (a = -3/4) ripples.
    """
    image = torch.from_numpy(rate.astype(np.float32))[None, None]
    wide = F.interpolate(image, scale_factor=scale, mode="bicubic", antialias=True)  # antialias: Keys' kernel
    return np.asarray(wide[0, 0].numpy())


def denoised_counts(counts: Counts, model: ForwardModel, denoiser: Denoiser) -> Floats:
    """Mean counts (H, W), estimated by a denoiser in the domain where counts have one variance.

    Where N is a map, the denoiser is run with the variance of each of some N, on values that do not depend on N but for
    their noise, and every pixel takes the answer for the N nearest to its own.
    """
    if model.exposure.map is None:
        values, sigma = stabiliser(model)
        return unbiased_inverse(denoiser(values[counts], sigma, float(counts.mean())), model)
    cycles, share = _nearest_seen(counts, model)
    values = _stabilised(share * cycles, cycles, model) / _unit(cycles, model)
    levels = np.unique(np.quantile(cycles, np.linspace(0, 1, _LEVELS), method="nearest"))
    nearest = np.abs(np.log(cycles)[..., None] - np.log(levels)).argmin(axis=-1)
    result = np.empty(cycles.shape)
    for at, level in enumerate(levels.tolist()):
        alone = replace(model, exposure=replace(model.exposure, cycles=int(level)))
        unit = float(_unit(np.float64(level), model))
        clean = denoiser(values, stabiliser(alone)[1] / unit, float(level * share.mean()))
        result[nearest == at] = unbiased_inverse(clean * unit, alone)[nearest == at] / level
    return result * _frames(model)


def _frames(model: ForwardModel) -> Floats:
    """Frames of each pixel where N is a map; 1 for those that never looked."""
    assert model.exposure.map is not None
    return np.asarray(np.maximum(model.exposure.map.cpu().double().numpy(), 1))


def _nearest_seen(counts: Counts, model: ForwardModel) -> tuple[Floats, Floats]:
    """Frames and counts of a frame (H, W); of pixels that never looked those of the nearest that did."""
    assert model.exposure.map is not None
    cycles, looked = _frames(model), model.exposure.map.cpu().numpy() > 0
    share = np.asarray(counts / cycles)
    if looked.all() or not looked.any():
        return cycles, share
    from scipy.ndimage import distance_transform_edt

    nearest = tuple(distance_transform_edt(~looked, return_distances=False, return_indices=True))
    return cycles[nearest], share[nearest]


def stabiliser(model: ForwardModel) -> tuple[Floats, float]:
    """The variance-stabilising transform of every possible count, and the standard deviation that it leads to.

    Binary: Anscombe's asin(sqrt((K + 3/8) / (N + 3/4))), variance 1 / (4 N + 2). Counting, b = dead time / exposure:
    the integral of 1 / sd(K) over the mean, sd^2 = m (1 - m b / N)^2, with the same offsets; 2 sqrt(K + 3/8) at b = 0.
    """
    sensor, n = model.sensor, model.exposure.most_cycles
    values = _stabilised(np.arange(sensor.saturation_value(n) + 1), np.float64(n), model)
    return values, 1 / math.sqrt(4 * n + 2) if sensor.binary else 1.0


def _stabilised(counts: NDArray[np.number], n: Floats | np.float64, model: ForwardModel) -> Floats:
    """Counts, of n frames each, transformed to one variance where n is one: see `stabiliser`."""
    sensor, k = model.sensor, counts + 3 / 8
    if sensor.binary:
        return np.asarray(np.arcsin(np.sqrt(k / (n + 3 / 4))))
    b = sensor.dead_time / model.exposure.count_time
    if b == 0:
        return np.asarray(2 * np.sqrt(k))
    ceiling = n / b + 3 / 4
    share = np.minimum(k, ceiling - 3 / 8) / ceiling
    return np.asarray(2 * np.sqrt(n / b) * np.arctanh(np.sqrt(share)))


def _unit(n: Floats | np.float64, model: ForwardModel) -> Floats | float:
    """What transformed counts of n frames grow with at equal rates."""
    return 1.0 if model.sensor.binary else np.sqrt(n)


def unbiased_inverse(clean: NDArray[np.floating], model: ForwardModel) -> NDArray[np.float64]:
    """Mean counts whose transformed counts have the mean `clean`: the tabulated expectation of the transform, inverted.

    Inverting the transform itself would be too low by about a quarter of a count, much at one count a pixel
    (Makitalo and Foi, IEEE TIP 20 (2011) 99).
    """
    transformed, mean = expectations(model)
    return np.asarray(np.interp(clean, transformed, mean))


def expectations(model: ForwardModel) -> tuple[Floats, Floats]:
    """Means of the transformed and of the plain counts (R,), both ascending, over a grid of rates."""
    values, _ = stabiliser(model)
    law = model.law()
    chances = np.diff(law.cdf.double().numpy(), axis=1, prepend=0.0)
    counts = law.first.numpy()[:, None] + np.arange(chances.shape[1])
    counts = np.minimum(counts, values.size - 1)  # columns above the largest count have no chance
    transformed, mean = (chances * values[counts]).sum(axis=1), (chances * counts).sum(axis=1)
    rising = np.diff(np.maximum.accumulate(transformed), prepend=-1.0) > 0
    return transformed[rising], mean[rising]


def _rate(counts: NDArray[np.number], model: ForwardModel) -> Picture:
    rate, _ = model.detection_rate(torch.from_numpy(np.asarray(counts, dtype=np.float32)))
    return rate.numpy()
