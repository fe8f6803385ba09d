"""What a pixel answers to a rate, and what rate an answer stands for: closed forms for binary and counting arrays.

Symbols: r = firing rate of an armed pixel (counts/s), T = exposure of one hardware frame, x = r T, tau = dead time,
b = tau / T, N = hardware frames summed, a = afterpulse probability.

Sources: Binary response and its inverse: Antolovic et al., IEEE TED 63 (2016) 57. Non-paralysable dead time: Mueller,
NIM 117 (1974) 401 (renewal process, live at t = 0). Afterpulsing between binary frames: a two-state Markov chain.
"""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from noise_model.sensor import Exposure, Sensor

#: A counting pixel that is blind for more than this share of the frame is saturated: its rate is reported at this load.
SATURATED_LOAD = 0.95

_ENDLESS = 1 << 40  # frames: no count is limited by their number


def afterpulse_in_frame(sensor: Sensor) -> float:
    """Chance that a filled trap is still filled when the dead time ends, so that it fires the pixel again."""
    if sensor.afterpulse_probability == 0 or sensor.trap_lifetime == 0:
        return 0.0
    return sensor.afterpulse_probability * math.exp(-sensor.dead_time / sensor.trap_lifetime)


def firing_rate(photon_rate: Tensor, sensor: Sensor) -> Tensor:
    """Rate at which the armed pixels fire: photons detected by a pixel of mean PDE (counts/s), spread by the PDE map,
    plus dark counts. Shapes (..., H, W)."""
    return photon_rate * (sensor.pde / sensor.mean_pde) + sensor.dark_count_rate


def photon_rate(rate: Tensor, sensor: Sensor) -> Tensor:
    """The inverse of `firing_rate`; below zero where fewer counts came than the dark rate promises."""
    return (rate - sensor.dark_count_rate) * (sensor.mean_pde / sensor.pde)


def fraction(rate: Tensor, exposure: Exposure, sensor: Sensor) -> Tensor:
    """Mean counts per hardware frame of a pixel firing at `rate`, before crosstalk."""
    x = rate * exposure.count_time
    if sensor.binary:
        p = -torch.expm1(-x)
        return p / (1 - sensor.afterpulse_probability * (1 - p))
    interval, excess = _intervals(x, exposure, sensor)
    return x / interval + excess


def expected_counts(rate: Tensor, exposure: Exposure, sensor: Sensor) -> Tensor:
    """Mean counts of an image summed from N frames, for firing rates (..., H, W) in counts/s, crosstalk included."""
    mean = fraction(rate, exposure, sensor)
    gain = _gain(mean, exposure, sensor)
    cascade = mean + gain * neighbours(mean, sensor)
    return exposure.cycles * (mean + gain * neighbours(cascade, sensor))


def detection_rate(counts: Tensor, exposure: Exposure, sensor: Sensor) -> tuple[Tensor, Tensor]:
    """Photon detection rate that counts (..., H, W) stand for, and its standard deviation.

    Crosstalk, dead time or pile-up, afterpulsing, dark rate and PDE map are taken out, in the order opposite to that
    in which the sensor put them in. Both are float32, in counts/s of a pixel of mean PDE, of the shape of `counts`. The
    rate is not clamped at zero: it would no longer be right on average.
    """
    observed = counts.to(torch.float32) / exposure.cycles
    indirect = neighbours(observed, sensor)
    mean = observed
    for _ in range(2):  # crosstalk is small: each pass shrinks the error by its size
        mean = observed - indirect * _gain(mean, exposure, sensor)
    rate, sd = (_binary_rate if sensor.binary else _counting_rate)(mean, exposure, sensor)
    return photon_rate(rate, sensor), sd * (sensor.mean_pde / sensor.pde)


def apparent_rate(photon_rate: Tensor, exposure: Exposure, sensor: Sensor, dark_rate: float) -> Tensor:
    """What a photon detection rate is taken for by someone who knows nothing of the sensor's crosstalk, afterpulsing
    and common dark rate (counts/s): they add to it, and nothing in a picture tells them from photons. Any shape.

    In double precision: a binary pixel that fires in all frames but one in 2^24 has no finite rate in single.
    """
    mean = fraction(photon_rate.double() + dark_rate, exposure, sensor)
    ideal = replace(sensor, afterpulse_probability=0.0)
    rate, _ = (_binary_rate if sensor.binary else _counting_rate)(mean, Exposure(exposure.count_time, _ENDLESS), ideal)
    return (rate * (1 + float(sensor.crosstalk.sum()))).to(photon_rate.dtype)


