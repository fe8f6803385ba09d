"""Fourier ptychography: images of one object under many LEDs become its complex transmission, finer than any of them.

An LED at an angle shifts the object's spectrum across the pupil of the objective; its image is what the pupil lets
through. Zheng, Horstmeyer and Yang, Nature Photonics 7 (2013) 739. An array with pixels larger than that sampling sees
means over them: Dong et al., Optics Express 22 (2014) 5455.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from noise_model.arrays import Floats
from noise_model.errors import InputError

_PUPIL_STEP = 0.5


@dataclass(frozen=True)
class Optics:
    """An objective and the sampling of its images.

    Attributes:
        wavelength: m.
        aperture: numerical aperture of the objective.
        pixel: side of a sample of the images in the object's plane, m; below wavelength / (2 aperture).
        defocus: distance of the object from focus, m.
    """

    wavelength: float
    aperture: float
    pixel: float
    defocus: float = 0.0


@dataclass(frozen=True)
class Geometry:
    """What every LED's image says of the object's spectrum.

    Attributes:
        side: samples of an image along each side.
        finer: samples of the object for one of an image, along each side.
        pupil: (side, side) complex64, over the spectrum of an image, its zero frequency in the middle.
        first: (LEDs, 2) row and column of the object's spectrum at which each image's begins.
        bright: (LEDs,) whether the LED itself is seen: its light passes the pupil.
    """

    side: int
    finer: int
    pupil: Tensor
    first: Tensor
    bright: Tensor

    @classmethod
    def of(cls, directions: Floats, optics: Optics, side: int, finer: int = 4) -> Self:
        """The geometry of LEDs whose plane waves have these direction cosines (LEDs, 2), right and down.

        Raises:
            InputError: images are sampled too coarsely, or an LED is so far out that the object's spectrum ends.
        """
        if optics.pixel >= optics.wavelength / (2 * optics.aperture):
            finest = optics.wavelength / (2 * optics.aperture)
            raise InputError(f"pixel {optics.pixel:g} m: expected below {finest:g} m, wavelength / (2 aperture)")
        step = 1 / (side * optics.pixel)
        shift = np.rint(-np.asarray(directions) / optics.wavelength / step).astype(np.int64)
        first = torch.from_numpy(shift[:, ::-1].copy()) + (side * finer - side) // 2
        if bool((first < 0).any() | (first + side > side * finer).any()):
            raise InputError(f"finer {finer}: the spectrum of the object ends before that of the outermost LED")
        seen = torch.from_numpy(np.hypot(*np.asarray(directions).T) < optics.aperture)
        return cls(side, finer, _pupil(optics, side, step), first, seen)

    @property
    def samples(self) -> int:
        """Samples of the object along each side."""
        return self.side * self.finer

    def fields(self, spectrum: Tensor) -> Tensor:
        """The complex field (LEDs, side, side) of every image, from the spectrum of the object (samples, samples).

        It lacks a phase that is linear in place and the same for all LEDs; no image shows it.
        """
        passed = spectrum.take(self._places) * self._passes
        fields: Tensor = torch.fft.ifft2(passed, s=(self.side, self.side), norm="ortho")
        return fields

    def back(self, fields: Tensor, weights: Tensor | None = None) -> Tensor:
        """The adjoint of `fields`: what fields (LEDs, side, side) add up to in the spectrum of the object.

        Args:
            weights: (LEDs,) that they are multiplied by.
        """
        passes = self._passes.conj() if weights is None else self._passes.conj() * weights[:, None, None]
        return self._gathered(self._passed(fields) * passes)

    def weighed(self, weights: Tensor) -> Tensor:
        """How much the LEDs (LEDs,), each by its weight, say of every frequency of the object (samples, samples)."""
        return self._gathered(weights[:, None, None] * self._passes.abs().square())

    def start(self, intensities: Tensor) -> Tensor:
        """A first spectrum: the root of the mean image of the LEDs that are seen, without phase."""
        mean = intensities[self.bright].mean(dim=0).clamp(min=0).sqrt()
        spectrum = torch.zeros(self.samples, self.samples, dtype=torch.complex64)
        begin = (self.samples - self.side) // 2
        inner = slice(begin, begin + self.side)
        spectrum[inner, inner] = _spectrum(mean.to(torch.complex64)) * (self.pupil.abs() > 0)
        return spectrum

    def object_of(self, spectrum: Tensor) -> Tensor:
        """The complex object (samples, samples), its modulus on the scale of the roots of images."""
        return _field(spectrum) * self.finer

    def better_pupil(self, spectrum: Tensor, change: Tensor, weights: Tensor) -> Tensor:
        """The pupil after a step against the aberrations that changes of fields (LEDs, side, side) speak of."""
        parts, weights = spectrum.take(self._places), weights[:, None, None]
        step = (weights * self._passed(change) * parts.conj()).sum(dim=0)
        worth = (weights * parts.abs().square()).sum(dim=0)
        pupil, (rows, columns) = self.pupil.clone(), self._inner
        passes = self._passes - _PUPIL_STEP * step / (worth + 1e-2 * worth.max()) * (self._passes != 0)
        pupil[rows, columns] = passes
        return pupil

    @cached_property
    def _inner(self) -> tuple[slice, slice]:
        """Rows and columns of the pupil that let light pass: no others have to be transformed."""
        passes = self.pupil != 0
        found = (passes.any(dim=axis).nonzero().flatten().tolist() for axis in (1, 0))
        rows, columns = (slice(each[0], each[-1] + 1) for each in found)
        return rows, columns

    @cached_property
    def _passes(self) -> Tensor:
        """The pupil where it lets light pass."""
        return self.pupil[self._inner]

    @cached_property
    def _places(self) -> Tensor:
        """(LEDs, ...) where what the pupil lets pass of each image's spectrum lies in that of the object, flattened."""
        rows, columns = (
            self.first[:, axis, None] + torch.arange(part.start, part.stop) for axis, part in enumerate(self._inner)
        )
        return rows[:, :, None] * self.samples + columns[:, None, :]

    def _passed(self, fields: Tensor) -> Tensor:
        """The spectra (LEDs, ...) of fields (LEDs, side, side) where the pupil lets light pass."""
        height, width = self._passes.shape
        passed: Tensor = torch.fft.fft2(fields, norm="ortho")[:, :height, :width]
        return passed

    def _gathered(self, parts: Tensor) -> Tensor:
        """The sum (samples, samples) of parts (LEDs, ...) of the object's spectrum."""
        whole = torch.zeros(self.samples**2, dtype=parts.dtype)
        whole.index_add_(0, self._places.flatten(), parts.flatten())
        return whole.reshape(self.samples, self.samples)


