"""Recordings that calibration refuses, because the result would be wrong without looking so, and what to do instead."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from noise_model.arrays import Floats
from noise_model.calibration.streams import Stream, StreamStatistics
from noise_model.errors import InputError
from noise_model.forward_model import SATURATED_LOAD
from noise_model.sensor import Sensor

#: The light of a flat may change by this share of its mean from end to end, if linearly; other changes are measured by
#: the standard deviation of the segments that they lead to. A smaller change is corrected: all pixels have it in
#: common.
MOST_DRIFT = 0.02

#: Drift counts as real where the chance that shot noise scatters the segments as widely is less than this.
DRIFT_BY_CHANCE = 1e-6

#: Share of a flat's good pixels that may be saturated, and of a counting pixel's images that may be at the ceiling.
MOST_SATURATED = 0.01

#: Least counts of a flat's median pixel: a hundred give its sensitivity to 10 %.
LEAST_COUNTS = 100

#: Share of all counts that the brightest tenth of a flat's pixels may have: more, and it shows dark counts, not light.
MOST_UNEVEN = 0.5

#: How much brighter than every dark each flat must be, in the rate of its median pixel.
LEAST_CONTRAST = 2.0

Kind = Literal["dark", "flat"]


def refuse(recording: Stream | StreamStatistics, kind: Kind, sensor: Sensor | None = None) -> None:
    """Refuses a recording that cannot be used: by its header (Stream), or by its counts (StreamStatistics).

    Args:
        sensor: only its good pixels are looked at.

    Raises:
        InputError: it cannot be used for calibration.
    """
    if isinstance(recording, Stream):
        _refuse_processed(recording)
    elif kind == "flat":
        _refuse_dim(recording, _good(recording, sensor))
        _refuse_saturated(recording, sensor)
        _refuse_drifting(recording)


def refuse_mixture(darks: Sequence[StreamStatistics], flats: Sequence[StreamStatistics], sensor: Sensor) -> None:
    """Refuses recordings that do not belong to one calibration.

    Args:
        sensor: the preset they are to calibrate.

    Raises:
        InputError: they are not of one array in one mode, or a flat is hardly brighter than a dark.
    """
    everything = [*darks, *flats]
    for one in everything:
        _refuse_other_array(one, everything[0], sensor)
    told = [one for one in everything if one.dead_time is not None]
    for one in told:
        _refuse_other_dead_time(one, told[0])
    for flat in flats:
        for dark in darks:
            _refuse_hardly_brighter(flat, dark)


def drift(statistics: StreamStatistics) -> tuple[float, float]:
    """Drift of the light during a recording, and the probability that shot noise alone looks like it.

    The change is that of a linear drift, end to end and relative to the mean, whose segments would scatter as much:
    the square root of 12 times their standard deviation beyond shot noise.
    """
    if len(statistics.segment_images) < 2:
        return 0.0, 1.0
    images = statistics.segment_images
    rate = statistics.segment_counts / images
    mean = statistics.segment_counts.sum() / images.sum()
    shot = statistics.variance.sum() / images
    away = np.square(rate - mean)
    excess = away.mean() - shot.mean()
    chance = float(chdtrc(len(images) - 1, (away / shot).sum()))
    return math.sqrt(12 * max(excess, 0)) / max(mean, 1e-300), chance


def _refuse_processed(stream: Stream) -> None:
    if stream.corrected:
        raise InputError(
            f"{stream.name}: dead-time corrected counts; their scatter is no longer that of the sensor:"
            " record it again with the correction off"
        )
    if stream.background_subtracted:
        raise InputError(
            f"{stream.name}: a background was subtracted; dark counts and shot noise no longer fit:"
            " record it again with background subtraction off"
        )
    if stream.peak_normalised:
        raise InputError(
            f"{stream.name}: peak-normalised images; how bright they were is lost: export the integer counts"
        )


def _refuse_dim(flat: StreamStatistics, good: NDArray[np.bool_]) -> None:
    counts = np.sort(flat.total[good])
    if counts.size == 0:
        raise InputError(f"{flat.name}: no good pixel is left; check the pixel mask of the sensor")
    median = float(np.median(counts))
    if median < LEAST_COUNTS:
        raise InputError(
            f"{flat.name}: too dark for a flat: {median:.3g} counts in the median pixel, expected {LEAST_COUNTS} or"
            " more; record longer or with more light, or give it as a dark"
        )
    share = counts[-math.ceil(counts.size / 10) :].sum() / counts.sum()
    if share > MOST_UNEVEN:
        raise InputError(
            f"{flat.name}: not a flat: a tenth of the pixels has {share:.0%} of the counts, expected {MOST_UNEVEN:.0%}"
            " or less; light all pixels evenly, or give it as a dark"
        )


def _refuse_saturated(flat: StreamStatistics, sensor: Sensor | None) -> None:
    full = _share_blind(flat) > SATURATED_LOAD
    if not flat.binary:
        full |= flat.saturated > MOST_SATURATED * flat.images
    share = float(full[_good(flat, sensor)].mean())
    if share > MOST_SATURATED:
        raise InputError(
            f"{flat.name}: saturated: {share:.1%} of the pixels are full or blind for more than {SATURATED_LOAD:.0%} of"
            f" the time, expected {MOST_SATURATED:.0%} or less; take the flat with less light"
        )


def _share_blind(flat: StreamStatistics) -> Floats:
    """Share (H, W) of its frames, or of its time, for which a pixel is blind.

    Where the dead time is not known, it follows from the Fano factor (1 - share)^2.
    """
    if not flat.binary and flat.dead_time is None:
        fano = np.divide(flat.variance, flat.mean, out=np.ones(flat.shape), where=flat.total > 0)
        return 1 - np.sqrt(np.fmin(fano, 1))
    counts = flat.mean / flat.exposure.cycles
    return counts if flat.binary else counts * ((flat.dead_time or 0) / flat.exposure.count_time)


def _refuse_drifting(flat: StreamStatistics) -> None:
    change, chance = drift(flat)
    if change > MOST_DRIFT and chance < DRIFT_BY_CHANCE:
        raise InputError(
            f"{flat.name}: the light drifted by {change:.1%} (from the scatter of {len(flat.segment_images)} segments),"
            f" expected {MOST_DRIFT:.0%} or less; let the source warm up, or take a shorter flat"
        )


def _good(recording: StreamStatistics, sensor: Sensor | None) -> NDArray[np.bool_]:
    return np.ones(recording.shape, dtype=np.bool_) if sensor is None else np.asarray(sensor.good.cpu().numpy())


def _refuse_other_array(one: StreamStatistics, first: StreamStatistics, sensor: Sensor) -> None:
    if one.shape != first.shape:
        raise InputError(
            f"{one.name}: images of {one.shape[0]}x{one.shape[1]} pixels, but {first.name} has"
            f" {first.shape[0]}x{first.shape[1]}; calibrate one array, with one region, at a time"
        )
    if one.binary != sensor.binary:
        raise InputError(
            f"{one.name}: {_mode(one.binary)}, but the sensor to start from, {sensor.name}, is {_mode(sensor.binary)};"
            " choose the preset of this array, or correct the counter bits"
        )


def _mode(binary: bool) -> str:
    return "a binary array" if binary else "a counting array"


def _refuse_other_dead_time(one: StreamStatistics, first: StreamStatistics) -> None:
    a, b = one.dead_time or 0.0, first.dead_time or 0.0
    if not math.isclose(a, b, rel_tol=1e-3):
        raise InputError(
            f"{one.name}: dead time of {a * 1e9:.4g} ns, but {first.name} has {b * 1e9:.4g} ns;"
            " calibrate one setting of the array at a time"
        )


def _refuse_hardly_brighter(flat: StreamStatistics, dark: StreamStatistics) -> None:
    rates = [float(np.median(one.total)) / one.live_time for one in (flat, dark)]
    if rates[0] < LEAST_CONTRAST * rates[1]:
        raise InputError(
            f"{flat.name}: hardly brighter than {dark.name}: {rates[0]:.3g} against {rates[1]:.3g} counts/s in the"
            f" median pixel, expected {LEAST_CONTRAST:g} times as many or more; were flat and dark swapped?"
        )
