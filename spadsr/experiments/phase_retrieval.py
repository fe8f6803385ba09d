"""Phase retrieval from photon counts: the complex object that explains the counts of all LEDs best.

The likelihood of counts, through the sensor's response, is climbed by preconditioned steps with momentum. Coefficients
that hardly a photon tells of are held by a spectral prior. Restoring every image before makes it worse, by 1 to 5 dB.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from noise_model.arrays import Floats
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.progress import Report, silent
from noise_model.sensor import Exposure, Sensor
from noise_model.tensors import repeated
from spadsr.experiments.ptychography import Geometry, Optics, seen_by_pixels

#: Power of a spectrum over that of its mean, at one period over the field; it falls with the third power of frequency.
#: Measured on a reconstruction of blood cells from images without noise, in green light; red gives 0.017.
PRIOR_POWER = 0.02

#: LEDs weigh by this power of their exposure. Inverse variances (1) would trust the brightest alone, whose model errs.
WEIGHT_POWER = 0.25

#: Enough at 1 to 256 frames; more change the object by less than its noise.
ITERATIONS = 30

_MOMENTUM = 0.8
_WARM_UP = 4  # iterations without momentum; then the pupil may follow, too
_LARGEST_RATIO = 3.0  # standard deviations and amplitudes, by which counts may exceed what the model expects in a step
_NOTHING = 1e-6  # of a weight


@dataclass(frozen=True)
class Reconstruction:
    """A complex object.

    Attributes:
        field: (samples, samples) complex64; the square of its modulus is the rate, counts/s, that a pixel of one
            sample would detect of it under an LED of brightness 1.
        standard_deviation: of the real and the imaginary part of every sample, from photon noise and prior.
        spectrum, spectrum_sd: (samples, samples) its coefficients, zero frequency in the middle, and the standard
            deviation of the real and imaginary parts of each.
        pupil: (side, side) complex64, the one given or the one recovered.
    """

    field: Tensor
    standard_deviation: float
    spectrum: Tensor
    spectrum_sd: Tensor
    pupil: Tensor


@dataclass(frozen=True)
class Ptychography:
    """A microscope with an array of LEDs.

    Attributes:
        leds: (LEDs, 2) direction cosines of the light of each, right and down in the images; see
            `spadsr.experiments.ptychography.directions_through_slide`.
        wavelength: m.
        aperture: numerical aperture of the objective.
        pixel: side of a pixel of the array in the object's plane, m.
        defocus: distance of the object from focus, m.
        samples: samples of an image along the side of a pixel: more than 1 where pixels are larger than
            wavelength / (2 aperture).
        finer: samples of the object for one of an image, along each side.
        pupil: (side, side) complex64 of the objective, one recovered before; None for one without aberrations.
    """

    leds: Floats
    wavelength: float
    aperture: float
    pixel: float
    defocus: float = 0.0
    samples: int = 1
    finer: int = 4
    pupil: Tensor | None = None

    def geometry(self, pixels: int) -> Geometry:
        """What the images of so many pixels along each side say of the object's spectrum.

        Raises:
            InputError: as `Geometry.of`.
        """
        optics = Optics(self.wavelength, self.aperture, self.pixel / self.samples, self.defocus)
        geometry = Geometry.of(self.leds, optics, pixels * self.samples, self.finer)
        return geometry if self.pupil is None else replace(geometry, pupil=self.pupil)

    def reconstruct(
        self,
        counts: Tensor,
        exposures: Sequence[Exposure],
        sensor: Sensor,
        brightness: Tensor | None = None,
        *,
        recover_pupil: bool = False,
        iterations: int = ITERATIONS,
        progress: Report = silent,
    ) -> Reconstruction:
        """Reconstructs the object from the counts under every LED.

        Args:
            counts: (LEDs, H, H) whole numbers.
            exposures: of each LED's image.
            sensor: that took them, calibrated or as far as it is known; (H, H) pixels.
            brightness: (LEDs,) of the LEDs over that of one of them; all are equal by default.
            recover_pupil: whether aberrations are found as well.
            progress: called with the number of iterations done and that of all.

        Raises:
            InputError: shapes that do not fit each other, or images sampled too coarsely.
        """
        geometry = self.geometry(counts.shape[-1])
        images = CountedImages(geometry, counts, exposures, sensor, brightness, self.samples)
        start = geometry.start(repeated(images.rates, self.samples))
        spectrum, geometry = climbed(
            geometry, images, start, iterations=iterations, recover_pupil=recover_pupil, progress=progress
        )
        worth, hold = _worth_and_hold(geometry, images, start)
        variance = geometry.weighed(images.weights**2 * images.amplitude_variance())
        # A coefficient has two parts, and each amplitude tells of one number.
        sd = (2 * variance).sqrt() / (worth + hold).clamp(min=_NOTHING) * (worth > _NOTHING)
        whole = float(sd.square().mean().sqrt()) * geometry.finer
        return Reconstruction(geometry.object_of(spectrum), whole, spectrum, sd, geometry.pupil)


class Images(Protocol):
    """What was measured under all LEDs.

    Attributes:
        weights: (LEDs,) 1 at most.
        noise: (LEDs,) squares of the weights times the variance that noise leaves of an amplitude; 0 without a prior.
    """

    weights: Tensor
    noise: Tensor

    def residual(self, fields: Tensor) -> Tensor:
        """By how much fields (LEDs, side, side) are too bright for what was measured, in the direction of each."""
        ...


def climbed(
    geometry: Geometry,
    images: Images,
    start: Tensor,
    *,
    iterations: int = ITERATIONS,
    recover_pupil: bool = False,
    progress: Report = silent,
) -> tuple[Tensor, Geometry]:
    """The spectrum that explains images best, from a first one (samples, samples), and the geometry with its pupil.

    Args:
        progress: called with the number of iterations done and that of all.
    """
    spectrum, velocity = start, torch.zeros_like(start)
    worth, hold = _worth_and_hold(geometry, images, start)
    for done in range(iterations):
        look = spectrum + _MOMENTUM * velocity if done >= _WARM_UP else spectrum
        change = images.residual(geometry.fields(look))
        gradient = geometry.back(change, images.weights) + hold * look
        new = look - gradient / (worth + hold + 1e-3 * worth.max()) * (worth > _NOTHING)
        velocity, spectrum = new - spectrum, new
        if recover_pupil and done >= _WARM_UP:
            geometry = replace(geometry, pupil=geometry.better_pupil(look, change, images.weights))
            worth, hold = _worth_and_hold(geometry, images, start)
        progress(done + 1, iterations)
    return spectrum, geometry


class MeasuredAmplitudes:
    """Roots (LEDs, side, side) of measured images, to be met by least squares, with the weights (LEDs,) of each LED."""

    def __init__(self, amplitudes: Tensor, weights: Tensor) -> None:
        self.amplitudes, self.weights, self.noise = amplitudes, weights, torch.zeros_like(weights)

    def residual(self, fields: Tensor) -> Tensor:
        """The fields less those of the same phase and the measured amplitudes."""
        return fields * (1 - self.amplitudes / fields.abs().clamp_(min=1e-9))


class CountedImages:
    """The counts under all LEDs, and what the sensor makes of light under each.

    Arguments are those of `Ptychography.reconstruct`; `samples` of an image make the side of a pixel.

    Attributes:
        weights: (LEDs,) 1 at most.
        noise: (LEDs,) squares of the weights times the variance that shot noise alone leaves of an amplitude.
    """

    def __init__(
        self,
        geometry: Geometry,
        counts: Tensor,
        exposures: Sequence[Exposure],
        sensor: Sensor,
        brightness: Tensor | None,
        samples: int = 1,
    ) -> None:
        leds, shape = len(geometry.first), (geometry.side // samples,) * 2
        if tuple(counts.shape) != (leds, *shape) or len(exposures) != leds or sensor.shape != shape:
            found = f"{len(exposures)} exposures, counts of shape {tuple(counts.shape)}, a sensor of {sensor.shape}"
            raise InputError(f"{found}: expected {leds} exposures and images of {shape[0]} x {shape[1]} pixels")
        self.counts, self._samples = counts.to(torch.float32), samples
        self.brightness = (torch.ones(leds) if brightness is None else brightness).to(torch.float32)[:, None, None]
        seconds, cycles = (
            torch.tensor(each)[:, None, None]
            for each in ([e.count_time for e in exposures], [e.most_cycles for e in exposures])
        )
        self.model = ForwardModel(sensor, Exposure(cast(Any, seconds), cycles))  # of all LEDs at once
        exposure = (seconds * cycles * self.brightness).flatten()
        self.weights = (exposure / exposure.max()) ** WEIGHT_POWER
        self.noise = self.weights**2 / (4 * exposure)
        self._amplitude_noise = exposure.rsqrt()[:, None, None]

    @cached_property
    def rates(self) -> Tensor:
        """The rates (LEDs, H, W) that the counts of each pixel alone stand for, under an LED of brightness 1."""
        return self._alone[0].masked_fill(~self.model.sensor.good, 0)

    def amplitude_variance(self) -> Tensor:
        """(LEDs,) variance of a pixel's amplitude: that of its rate over four rates, both summed over good pixels."""
        good, (rates, sd) = self.model.sensor.good, self._alone
        light, spread = ((part * good).sum(dim=(1, 2)) for part in (rates, sd.square()))
        return spread / (4 * light.clamp(min=spread.sqrt()))  # an image without light has its own error as its light

    def residual(self, fields: Tensor) -> Tensor:
        """Half of the natural gradient of minus the log-likelihood: field (1 - counts / expected counts) / 2.

        Where the model is far too dark its step is bounded.
        """
        rates = seen_by_pixels(fields.real.square() + fields.imag.square(), self._samples)
        expected = self.model.expected_counts(rates * self.brightness)
        amplitude = rates.sqrt().clamp_(min=1e-6 * float(rates.max()) ** 0.5)
        most = 1 + _LARGEST_RATIO + _LARGEST_RATIO * self._amplitude_noise / amplitude
        change = 0.5 - 0.5 * torch.minimum(self.counts / expected.clamp_(min=1e-9), most)
        return fields * repeated(change.masked_fill_(~self.model.sensor.good, 0), self._samples)

    @cached_property
    def _alone(self) -> tuple[Tensor, Tensor]:
        """What `rates` are, before pixels are left out, and their standard deviations."""
        rate, sd = self.model.detection_rate(self.counts)
        return rate / self.brightness, sd / self.brightness


def _worth_and_hold(geometry: Geometry, images: Images, start: Tensor) -> tuple[Tensor, Tensor]:
    """What the LEDs are worth to every coefficient, and how strongly the prior holds it (Wiener).

    The prior is S(k) = c |O(0)|^2 / k^3 at k periods over the field.

    Args:
        start: whose coefficient O(0) bright images have told already.
    """
    worth, side = geometry.weighed(images.weights), len(start)
    along = torch.arange(side, dtype=torch.float32) - side // 2
    frequency = torch.hypot(along[:, None], along[None, :]).clamp(min=1)
    power = PRIOR_POWER * float(start[side // 2, side // 2].abs().square()) / frequency**3
    hold = geometry.weighed(images.noise) / worth.clamp(min=_NOTHING) / power
    hold[side // 2, side // 2] = 0
    return worth, hold
