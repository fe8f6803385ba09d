"""Phase retrieval from photon counts: the complex object that explains the counts of all LEDs best.

The likelihood of counts, through the sensor's response, is climbed by preconditioned steps with momentum. Coefficients
that hardly a photon tells of are held by a spectral prior. Restoring every image before makes it worse, by 1 to 5 dB.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from noise_model.arrays import Floats
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.progress import Report, silent
from noise_model.sensor import Exposure, Sensor
from spadsr.experiments.ptychography import Geometry, Optics, seen_by_pixels

#: Power of a spectrum over that of its mean, at one period over the field; it falls with the third power of frequency.
#: Measured on a reconstruction of blood cells from images without noise, in green light; red gives 0.017.
PRIOR_POWER = 0.02

#: LEDs weigh by this power of their exposure. Inverse variances (1) would trust the brightest alone, whose model errs.
WEIGHT_POWER = 0.25

_MOMENTUM = 0.9
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
        iterations: int = 50,
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
        spectrum = geometry.start(_over_samples(images.first_rates(), self.samples))
        velocity = torch.zeros_like(spectrum)
        worth, noise = geometry.weighed(images.weights), geometry.weighed(images.noise)
        for done in range(iterations):
            hold = _hold(spectrum, worth, noise)
            look = spectrum + _MOMENTUM * velocity if done >= _WARM_UP else spectrum
            change = images.residual(geometry.fields(look)) * images.weights[:, None, None]
            gradient = geometry.back(change) + hold * look
            new = look - gradient / (worth + hold + 1e-3 * worth.max()) * (worth > _NOTHING)
            velocity, spectrum = new - spectrum, new
            if recover_pupil and done >= _WARM_UP:
                geometry = replace(geometry, pupil=geometry.better_pupil(look, change, images.weights))
                worth, noise = geometry.weighed(images.weights), geometry.weighed(images.noise)
            progress(done + 1, iterations)
        variance = geometry.weighed(images.weights**2 * images.amplitude_variance())
        # A coefficient has two parts, and each amplitude tells of one number.
        sd = (2 * variance).sqrt() / (worth + _hold(spectrum, worth, noise)).clamp(min=_NOTHING) * (worth > _NOTHING)
        whole = float(sd.square().mean().sqrt()) * geometry.finer
        return Reconstruction(geometry.object_of(spectrum), whole, spectrum, sd, geometry.pupil)


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
        groups = {each: [led for led, other in enumerate(exposures) if other == each] for each in set(exposures)}
        self.models = [(ForwardModel(sensor, each), torch.tensor(some)) for each, some in groups.items()]
        self.good = sensor.good
        seconds = torch.tensor([each.count_time * each.most_cycles for each in exposures])
        exposure = seconds * self.brightness.flatten()
        self.weights = (exposure / exposure.max()) ** WEIGHT_POWER
        self.noise = self.weights**2 / (4 * exposure)
        self._amplitude_noise = exposure.rsqrt()[:, None, None]

    def amplitude_variance(self) -> Tensor:
        """(LEDs,) variance of a pixel's amplitude: that of its rate over four rates, both summed over good pixels."""
        rates, variances = (torch.zeros_like(self.counts) for _ in range(2))
        for model, some in self.models:
            rate, sd = model.detection_rate(self.counts[some])
            rates[some], variances[some] = rate / self.brightness[some], (sd / self.brightness[some]).square()
        light, spread = ((part * self.good).sum(dim=(1, 2)) for part in (rates, variances))
        return spread / (4 * light.clamp(min=spread.sqrt()))  # an image without light has its own error as its light

    def first_rates(self) -> Tensor:
        """The rates (LEDs, H, W) that the counts of each pixel alone stand for, under an LED of brightness 1."""
        rates = torch.zeros_like(self.counts)
        for model, some in self.models:
            rates[some] = model.detection_rate(self.counts[some])[0]
        return (rates / self.brightness).masked_fill(~self.good, 0)

    def expected(self, rates: Tensor) -> Tensor:
        """Mean counts (LEDs, H, W)."""
        counts = torch.zeros_like(rates)
        for model, some in self.models:
            counts[some] = model.expected_counts(rates[some] * self.brightness[some])
        return counts

    def residual(self, fields: Tensor) -> Tensor:
        """Half of the natural gradient of minus the log-likelihood: field (1 - counts / expected counts) / 2.

        Where the model is far too dark its step is bounded.
        """
        rates = seen_by_pixels(fields.abs().square(), self._samples)
        ratio = self.counts / self.expected(rates).clamp(min=1e-9)
        amplitude = rates.sqrt().clamp(min=1e-6 * float(rates.max()) ** 0.5)
        most = 1 + _LARGEST_RATIO * (self._amplitude_noise / amplitude + 1)
        change = torch.where(self.good, 1 - torch.minimum(ratio, most), 0)
        return 0.5 * fields * _over_samples(change, self._samples)


def _hold(spectrum: Tensor, worth: Tensor, noise: Tensor) -> Tensor:
    """How strongly the prior S(k) = c |O(0)|^2 / k^3 holds every coefficient, beside the worth of the LEDs (Wiener)."""
    side = len(spectrum)
    along = torch.arange(side, dtype=torch.float32) - side // 2
    frequency = torch.hypot(along[:, None], along[None, :]).clamp(min=1)
    power = PRIOR_POWER * float(spectrum[side // 2, side // 2].abs().square()) / frequency**3
    hold = noise / worth.clamp(min=_NOTHING) / power
    hold[side // 2, side // 2] = 0
    return hold


def _over_samples(values: Tensor, samples: int) -> Tensor:
    return values.repeat_interleave(samples, dim=-1).repeat_interleave(samples, dim=-2)
