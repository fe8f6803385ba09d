"""Layers for napari: captures, photon cubes and results, read image by image; napari itself is not needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from hardware.captures.capture import Capture, open_capture
from hardware.formats.registry import format_of
from noise_model.errors import InputError
from spadsr.restoration.result_file import ResultFile, is_result_file, read_result

#: What napari adds a layer from: its data, its properties, and its kind.
Layer: TypeAlias = tuple["Images", dict[str, Any], str]


@dataclass(frozen=True)
class Images:
    """An array (T, H, W) of which images are read when they are indexed, as napari does with what is shown.

    Attributes:
        read: read(start, stop) gives the images of that range, (stop - start, H, W).
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    read: Callable[[int, int], NDArray[Any]]

    @property
    def ndim(self) -> int:
        """3: images, rows, columns."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of all pixels of all images."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """The part that whole numbers and slices name; only images that it needs are read, one after the other."""
        first, *rest = key if isinstance(key, tuple) else (key,)
        if not isinstance(first, slice):
            image = range(len(self))[int(first)]
            return np.asarray(self.read(image, image + 1)[0][tuple(rest)])
        parts = [self.read(image, image + 1)[0][tuple(rest)] for image in range(len(self))[first]]
        return np.stack(parts) if parts else np.empty((0, *self.shape[1:]), self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.read(0, len(self)), dtype)


def reader_of(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[Layer]] | None:
    """What reads a path for napari; None for one that is no result or recording, or for several at once."""
    if not isinstance(path, str) or not (is_result_file(Path(path)) or _is_recording(Path(path))):
        return None
    return layers_of


def layers_of(path: str | Sequence[str]) -> list[Layer]:
    """The layers of a file: the counts of a recording, or the rates of a result and, hidden, their uncertainty.

    Rows and columns are in native pixels, so that a result lies on the recording that it was made from; images are in
    seconds where it is known when they were taken.

    Raises:
        InputError: it cannot be read.
    """
    file = Path(str(path))
    if is_result_file(file):
        return _layers_of_result(read_result(file))
    capture = open_capture(file)
    properties = {
        "name": file.name,
        "contrast_limits": _limits(capture.read(0, 1)),
        "metadata": {"settings": capture.settings.numbers(), "assumptions": capture.assumptions},
    }
    images = Images(capture.shape, capture.dtype, capture.read)
    finalize(images, capture.close)  # once the layer is gone
    return [(images, properties | _place(capture, capture.places), "image")]


def _is_recording(path: Path) -> bool:
    try:
        format_of(path)
    except InputError:
        return False
    return True


def _layers_of_result(result: ResultFile) -> list[Layer]:
    first = result.read(0, 1)
    facts = vars(result.provenance) | {"source": result.source, "warnings": result.warnings}
    layers: list[Layer] = []
    for name in ("rate", "uncertainty"):
        properties = {
            "name": f"{result.source}: {name}, counts/s",
            "visible": name == "rate",
            "contrast_limits": _limits(getattr(first, name)),
            "metadata": facts | {"unit": "counts/s per native pixel area", "scale": result.scale},
        }
        images = Images(result.shape, np.dtype(np.float32), partial(_read, result, name))
        layers.append((images, properties | _place(result, result.scale), "image"))
    return layers


def _read(result: ResultFile, name: str, start: int, stop: int) -> NDArray[Any]:
    return np.asarray(getattr(result.read(start, stop), name))


def _limits(image: NDArray[Any]) -> tuple[float, float]:
    """From dark to the level that one pixel in 500 exceeds."""
    return 0.0, float(np.percentile(image, 99.8)) or float(image.max()) or 1.0


def _place(taken: Capture | ResultFile, finer: int) -> dict[str, Any]:
    """Where the centres of pixels are that are so many times finer than native ones, and in which units."""
    period = taken.settings.frame_time
    centre = (1 / finer - 1) / 2  # of the first fine pixel, beside that of the first native one
    return {
        "scale": (period or 1.0, 1 / finer, 1 / finer),
        "translate": (0.0, centre, centre),
        "units": ("s" if period else "pixel", "pixel", "pixel"),
        "axis_labels": ("t", "y", "x"),
    }
