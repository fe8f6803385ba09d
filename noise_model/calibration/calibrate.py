"""Calibration of a sensor from dark recordings and flats: every number has an interval, or is marked as assumed.

Each estimate depends a little on the others: dark counts contain afterpulses and crosstalk, and the scatter of a flat's
counts depends on both dead time and afterpulsing. They are estimated in turn, each with the latest values of the
others, for a few rounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.calibration.crosstalk import Kernel, crosstalk_kernel
from noise_model.calibration.dark import DarkMap, dark_map
from noise_model.calibration.dark_doubts import doubts
from noise_model.calibration.flats import FlatMap, flat_map
from noise_model.calibration.pooling import WIDTH_95, joined, pooled, usable
from noise_model.calibration.pulses import afterpulsing, dead_time
from noise_model.calibration.refusals import refuse, refuse_mixture
from noise_model.calibration.streams import LAGS, StreamStatistics
from noise_model.errors import InputError
from noise_model.estimates import Estimate
from noise_model.sensor import DEAD, UNDER_RESPONDING, Sensor

_ROUNDS = 2  # the second uses all results of the first; a third would change next to nothing
_USUAL_SPREAD = 0.03  # of PDE maps, relative
_LEAST_PDE = 1e-3  # of a dead pixel, relative to the mean: a sensor may have no pixel with a PDE of 0
_NO_FLATS = "no flats were given"


@dataclass(frozen=True)
class Calibration:
    """A calibrated sensor with its estimates, and the recordings it was found from.

    Attributes:
        sensor: as estimated; numbers that the recordings do not tell are those of the preset.
        estimates: by name; the sensor holds them too.
        dark_low, dark_high: (H, W) 95 % credible interval of the dark count rate, cps.
        pde_low, pde_high: (H, W) 95 % interval of the PDE, relative to its mean.
        shading: (H, W) of the light, mean 1, which was divided out of the PDE map.
        crosstalk: kernel and ends of its 95 % interval, (5, 5) each.
        flux: of each flat, detections/s of a pixel of mean PDE.
        autocorrelation: lags in images, correlation of the flats' counts that far apart, and its standard error.
        darks, flats: the recordings.
        remarks: sentences on what the recordings could not tell, and on what else was noticed.
    """

    sensor: Sensor
    estimates: dict[str, Estimate]
    dark_low: Floats
    dark_high: Floats
    pde_low: Floats
    pde_high: Floats
    shading: Floats
    crosstalk: tuple[Floats, Floats, Floats]
    flux: list[Estimate]
    autocorrelation: tuple[NDArray[np.int64], Floats, Floats]
    darks: tuple[StreamStatistics, ...]
    flats: tuple[StreamStatistics, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Round:
    """The sensor after one round of estimates, and these."""

    sensor: Sensor
    dark: DarkMap
    dead_time: Estimate
    afterpulsing: Estimate
    kernel: Kernel
    flat: FlatMap


def calibrate(darks: Sequence[StreamStatistics], flats: Sequence[StreamStatistics], preset: Sensor) -> Calibration:
    """Estimates a sensor from recordings in the dark and of even light.

    Args:
        darks: one or more, without light.
        flats: any number, of even and steady light, at best of three fluxes and more; without one, nothing but the
            dark count rates is measured.
        preset: a sensor of the same kind, binary or counting, of any shape, for what the recordings do not tell.

    Raises:
        InputError: the recordings are not of one array, or one cannot be used.
    """
    if not darks:
        raise InputError("no dark: calibration needs one recording or more without light")
    refuse_mixture(darks, flats, preset)
    sensor = _first_sensor(darks, flats, preset)
    kernel = _assumed_kernel(sensor)
    for _ in range(_ROUNDS):
        found = _round(darks, flats, sensor, kernel)
        sensor, kernel = found.sensor, found.kernel
    estimates = _estimates(found, bool(flats))
    sources = ", ".join(one.name for one in (*darks, *flats))
    return Calibration(
        sensor=replace(sensor, source=f"calibrated from {sources}", measured=True, estimates=estimates),
        estimates=estimates,
        dark_low=found.dark.low,
        dark_high=found.dark.high,
        pde_low=found.flat.low,
        pde_high=found.flat.high,
        shading=found.flat.shading,
        crosstalk=found.kernel[:3],
        flux=list(found.flat.flux),
        autocorrelation=_autocorrelation(flats, sensor),
        darks=tuple(darks),
        flats=tuple(flats),
        remarks=(
            *found.dark.remarks,
            *doubts(darks, float(preset.dark_count_rate.median())),
            *_remarks(found, bool(flats)),
        ),
    )


def _first_sensor(darks: Sequence[StreamStatistics], flats: Sequence[StreamStatistics], preset: Sensor) -> Sensor:
    """The sensor to start from: the preset's numbers, overruled by what the headers say."""
    first, dead_time = darks[0], _header_dead_time([*darks, *flats])
    sensor = replace(preset.uniform(first.shape), counter_bits=first.counter_bits, estimates={})
    return sensor if dead_time is None else replace(sensor, dead_time=dead_time)