def directions_through_slide(positions: Floats, height: float, index: float = 1.0, thickness: float = 0.0) -> Floats:
    """Direction cosines (LEDs, 2) of the light that LEDs send to the axis through a slide, against their positions.

    Args:
        positions: (LEDs, 2) right and down of the axis, m.
        height: distance between the plane of the LEDs and the slide, m.
        index, thickness: refractive index and thickness (m) of the slide, below the object.
    """
    distance = np.hypot(*positions.T)
    sine = distance / np.hypot(distance, height)
    for _ in range(50):  # Newton steps on Snell's law: distance = height tan(a) + thickness tan(g), sin a = n sin g
        outside, inside = np.sqrt(1 - sine**2), np.sqrt(1 - (sine / index) ** 2)
        excess = height * sine / outside + thickness * sine / index / inside - distance
        sine -= excess / (height / outside**3 + thickness / index / inside**3)
    return np.asarray(-sine[:, None] * positions / np.maximum(distance, 1e-30)[:, None])


def spiral(count: int) -> Floats:
    """Places (count, 2) of a square spiral of pitch 1: right, down, left twice, up twice, right three times, ..."""
    places, at, length = [(0.0, 0.0)], np.zeros(2), 0
    for turn in range(2 * count):
        heading = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)][turn % 4])
        length += turn % 2 == 0
        for _ in range(length):
            at = at + heading
            places.append((float(at[0]), float(at[1])))
        if len(places) >= count:
            break
    return np.array(places[:count])


def seen_by_pixels(intensities: Tensor, pixel: int) -> Tensor:
    """Means (..., H / pixel, W / pixel) over square pixels of so many samples."""
    return intensities if pixel == 1 else F.avg_pool2d(intensities, pixel)


def _pupil(optics: Optics, side: int, step: float) -> Tensor:
    """A disc of the numerical aperture, with the phase of defocus (angular spectrum)."""
    along = (np.arange(side) - side // 2) * step
    square = along[:, None] ** 2 + along[None, :] ** 2
    depth = 2 * math.pi * np.sqrt(np.maximum(1 / optics.wavelength**2 - square, 0))
    inside = square <= (optics.aperture / optics.wavelength) ** 2
    return torch.from_numpy((inside * np.exp(1j * optics.defocus * depth)).astype(np.complex64))


def _field(spectrum: Tensor) -> Tensor:
    field: Tensor = torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1)), norm="ortho")
    return field


def _spectrum(field: Tensor) -> Tensor:
    spectrum: Tensor = torch.fft.fftshift(torch.fft.fft2(field, norm="ortho"), dim=(-2, -1))
    return spectrum
