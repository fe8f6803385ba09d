"""Masks of bad pixels: from files and arrays of the shapes that people have, and onto captures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hardware.captures.capture import Capture
from hardware.formats.registry import format_of
from hardware.parsing.source import Choice, blaming
from noise_model.errors import InputError
from noise_model.sensor import USER

_MOST_BAD = 0.5  # share of the pixels: a mask of more is likelier one of good pixels


def masked(capture: Capture, mask: str | Path | ArrayLike) -> Capture:
    """The same capture with more bad pixels in its mask.

    Args:
        mask: of the capture's pixels, or of the whole array that it is a region of: an array, or a file of one image
            (PNG, `.npy`, TIFF and others that are read as recordings). 0, black or False is a good pixel; everything
            else (1, 255, True) is bad.

    Raises:
        InputError: the mask is unreadable, of another size, or marks more than half of the pixels as bad.
    """
    name, values = _read(Path(mask)) if isinstance(mask, str | Path) else ("mask", np.asarray(mask))
    if capture.region is not None and capture.array_shape is not None:
        whole = tuple(side // capture.places for side in capture.array_shape)
        values = values[capture.region] if values.shape == whole else values
    if values.dtype.kind not in "biuf" or values.shape != capture.pixels:
        size = " x ".join(map(str, values.shape)) or "no"
        expected = "{} x {}".format(*capture.pixels)
        raise InputError(f"{name}: {size} values of type {values.dtype}; expected a mask of {expected} pixels", "mask")
    bad = values != 0
    if bad.mean() > _MOST_BAD:
        raise InputError(
            f"{name}: {bad.mean():.0%} of the pixels are bad by it; 0 is a good pixel, everything else bad: invert it",
            "mask",
        )
    bits = np.where(bad, USER, 0).astype(np.uint32)
    return replace(capture, pixel_mask=bits if capture.pixel_mask is None else capture.pixel_mask | bits)


def _read(path: Path) -> tuple[str, NDArray[Any]]:
    """The name of a mask's file, and its only image."""
    form = format_of(path)
    with blaming(path, form.NAME):
        source = form.open_source(path, Choice(None, "counts" if "counts" in form.LAYOUTS else None))
        try:
            if source.shape[0] != 1:
                raise InputError(f"{path}: {source.shape[0]} images; expected a mask, a single image", "mask")
            return str(path), source.read(0, 1)[0]
        finally:
            source.close()