def neighbours(mean: Tensor, sensor: Sensor) -> Tensor:
    """Mean avalanches that neighbours firing `mean` times (..., H, W) would cause in each armed pixel."""
    shares = sensor.crosstalk_shares
    if not shares:
        return torch.zeros_like(mean)
    reach = sensor.crosstalk.shape[-1] // 2
    around = F.pad(mean, (reach, reach, reach, reach))
    height, width = mean.shape[-2:]
    total = torch.zeros_like(mean)
    for down, right, share in shares:
        # What the centre does to the pixel at (down, right), a pixel suffers from the one opposite.
        top, left = reach - down, reach - right
        total.add_(around[..., top : top + height, left : left + width], alpha=share)
    return total


def _gain(mean: Tensor, exposure: Exposure, sensor: Sensor) -> Tensor:
    """What an avalanche caused by a neighbour adds to a pixel of `mean` counts a frame: see `noise_model.crosstalk`."""
    if sensor.binary:
        a = sensor.afterpulse_probability
        return (1 - mean) * (1 - a * mean) / (1 - a)
    live = (1 - mean * (sensor.dead_time / exposure.count_time)).clamp(min=0)
    return live.square() / (1 - afterpulse_in_frame(sensor))


def _binary_rate(mean: Tensor, exposure: Exposure, sensor: Sensor) -> tuple[Tensor, Tensor]:
    n, a = exposure.cycles, sensor.afterpulse_probability
    mean = mean.clamp(max=1 - 0.5 / n)  # all N frames fired: the rate at which that is an even chance, roughly
    p = mean * (1 - a) / (1 - a * mean)
    x = -torch.log1p(-p)
    seen = ((mean * n + 0.5) / (n + 1)).clamp(min=0.5 / (n + 1))  # no counts are not a sure zero
    p_seen = seen * (1 - a) / (1 - a * seen)
    slope = (1 - a) / (1 - a * seen).square() / (1 - p_seen)
    rho = a * (1 - p_seen)
    variance = seen * (1 - seen) / n * (1 + rho) / (1 - rho)
    return x / exposure.count_time, slope * variance.sqrt() / exposure.count_time


def _counting_rate(mean: Tensor, exposure: Exposure, sensor: Sensor) -> tuple[Tensor, Tensor]:
    b = sensor.dead_time / exposure.count_time
    seen = (mean + 0.5 / exposure.cycles).clamp(min=0.5 / exposure.cycles)  # no counts are not a sure zero
    if sensor.dead_time > 0:
        mean, seen = mean.clamp(max=SATURATED_LOAD / b), seen.clamp(max=SATURATED_LOAD / b)
    x = mean / (1 - mean * b)
    for _ in range(3):  # the corrections are small: each pass shrinks the error by their size
        interval, excess = _intervals(x.clamp(min=0), exposure, sensor)
        rearmed = interval - x.clamp(min=0) * b
        x = (mean - excess) * rearmed / (1 - (mean - excess) * b)
    x_seen = seen / (1 - seen * b)
    sd = torch.sqrt(x_seen * (1 + x_seen * b) / exposure.cycles) * (1 - afterpulse_in_frame(sensor))
    return x / exposure.count_time, sd / exposure.count_time


def _intervals(x: Tensor, exposure: Exposure, sensor: Sensor) -> tuple[Tensor, Tensor]:
    """Mean interval between avalanches, in units of 1 / r, and the counts a frame gains over T / interval because it
    starts armed, with no trap filled.

    A filled trap fires the pixel unless it empties in a dead time: the one that filled it, or those of photons that
    came first. Traps that would have been filled before the frame are missing at its start.
    """
    a = afterpulse_in_frame(sensor)
    load = x * (sensor.dead_time / exposure.count_time)
    if a == 0:
        return 1 + load, 0.5 * (load / (1 + load)).square()
    release = exposure.count_time / sensor.trap_lifetime
    overtaken = x * -math.expm1(-sensor.dead_time / sensor.trap_lifetime)
    a_armed = a * release / (release + overtaken)
    missing = x / release * -_expm1(-release)
    interval = 1 - a_armed + load
    return interval, (load.square() - 2 * a_armed * (load + missing)) / (2 * interval.square())


def _expm1(x: float | Tensor) -> float | Tensor:
    return x.expm1() if isinstance(x, Tensor) else math.expm1(x)  # a tensor where exposures are inputs of a graph