def _header_dead_time(recordings: Sequence[StreamStatistics]) -> float | None:
    """Dead time in the headers, s; None where no header says it."""
    return next((one.dead_time for one in recordings if one.dead_time is not None), None)


def _round(
    darks: Sequence[StreamStatistics], flats: Sequence[StreamStatistics], sensor: Sensor, kernel: Kernel
) -> _Round:
    """Every estimate once, given the sensor and the kernel known so far."""
    dark = dark_map(darks, sensor, _kernel_error(kernel))
    mask = torch.from_numpy(dark.mask | _unresponsive(sensor))
    sensor = replace(sensor, dark_count_rate=_as_map(dark.rate), pixel_mask=mask)
    for flat in flats:
        refuse(flat, "flat", sensor)
    blind = _dead_time(_header_dead_time([*darks, *flats]), flats, sensor)
    sensor = replace(sensor, dead_time=blind.value)
    pulses = afterpulsing(flats, sensor) if flats else _assumed(sensor.afterpulse_probability, _NO_FLATS)
    sensor = replace(sensor, afterpulse_probability=pulses.value)
    kernel = crosstalk_kernel(flats, sensor) if flats else _assumed_kernel(sensor)
    sensor = replace(sensor, crosstalk=_as_map(kernel[0]))
    flat_found = flat_map(flats, dark, sensor) if flats else _assumed_flat_map(sensor.shape)
    return _Round(_responding(sensor, dark, flat_found), dark, blind, pulses, kernel, flat_found)


def _responding(sensor: Sensor, dark: DarkMap, flat: FlatMap) -> Sensor:
    """The sensor with the PDE map of the flats, and a mask of all bad pixels."""
    relative = flat.pde.clip(min=_LEAST_PDE)
    pde = _as_map(relative * (float(sensor.mean_pde) / relative.mean())).clamp(max=1)
    return replace(sensor, pde=pde, pixel_mask=torch.from_numpy(dark.mask | flat.mask))


def _as_map(values: Floats) -> torch.Tensor:
    return torch.from_numpy(values).float()


def _unresponsive(sensor: Sensor) -> NDArray[np.int32]:
    """Mask (H, W) of pixels that the round before found dead or under-responding."""
    if sensor.pixel_mask is None:
        return np.zeros(sensor.shape, dtype=np.int32)
    return sensor.pixel_mask.numpy() & (DEAD | UNDER_RESPONDING)


def _dead_time(in_header: float | None, flats: Sequence[StreamStatistics], sensor: Sensor) -> Estimate:
    if sensor.binary:
        return Estimate(0.0, 0.0, 0.0, True, "a binary array has none")
    if in_header is not None:
        return Estimate(in_header, in_header, in_header, True, "from the header")
    return dead_time(flats, sensor) if flats else _assumed(sensor.dead_time, f"{_NO_FLATS}, and no header says it")


def _assumed(value: float, why: str) -> Estimate:
    return Estimate(value, value, value, False, why)


