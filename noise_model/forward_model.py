"""The forward model: how a sensor turns light into counts, and its inverse, for binary and counting arrays.

Symbols: r = firing rate of an armed pixel (counts/s), T = exposure of one hardware frame, x = r T, tau = dead time,
b = tau / T, N = hardware frames summed, a = afterpulse probability.

Sources: Binary response and its inverse: Antolovic et al., IEEE TED 63 (2016) 57. Non-paralysable dead time: Mueller,
NIM 117 (1974) 401 (renewal process, live at t = 0). Afterpulsing between binary frames: a two-state Markov chain.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from noise_model.arrays import Floats
from noise_model.count_law import CountLaw, count_law
from noise_model.errors import InputError
from noise_model.laws import CountingProcess
from noise_model.moments import moments
from noise_model.sensor import Exposure, Sensor

#: A counting pixel that is blind for more than this share of the frame is saturated: its rate is reported at this load.
SATURATED_LOAD = 0.95

_ENDLESS = 1 << 40  # frames: no count is limited by their number


@dataclass(frozen=True)
class ForwardModel:
    """A sensor in an exposure: counts from photon rates, and photon rates from counts.

    Photon rates are detections per second of a pixel of mean PDE: without a power meter only the product of efficiency
    and flux can be known. They and counts are tensors (..., H, W) on the device of the sensor's maps.
    """

    sensor: Sensor
    exposure: Exposure

    @property
    def process(self) -> CountingProcess:
        """The numbers that the law of the counts depends on, beside the rate at which a pixel fires.

        Raises:
            InputError: the exposure is a map: pixels with different numbers of frames have different laws.
        """
        if self.exposure.map is not None:
            raise InputError("cycles is a map; expected one number for all pixels", "cycles")
        sensor, time = self.sensor, self.exposure.count_time
        return CountingProcess(
            cycles=self.exposure.most_cycles,
            relative_dead_time=0.0 if sensor.binary else sensor.dead_time / time,
            afterpulse=sensor.afterpulse_probability if sensor.binary else sensor.afterpulse_in_frame,
            relative_trap_lifetime=0.0 if sensor.binary else sensor.trap_lifetime / time,
            counter_bits=sensor.counter_bits,
            counter_wraps=sensor.counter_wraps and not sensor.binary,
        )

    @property
    def good(self) -> Tensor:
        """(H, W) bool: pixels whose mask is clear and that looked in one frame or more."""
        cycles = self.exposure.map
        return self.sensor.good if cycles is None else self.sensor.good & (cycles > 0)

    def to(self, device: torch.device | str) -> "ForwardModel":
        """The same model with its maps on `device`."""
        cycles = self.exposure.map
        exposure = self.exposure if cycles is None else replace(self.exposure, cycles=cycles.to(device))
        return ForwardModel(self.sensor.to(device), exposure)

    def expected_counts(self, photon_rate: Tensor) -> Tensor:
        """Mean counts of an image summed from N frames."""
        return self._expected_counts(self.sensor.firing_rate(photon_rate))

    def sample(self, photon_rate: Tensor, generator: torch.Generator) -> Tensor:
        """Random counts (int32) of images summed from N frames, with every effect of the sensor.

        Where N is a map, frames come in parts of a power of two each, and every pixel counts in its own parts alone.

        Args:
            generator: the only source of randomness, on the device of the rates.
        """
        if self.exposure.map is not None:
            total = torch.zeros(photon_rate.shape, dtype=torch.int32, device=photon_rate.device)
            for exposure, pixels in self.exposure.parts():
                total = total + replace(self, exposure=exposure).sample(photon_rate, generator) * pixels.to(total.dtype)
            return total
        from noise_model.sampling import draw_counts  # numba takes long to load, and nothing else here needs it

        time = self.exposure.count_time
        gain, dark = self.sensor.pde / self.sensor.mean_pde * time, self.sensor.dark_count_rate * time
        return draw_counts(photon_rate, gain, dark, self.process, self.sensor.crosstalk, generator)

    def law(self) -> CountLaw:
        """The law of the counts of one image before crosstalk, tabulated over rates."""
        return count_law(self.process)

    def moments(self, photon_rate: Tensor) -> tuple[Floats, Floats, Floats]:
        """Mean, variance and fourth central moment of the counts of an image; rates on the CPU.

        Crosstalk makes a pixel fire at a higher rate: its counts have the law of that rate.
        """
        if self.exposure.map is not None:
            return self._moments_of_parts(photon_rate)
        firing = self.sensor.firing_rate(photon_rate).double()
        x = (firing * self.exposure.count_time).numpy()
        law = moments(self.process, float(x.max()))
        mean = np.interp(x, law.x, law.mean)
        if bool((self.sensor.crosstalk != 0).any()):
            alone = self.exposure.most_cycles * self.mean_per_frame(firing)
            mean += (self._expected_counts(firing) - alone).numpy()
            x = np.interp(mean, law.mean, law.x)
        return mean, np.interp(x, law.x, law.variance), np.interp(x, law.x, law.fourth)

    def detection_rate(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Photon detection rate estimated from counts, and its standard deviation, both float32 in counts/s.

        Crosstalk, dead time or pile-up, afterpulsing, dark rate and PDE map are corrected, in the reverse of the order
        in which they act in the sensor. The rate is not clamped at zero: that would bias its mean.
        A pixel that never looked has the rate of no counts in one frame.
        """
        observed = counts.to(torch.float32) / self._frames
        indirect = self.sensor.fired_by_neighbours(observed)
        mean = observed
        for _ in range(2):  # crosstalk is small: each pass shrinks the error by its size
            mean = observed - indirect * self._gain(mean)
        rate, sd = self._firing_rate(mean)
        return self.sensor.photon_rate(rate), sd * (self.sensor.mean_pde / self.sensor.pde)

    def apparent_rate(self, photon_rate: Tensor, dark_rate: float) -> Tensor:
        """Photon rate that counts seem to stand for where the sensor is not known; any shape.

        Crosstalk, afterpulsing and a common dark rate (counts/s) add to it: nothing in a picture tells them from
        photons. Computed in double precision: a binary pixel that fires in all frames but one in 2^24 has no finite
        rate in single.
        """
        mean = self.mean_per_frame(photon_rate.double() + dark_rate)
        ideal = ForwardModel(replace(self.sensor, afterpulse_probability=0.0), replace(self.exposure, cycles=_ENDLESS))
        rate, _ = ideal._firing_rate(mean)
        return (rate * (1 + float(self.sensor.crosstalk.sum()))).to(photon_rate.dtype)

    def mean_per_frame(self, firing_rate: Tensor) -> Tensor:
        """Mean counts per hardware frame of pixels that fire at a rate (counts/s) when armed, before crosstalk."""
        x = firing_rate * self.exposure.count_time
        if self.sensor.binary:
            p = -torch.expm1(-x)
            return p / (1 - self.sensor.afterpulse_probability * (1 - p))
        interval, excess = self._intervals(x)
        return x / interval + excess

    @property
    def _frames(self) -> int | Tensor:
        """The frames to divide counts by: 1 for pixels that never looked."""
        cycles = self.exposure.map
        return self.exposure.cycles if cycles is None else cycles.clamp(min=1).to(torch.float32)

    def _moments_of_parts(self, photon_rate: Tensor) -> tuple[Floats, Floats, Floats]:
        """Mean, variance and fourth central moment where N is a map: cumulants of the parts add up."""
        mean, variance, fourth_cumulant = (np.zeros(photon_rate.shape) for _ in range(3))
        for exposure, pixels in self.exposure.parts():
            of_part = replace(self, exposure=exposure).moments(photon_rate)
            counted = pixels.cpu().numpy()
            mean += counted * of_part[0]
            variance += counted * of_part[1]
            fourth_cumulant += counted * (of_part[2] - 3 * of_part[1] ** 2)
        return mean, variance, fourth_cumulant + 3 * variance**2

    def _expected_counts(self, firing_rate: Tensor) -> Tensor:
        mean = self.mean_per_frame(firing_rate)
        gain = self._gain(mean)
        cascade = mean + gain * self.sensor.fired_by_neighbours(mean)
        return self.exposure.cycles * (mean + gain * self.sensor.fired_by_neighbours(cascade))

    def _gain(self, mean: Tensor) -> Tensor:
        """Counts that an avalanche fired by a neighbour adds to a pixel of `mean` counts a frame.

        See `noise_model.crosstalk`.
        """
        if self.sensor.binary:
            a = self.sensor.afterpulse_probability
            return (1 - mean) * (1 - a * mean) / (1 - a)
        live = (1 - mean * (self.sensor.dead_time / self.exposure.count_time)).clamp(min=0)
        return live.square() / (1 - self.sensor.afterpulse_in_frame)

    def _firing_rate(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Firing rate of pixels of `mean` counts a frame, without crosstalk, and its standard deviation, counts/s."""
        x, sd = self._binary_rate(mean) if self.sensor.binary else self._counting_rate(mean)
        return x / self.exposure.count_time, sd / self.exposure.count_time

    def _binary_rate(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        n, a = self._frames, self.sensor.afterpulse_probability
        mean = mean.clamp(max=1 - 0.5 / n)  # if all N frames fired: roughly the rate at which the chance of that is 1/2
        p = mean * (1 - a) / (1 - a * mean)
        seen = ((mean * n + 0.5) / (n + 1)).clamp(min=0.5 / (n + 1))  # a count of 0 does not prove a rate of 0
        p_seen = seen * (1 - a) / (1 - a * seen)
        slope = (1 - a) / (1 - a * seen).square() / (1 - p_seen)
        rho = a * (1 - p_seen)
        variance = seen * (1 - seen) / n * (1 + rho) / (1 - rho)
        return -torch.log1p(-p), slope * variance.sqrt()

    def _counting_rate(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        n, b = self._frames, self.sensor.dead_time / self.exposure.count_time
        seen = (mean + 0.5 / n).clamp(min=0.5 / n)  # a count of 0 does not prove a rate of 0
        if self.sensor.dead_time > 0:
            mean, seen = mean.clamp(max=SATURATED_LOAD / b), seen.clamp(max=SATURATED_LOAD / b)
        x = mean / (1 - mean * b)
        for _ in range(3):  # the corrections are small: each pass shrinks the error by their size
            interval, excess = self._intervals(x.clamp(min=0))
            rearmed = interval - x.clamp(min=0) * b
            x = (mean - excess) * rearmed / (1 - (mean - excess) * b)
        x_seen = seen / (1 - seen * b)
        return x, torch.sqrt(x_seen * (1 + x_seen * b) / n) * (1 - self.sensor.afterpulse_in_frame)

    def _intervals(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean interval between avalanches of a counting pixel, and the counts that a frame gains at its start.

        The interval is in units of 1 / r. The gain is over T / interval: a frame starts armed, with no trap filled.

        A filled trap fires the pixel unless it empties during a dead time: the one in which it was filled, or one of
        photons that came before its release. At the start of a frame, traps filled by earlier avalanches are missing.
        """
        sensor, time = self.sensor, self.exposure.count_time
        a = sensor.afterpulse_in_frame
        load = x * (sensor.dead_time / time)
        if a == 0:
            return 1 + load, 0.5 * (load / (1 + load)).square()
        release = time / sensor.trap_lifetime
        overtaken = x * -math.expm1(-sensor.dead_time / sensor.trap_lifetime)
        a_armed = a * release / (release + overtaken)
        missing = x / release * -_expm1(-release)
        interval = 1 - a_armed + load
        return interval, (load.square() - 2 * a_armed * (load + missing)) / (2 * interval.square())


def _expm1(x: float | Tensor) -> float | Tensor:
    return x.expm1() if isinstance(x, Tensor) else math.expm1(x)  # a tensor where exposures are inputs of a graph
