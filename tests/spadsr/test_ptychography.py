"""Fourier ptychography: the model against its adjoint and differences, the truth as a fixed point, real blood cells."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.experiments.phase_retrieval import CountedImages, Ptychography, Reconstruction
from spadsr.experiments.ptychography import Geometry, directions_through_slide, seen_by_pixels, spiral

PIXELS, TIME = 16, 1e-5
LEDS = directions_through_slide(4e-3 * spiral(25), 90e-3)
MICROSCOPE = Ptychography(LEDS, 630e-9, 0.1, 1.8e-6)


def ideal(pixels: int = PIXELS) -> Sensor:
    return Sensor("ideal", torch.ones(pixels, pixels), torch.full((pixels, pixels), 20.0), 0.0, 1)


def drawn_object(samples: int, seed: int = 0) -> Tensor:
    """A smooth complex object (samples, samples) of mean brightness 1, its spectrum within that of its LEDs."""
    rng = np.random.default_rng(seed)
    along = np.fft.fftfreq(samples)
    square = along[:, None] ** 2 + along[None, :] ** 2
    waves = np.fft.ifft2(np.fft.fft2(rng.normal(size=(2, samples, samples))) * np.exp(-square / 2 / 0.04**2))
    amplitude, phase = (part / part.std() for part in waves.real)
    return torch.from_numpy(((1 + 0.2 * amplitude) * np.exp(0.4j * phase)).astype(np.complex64))


def spectrum_of(picture: Tensor, geometry: Geometry) -> Tensor:
    return torch.fft.fftshift(torch.fft.fft2(picture / geometry.finer, norm="ortho"))


def counted(
    microscope: Ptychography, truth: Tensor, sensor: Sensor, frames: int, seed: int = 1, flux: float = 0.5
) -> tuple[Tensor, list[Exposure]]:
    """Counts of every LED, each exposed as long as it takes for the same mean."""
    geometry = microscope.geometry(sensor.shape[0])
    rates = seen_by_pixels(geometry.fields(truth).abs().square(), microscope.samples)
    exposures = [Exposure(float(flux / rate.mean()), frames) for rate in rates]
    generator = torch.Generator().manual_seed(seed)
    counts = [ForwardModel(sensor, e).sample(r, generator) for e, r in zip(exposures, rates, strict=True)]
    return torch.stack(counts), exposures


def test_back_is_the_adjoint_of_fields() -> None:
    geometry = MICROSCOPE.geometry(PIXELS)
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.randn(geometry.samples, geometry.samples, dtype=torch.complex64, generator=generator)
    fields = torch.randn(len(LEDS), PIXELS, PIXELS, dtype=torch.complex64, generator=generator)
    there = torch.vdot(geometry.fields(spectrum).flatten(), fields.flatten())
    back = torch.vdot(spectrum.flatten(), geometry.back(fields).flatten())
    assert abs(there - back) < 1e-5 * abs(there)


@pytest.mark.parametrize("samples", [1, 2])
def test_the_residual_is_the_gradient_of_the_likelihood(samples: int) -> None:
    """Half of it over the exposure, for a binary array whose law is binomial, against central differences."""
    microscope = replace(MICROSCOPE, samples=samples, pixel=1.8e-6 * samples)
    sensor = ideal(PIXELS // samples)
    geometry = microscope.geometry(PIXELS // samples)
    truth = spectrum_of(drawn_object(geometry.samples), geometry) * 200
    counts, exposures = counted(microscope, truth, sensor, 32)
    images = CountedImages(geometry, counts, exposures, sensor, None, samples)
    look = (truth * 0.9).to(torch.complex128)
    direction = spectrum_of(drawn_object(geometry.samples, 3), geometry).to(torch.complex128)
    change = images.residual(geometry.fields(look))
    found = 2 * float(torch.vdot(direction.flatten(), geometry.back(change).flatten()).real)

    def objective(spectrum: Tensor) -> float:
        """Minus the log-likelihood of all images, each over twice its exposure and a pixel's samples."""
        rates = seen_by_pixels(geometry.fields(spectrum).abs().square(), samples)
        total = 0.0
        for image, rate, exposure in zip(counts.double(), rates, exposures, strict=True):
            x = (rate + sensor.dark_count_rate) * exposure.count_time
            likelihood = image * torch.log(-torch.expm1(-x)) - (exposure.most_cycles - image) * x
            total -= float(likelihood.sum()) / (2 * exposure.most_cycles * exposure.count_time) * samples**2
        return total

    step = 0.1
    differences = (objective(look + step * direction) - objective(look - step * direction)) / (2 * step)
    assert found == pytest.approx(differences, rel=1e-5)


