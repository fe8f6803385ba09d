"""The map of relative photon detection efficiency, from evenly lit recordings at one or more fluxes.

The rate of pixel i in flat j is eta_i phi_j + d_i. Each flat's counts are converted to rates as one long exposure; phi
is the mean of these rates. Then eta and d follow by weighted least squares, with the value and the error of d from the
dark recordings. The variance of a rate is computed from the counts that the fit expects: computed from the measured
counts, it would give low counts too much weight. No lamp is even: a surface of second order in ln(eta) is taken as its
shading. At the end each pixel is drawn towards the mean, by as much of its deviation as is likely to be photon noise.

Source: iteratively reweighted least squares: McCullagh & Nelder, Generalized Linear Models (1989), ch. 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noise_model.arrays import Floats
from noise_model.calibration.dark import DarkMap
from noise_model.calibration.pooling import WIDTH_95, dead_time_of
from noise_model.calibration.streams import StreamStatistics
from noise_model.estimates import Estimate
from noise_model.forward_model import ForwardModel
from noise_model.sensor import DEAD, UNDER_RESPONDING, Exposure, Sensor

#: Shares of the median response below which a pixel is dead, or responds too little.
DEAD_SHARE, UNDER_SHARE = 0.05, 0.5

_LEAST_PIXELS = 64  # needed to separate a surface of six coefficients from the spread of the pixels
_OUTLYING = 4.0  # standard deviations: pixels that neither shading nor noise explains
_ROUNDS = 4  # the weights change only as the fit does


@dataclass(frozen=True)
class FlatMap:
    """Relative photon detection efficiency of every pixel.

    Attributes:
        pde, low, high: (H, W) with 95 % intervals, relative to the mean over all pixels; a dead pixel may be at 0.
        mask: (H, W) pixel_mask bits DEAD and UNDER_RESPONDING.
        shading: (H, W) of the light, mean 1, which was divided out.
        flux: of each flat, detections/s of a pixel of mean PDE.
        spread: relative standard deviation of the PDE, without the photon noise.
    """

    pde: Floats
    low: Floats
    high: Floats
    mask: NDArray[np.int32]
    shading: Floats
    flux: tuple[Estimate, ...]
    spread: Estimate


@dataclass(frozen=True)
class _Fit:
    """Response (H, W) of the pixels relative to their mean, flux of each flat (J,), and their standard deviations."""

    eta: Floats
    eta_sd: Floats
    flux: Floats
    flux_sd: Floats


def flat_map(flats: Sequence[StreamStatistics], dark: DarkMap, sensor: Sensor) -> FlatMap:
    """Estimates the relative PDE from all flats together.

    Args:
        flats: one or more, of equal shape (H, W).
        dark: dark rates, of the same shape.
        sensor: what is known so far; pixels of its mask are no examples of ordinary ones.
    """
    fit = _fit(flats, dark, sensor)
    good = sensor.good.numpy()
    mask = _weak_pixels(fit, good)
    good = good & (mask == 0)
    shading, shading_sd = _shading(fit.eta, good)
    eta, sd = fit.eta / shading, fit.eta_sd / shading
    spread = _spread(eta, sd, good)
    eta, sd = _shrunk(eta, sd, spread, float(np.median(eta[good])))
    mean, sd = eta.mean(), np.hypot(sd, eta * shading_sd)
    flux = tuple(
        _estimate(float(one * mean), float(one_sd * mean)) for one, one_sd in zip(fit.flux, fit.flux_sd, strict=True)
    )
    eta = np.maximum(eta, 0)
    low, high = np.maximum(eta - WIDTH_95 * sd, 0) / mean, (eta + WIDTH_95 * sd) / mean
    return FlatMap(eta / mean, low, high, mask, shading, flux, spread)


def _estimate(value: float, sd: float) -> Estimate:
    return Estimate(value, value - WIDTH_95 * sd, value + WIDTH_95 * sd)


def _fit(flats: Sequence[StreamStatistics], dark: DarkMap, sensor: Sensor) -> _Fit:
    """Fits response and flux to the rates of all flats.

    The flux is the mean rate of good pixels: it favours neither bright nor dark ones, and so stays unbiased.
    """
    good = sensor.good.numpy()
    rates, sd = (np.stack(one) for one in zip(*(_rates(flat, sensor) for flat in flats), strict=True))
    known = dark.rate, np.maximum((dark.high - dark.low) / (2 * WIDTH_95), 1e-9 * rates.max())
    flux = (rates - dark.rate)[:, good].mean(axis=1)
    for _ in range(_ROUNDS):
        eta, eta_sd, d = _pixels(rates, sd, flux, known)
        expected = flux[:, None, None] * eta.clip(min=0) + d.clip(min=0)
        sd = np.stack([_expected_sd(flat, one, sensor) for flat, one in zip(flats, expected, strict=True)])
    flux_sd = np.sqrt((sd**2 + known[1] ** 2)[:, good].sum(axis=1)) / good.sum()
    return _Fit(eta, eta_sd, flux, flux_sd)


def _rates(flat: StreamStatistics, sensor: Sensor) -> tuple[Floats, Floats]:
    """Rate (H, W) of each pixel, dark counts included, and its standard deviation, counts/s."""
    return _rates_of_counts(torch.from_numpy(flat.total), flat, sensor)


def _expected_sd(flat: StreamStatistics, rate: Floats, sensor: Sensor) -> Floats:
    """Standard deviation (H, W) of estimated rates where `rate` is the true one."""
    counts = _whole_recording(flat, sensor).expected_counts(torch.from_numpy(rate.clip(min=0)))
    return _rates_of_counts(counts, flat, sensor)[1]


def _rates_of_counts(counts: Tensor, flat: StreamStatistics, sensor: Sensor) -> tuple[Floats, Floats]:
    rate, sd = _whole_recording(flat, sensor).detection_rate(counts)
    return rate.double().numpy(), sd.double().numpy()


def _whole_recording(flat: StreamStatistics, sensor: Sensor) -> ForwardModel:
    """The sensor without its maps, in one exposure as long as the whole recording."""
    pde, dark, dead_time = torch.ones(flat.shape), torch.zeros(flat.shape), dead_time_of(flat, sensor)
    bare = replace(sensor, pde=pde, dark_count_rate=dark, dead_time=dead_time)
    return ForwardModel(bare, Exposure(flat.exposure.count_time, flat.frames))


def _pixels(rates: Floats, sd: Floats, flux: Floats, dark: tuple[Floats, Floats]) -> tuple[Floats, Floats, Floats]:
    """Response of each pixel, its standard deviation, and its dark rate: least squares with two unknowns a pixel.

    Args:
        dark: dark rates known beforehand, and their errors.
    """
    weight, flux = sd**-2, flux[:, None, None]
    a, b, c = (weight * flux**2).sum(axis=0), (weight * flux).sum(axis=0), weight.sum(axis=0) + dark[1] ** -2
    y, z = (weight * flux * rates).sum(axis=0), (weight * rates).sum(axis=0) + dark[0] * dark[1] ** -2
    determinant = a * c - b**2
    return (c * y - b * z) / determinant, np.sqrt(c / determinant), (a * z - b * y) / determinant


def _weak_pixels(fit: _Fit, good: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Mask (H, W) of pixels that respond too little, at 97.5 % certainty."""
    most = (fit.eta + WIDTH_95 * fit.eta_sd) / np.median(fit.eta[good])
    return np.where(most < DEAD_SHARE, DEAD, np.where(most < UNDER_SHARE, UNDER_RESPONDING, 0)).astype(np.int32)