def _assumed_kernel(sensor: Sensor) -> Kernel:
    padded = np.pad(sensor.crosstalk.double().numpy(), 2)
    first = padded.shape[0] // 2 - 2
    kernel = padded[first : first + 5, first : first + 5]
    return kernel, kernel, kernel, False, _NO_FLATS


def _kernel_error(kernel: Kernel) -> Floats:
    """Standard errors (5, 5) of a kernel.

    An assumed one may be wrong by its whole value, or by as much as the interval allows.
    """
    value, low, high, measured, _ = kernel
    reach = (high - low) / 2 if measured else np.maximum(high - value, value - low)
    error = np.where(np.isfinite(reach), reach, 0) / WIDTH_95
    return error if measured else np.maximum(error, value)


def _assumed_flat_map(shape: tuple[int, int]) -> FlatMap:
    """The flat map of an array of which no flat was taken: even, with the usual spread."""
    ones, reach = np.ones(shape), WIDTH_95 * _USUAL_SPREAD
    spread = _assumed(_USUAL_SPREAD, f"{_NO_FLATS}; usual")
    return FlatMap(ones, ones - reach, ones + reach, np.zeros(shape, dtype=np.int32), ones, (), spread)


def _estimates(found: _Round, with_flats: bool) -> dict[str, Estimate]:
    sensor = found.sensor
    traps = _assumed(sensor.trap_lifetime, "of the preset: the scatter of counts hardly depends on it")
    why = "the preset's: without a power meter only its product with the flux shows" if with_flats else _NO_FLATS
    return {
        "dead_time": found.dead_time,
        "afterpulse_probability": _as_probability(found.afterpulsing),
        **({} if sensor.binary else {"trap_lifetime": traps}),
        "crosstalk_nearest": _as_probability(_nearest_crosstalk(found.kernel)),
        **found.dark.estimates,
        "pde_mean": _assumed(float(sensor.mean_pde), why),
        "pde_spread": found.flat.spread,
    }


def _as_probability(estimate: Estimate) -> Estimate:
    """The estimate with its interval cut to 0 to 1, also where nothing is known of it."""
    return replace(estimate, low=max(estimate.low, 0.0), high=min(estimate.high, 1.0))


def _nearest_crosstalk(kernel: Kernel) -> Estimate:
    """Mean crosstalk to the neighbours below and beside, where there are some; a kernel is symmetric.

    The interval is that of the recordings, also around a value that is assumed."""
    value, low, high, measured, remark = kernel
    at = [place for place in ((3, 2), (2, 3)) if np.isfinite(high[place])]
    if not at:
        return Estimate(float(value[2, 3]), 0.0, 1.0, measured, remark)
    mean = float(np.mean([value[place] for place in at]))
    middle = float(np.mean([low[place] + high[place] for place in at])) / 2
    reach = float(np.linalg.norm([high[place] - low[place] for place in at])) / (2 * len(at))
    return Estimate(mean, middle - reach, middle + reach, measured, remark)


def _autocorrelation(flats: Sequence[StreamStatistics], sensor: Sensor) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Lags, correlation of all flats' images that far apart, and its standard error.

    Lags that no flat is long enough for are left out.
    """
    found = {}
    for index, lag in enumerate(LAGS):
        parts = []
        for flat in flats:
            good = usable(flat, sensor)
            if flat.images > 2 * lag:
                correlation = (flat.lag_covariance[index] / flat.variance)[good]
                parts.append(pooled(correlation, np.ones(correlation.shape)))
        if parts:
            found[lag] = joined(parts)
    values = np.array([[one.value, one.error] for one in found.values()]).reshape(-1, 2)
    return np.array(list(found), dtype=np.int64), values[:, 0], values[:, 1]


def _remarks(found: _Round, with_flats: bool) -> tuple[str, ...]:
    if not with_flats:
        return (
            f"No flats: the PDE map is assumed to be even, at the preset's mean of {float(found.sensor.mean_pde):.3g}.",
        )
    swing = float(np.ptp(found.flat.shading))
    return (
        f"The light's shading, a surface of second order with a range of {swing:.1%}, is divided out of the PDE map;"
        " so is whatever of the PDE varies as slowly.",
    )
