"""Choosing among the named arrays of a file, and the pixel mask that may be one of them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.source import Source
from noise_model.errors import InputError

Array = TypeVar("Array")

#: The name of an array that marks pixels without counts, as in NeXus: not 0 where there is none.
PIXEL_MASK = "pixel_mask"


def chosen(path: Path, arrays: Mapping[str, Array], name: str | None) -> tuple[Array, str | None]:
    """The array of a name, or the only one but for a pixel mask; and the channel in a name such as counts/1, if any.

    Raises:
        InputError: there is none of this name, or there are several; the message lists them.
    """
    images = {key: array for key, array in arrays.items() if key != PIXEL_MASK}
    if name is None and len(images) == 1:
        return next(iter(images.values())), None
    if name is not None and name in arrays:
        return arrays[name], None
    before, _, channel = (name or "").rpartition("/")
    if before in arrays and channel.isdigit():
        return arrays[before], channel
    if not arrays:
        raise InputError(f"{path}: no numeric array of two or three dimensions; save the counts as one")
    found = f"no array {name}" if name else f"{len(images)} arrays"
    raise InputError(f"{path}: {found}; choose one of {', '.join(sorted(arrays))}", "array")


def masked_by(path: Path, source: Source, mask: NDArray[Any] | None) -> Source:
    """The source with its pixels masked where `mask` (H, W) is not 0; as it is without a mask.

    Raises:
        InputError: the mask has another shape, or is not of whole numbers.
    """
    if mask is None:
        return source
    if mask.shape != source.shape[1:] or not (mask == np.rint(mask)).all() or not ((mask >= 0) & (mask < 2**32)).all():
        raise InputError(f"{path}: {PIXEL_MASK} of shape {mask.shape}; expected whole numbers of {source.shape[1:]}")
    return replace(source, pixel_mask=mask.astype(np.uint32))