def _shading(eta: Floats, good: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Shading (H, W) of the light, mean 1, and its relative standard deviation.

    It is a surface of second order through ln(eta), outliers left out.
    """
    used = good & (eta > 0)
    if used.sum() < _LEAST_PIXELS:
        return np.ones(eta.shape), np.zeros(eta.shape)
    row, column = np.meshgrid(*(np.linspace(-1, 1, size) for size in eta.shape), indexing="ij")
    terms = np.stack([np.ones_like(row), row, column, row**2, row * column, column**2], axis=-1)
    log = np.log(np.where(used, eta, 1))
    for _ in range(5):
        inverse = np.linalg.pinv(terms[used])
        surface = terms @ (inverse @ log[used])
        away = np.abs(log - surface)
        used &= away <= _OUTLYING * 1.4826 * np.median(away[used])
    factor, leverage = np.exp(surface), ((terms @ (inverse @ inverse.T)) * terms).sum(axis=-1)
    return factor / factor.mean(), np.sqrt(leverage) * float((log - surface)[used].std())


def _spread(eta: Floats, sd: Floats, good: NDArray[np.bool_]) -> Estimate:
    """Relative standard deviation of the response of good pixels, beyond their photon noise.

    It is the most likely one, if both are normally distributed.
    """
    centre = np.median(eta[good])
    square, noise = (eta[good] / centre - 1) ** 2, (sd[good] / centre) ** 2
    variance = 1.4826**2 * np.median(square)
    for _ in range(10):
        weight = (square <= _OUTLYING**2 * (variance + noise)) / (variance + noise) ** 2
        variance = max(weight @ (square - noise) / weight.sum(), 0.0)
    error = WIDTH_95 * np.sqrt(2 / weight.sum())
    value, low, high = (float(np.sqrt(max(variance + side * error, 0.0))) for side in (0, -1, 1))
    return Estimate(value, low, high, low > 0, "" if low > 0 else "less than the photon noise of the flats shows")


def _shrunk(eta: Floats, sd: Floats, spread: Estimate, centre: float) -> tuple[Floats, Floats]:
    """Response, drawn towards `centre` as far as its differences are likely to be noise, and its standard deviation.

    How likely, the spread of all pixels tells; outliers stay.

    Where the spread is not known well, the largest likely one gives the standard deviation.
    """
    trust, most = (np.maximum(one * centre, 1e-6) ** 2 for one in (spread.value, spread.high))
    trust, most = trust / (trust + sd**2), most / (most + sd**2)
    ordinary = np.abs(eta - centre) <= _OUTLYING * np.hypot(spread.high * centre, sd)
    return np.where(ordinary, centre + trust * (eta - centre), eta), np.where(ordinary, np.sqrt(most) * sd, sd)