def test_at_the_truth_the_gradient_is_chance() -> None:
    """The mean over 40 seeds of the gradient along a direction is 0 within three standard errors."""
    geometry, sensor = MICROSCOPE.geometry(PIXELS), ideal()
    truth = spectrum_of(drawn_object(geometry.samples), geometry) * 200
    direction = spectrum_of(drawn_object(geometry.samples, 3), geometry).flatten()
    slopes = []
    for seed in range(40):
        counts, exposures = counted(MICROSCOPE, truth, sensor, 16, seed)
        change = CountedImages(geometry, counts, exposures, sensor, None).residual(geometry.fields(truth))
        slopes.append(float(torch.vdot(direction, geometry.back(change).flatten()).real))
    assert abs(np.mean(slopes)) < 3 * np.std(slopes) / len(slopes) ** 0.5


def alignment(one: Tensor, two: Tensor) -> float:
    """Correlation of two complex pictures, 0 to 1."""
    return float(torch.vdot(one.flatten(), two.flatten()).abs() / (one.norm() * two.norm()))


def likeness(found: Reconstruction, truth: Tensor, border: int = 8) -> float:
    """Correlation of an object with its truth, away from the edges."""
    inner = slice(border, -border)
    return alignment(found.field[inner, inner], truth[inner, inner])


def test_an_object_comes_out_better_with_more_light() -> None:
    geometry, sensor = MICROSCOPE.geometry(PIXELS), ideal()
    truth = drawn_object(geometry.samples) * 200
    alike = [
        likeness(MICROSCOPE.reconstruct(*counted(MICROSCOPE, spectrum_of(truth, geometry), sensor, n), sensor), truth)
        for n in (4, 64, 4096)
    ]
    assert alike[0] < alike[1] < alike[2]
    assert alike[2] > 0.99


def test_errors_of_coefficients_are_as_large_as_said() -> None:
    """Over seeds, of those that are well seen: between 0.7 and 1.3 of the standard deviation, on average."""
    geometry, sensor = MICROSCOPE.geometry(PIXELS), ideal()
    truth = spectrum_of(drawn_object(geometry.samples) * 200, geometry)
    found = [MICROSCOPE.reconstruct(*counted(MICROSCOPE, truth, sensor, 256, seed), sensor) for seed in range(8)]
    spectra = torch.stack([each.spectrum for each in found])
    spread = ((spectra - spectra.mean(0)).abs().square().sum(0) / 7 / 2).sqrt()
    said = found[0].spectrum_sd
    well = (said > 0) & (geometry.weighed(torch.ones(len(LEDS))) > 4)
    ratio = float((spread[well].square().mean() / said[well].square().mean()).sqrt())
    assert 0.7 < ratio < 1.3


def test_defocus_that_nobody_knew_of_is_recovered() -> None:
    truth, sensor = drawn_object(MICROSCOPE.geometry(PIXELS).samples) * 200, ideal()
    geometry = replace(MICROSCOPE, defocus=60e-6).geometry(PIXELS)
    counts, exposures = counted(replace(MICROSCOPE, pupil=geometry.pupil), spectrum_of(truth, geometry), sensor, 4096)
    unknown = MICROSCOPE.reconstruct(counts, exposures, sensor)
    recovered = MICROSCOPE.reconstruct(counts, exposures, sensor, recover_pupil=True, iterations=100)
    alike = [alignment(each.pupil, geometry.pupil) for each in (unknown, recovered)]
    assert likeness(unknown, truth) < 0.98 < likeness(recovered, truth)
    assert alike[0] < 0.9 < alike[1]


def test_images_that_do_not_fit_are_refused() -> None:
    sensor, exposures = ideal(), [Exposure(TIME)] * 25
    with pytest.raises(InputError, match="expected 25 exposures and images of 16 x 16"):
        MICROSCOPE.reconstruct(torch.zeros(24, PIXELS, PIXELS), exposures, sensor)
    with pytest.raises(InputError, match="expected below"):
        replace(MICROSCOPE, pixel=5e-6).geometry(PIXELS)
    with pytest.raises(InputError, match="the spectrum of the object ends"):
        replace(MICROSCOPE, finer=1).geometry(PIXELS)


def test_real_blood_cells_come_out_of_sixteen_frames(shared: Path) -> None:
    """What was measured without noise, counted by a binary array in 16 frames an LED."""
    from scipy.io import loadmat

    loaded = loadmat(shared / "data/applications/ptychography/bloodsmear_red.mat")
    amplitudes = torch.from_numpy(np.moveaxis(loaded["imlow_HDR"], 2, 0)[:, 48:80, 48:80].copy())
    leds = directions_through_slide(4e-3 * spiral(225), 90.88e-3, 1.52, 1e-3)
    microscope = Ptychography(leds, float(loaded["wlength"].item()), 0.1, 1.845e-6, float(loaded["z"].item()))
    sensor, rates = ideal(32), amplitudes.square() * 1e5
    brightness = 1 / torch.quantile(rates.flatten(1), 0.999, dim=1)
    found = []
    for frames in (16, 65536):
        exposures = [Exposure(float(0.7 * each), frames) for each in brightness]
        generator = torch.Generator().manual_seed(0)
        counts = [ForwardModel(sensor, e).sample(r, generator) for e, r in zip(exposures, rates, strict=True)]
        found.append(microscope.reconstruct(torch.stack(counts), exposures, sensor))
    assert likeness(found[0], found[1].field, 14) > 0.97
