"""Detail between pixels: what counts merged on a grid of 4 x 4 cells a pixel add to a restored picture.

An array that moved by parts of a pixel has seen more than its pixels tell, and a network makes little of it:
the counts of each cell, of a square as large as a pixel, centred there. They correct the picture as a measurement
corrects a forecast: its errors are taken for Gaussian, of the standard deviation that the network itself states, and
with a spectrum that falls with frequency; one step of Fisher scoring makes both as probable as can be.

Sources: Kalman, J. Basic Eng. 82 (1960) 35. Conjugate gradients: Hestenes and Stiefel, J. Res. NBS 49 (1952) 409.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.sparse.linalg import LinearOperator, cg

from noise_model.arrays import Floats, Picture
from noise_model.forward_model import ForwardModel
from noise_model.sensor import PLACES, Exposure
from spadsr.motion.blocks import dark_of, gain_of
from spadsr.motion.law import law_of, typical_frames
from spadsr.motion.merging import Merged

_FALL = 1.9  # of the spectrum of a network's errors, for each cycle a native pixel: of its logarithm
_SHARE = 1.25  # of their variance over that which it states: it makes too little of detail finer than pixels
_SPREAD = 2.0  # fine pixels over which its standard deviations are smoothed
_SEEN = np.array([0.125, 0.25, 0.25, 0.25, 0.125])  # of fine pixels by a native one centred anywhere within the middle
_EDGE = len(_SEEN) // 2
_AT_REST = 2  # places that a centre between them looks at
_STEPS, _CLOSE = 30, 1e-3


def sharpened(light: Picture, sd: Picture, fine: Merged) -> Picture:
    """A restored picture (4 H, 4 W) with the detail that sub-pixel motion has sampled.

    Args:
        light: that was restored of the same counts, merged on native pixels; of a frame and a native pixel's area.
        sd: its standard uncertainty.
        fine: the counts merged on cells as fine as the picture.
    """
    exposure = Exposure(fine.count_time, typical_frames(fine.frames))
    law, gain = law_of(ForwardModel(fine.sensor, exposure), 2 * float(light.max())), gain_of(fine.sensor)
    seen = np.maximum(_seen(light), 0)
    row = np.sqrt(seen * gain + dark_of(fine.sensor, fine.count_time)) * law.rows
    expected, slope, spread = (np.interp(row, np.arange(len(each)), each) for each in (law.mean, law.slope, law.spread))
    weight = slope * gain / np.maximum(expected * spread, 1e-9)
    inner = _several_places(fine.frames)
    inner[:_EDGE] = inner[-_EDGE:] = inner[:, :_EDGE] = inner[:, -_EDGE:] = 0
    score = inner * (fine.counts - fine.frames * expected) * weight
    information = inner * fine.frames * slope * gain * weight
    width = cv2.GaussianBlur(sd.astype(np.float64), (0, 0), _SPREAD)
    amplitude = _amplitude(light.shape)

    def shaped(values: Floats) -> Floats:
        return np.asarray(fft.irfft2(amplitude * fft.rfft2(values), values.shape))

    def system(flat: Floats) -> Floats:
        values = flat.reshape(light.shape)
        back = _seen(information * _seen(width * shaped(values)))
        return np.asarray((values + shaped(width * back)).ravel())

    size = light.size
    towards = shaped(width * _seen(score)).ravel()
    found, _ = cg(LinearOperator((size, size), system, dtype=np.float64), towards, rtol=_CLOSE, maxiter=_STEPS)
    return np.asarray(np.maximum(light + width * shaped(found.reshape(light.shape)), 0))


def _several_places(frames: NDArray[np.uint32]) -> Floats:
    """1 (4 H, 4 W) in native pixels that looked from more places than one at rest: others tell nothing new."""
    rows, columns = (side // PLACES for side in frames.shape)
    looked = (frames.reshape(rows, PLACES, columns, PLACES) > 0).sum(axis=(1, 3))
    return np.kron(looked > _AT_REST, np.ones((PLACES, PLACES)))


def _seen(light: Floats | Picture) -> Floats:
    """What a native pixel centred in each fine one sees."""
    return np.asarray(cv2.sepFilter2D(light.astype(np.float64), -1, _SEEN, _SEEN, borderType=cv2.BORDER_CONSTANT))


def _amplitude(shape: tuple[int, ...]) -> Floats:
    """The square root of the spectrum of errors of variance `_SHARE`."""
    frequency = PLACES * np.hypot(fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1]))
    whole = PLACES * np.hypot(fft.fftfreq(shape[0])[:, None], fft.fftfreq(shape[1]))
    return np.asarray(np.sqrt(_SHARE * np.exp(-_FALL * frequency) / np.exp(-_FALL * whole).mean()))
