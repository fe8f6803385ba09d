"""Micrographs of nuclei and which pixel belongs to which, read or drawn."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from noise_model.arrays import Picture
from noise_model.image_files import decoded
from spadsr.evaluation.metrics import block_mean
from spadsr.experiments.experiment import Data
from spadsr.experiments.matching import Matches

_LARGEST, _HALVED, _NATIVE = (384, 512), 2, 64  # pixels in the middle that are taken, together as one, and of a side

Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Micrograph:
    """A picture of nuclei (H, W) over white, and which pixel belongs to which: 0 to none."""

    light: Picture
    labels: Labels

    def dice(self, covered: NDArray[np.bool_]) -> float:
        """Overlap of an area with that of the nuclei: 1 where they are the same, 0 where they are apart."""
        nuclei = self.labels > 0
        return float(2 * np.sum(covered & nuclei) / max(1, int(np.sum(covered)) + int(np.sum(nuclei))))

    def found(self, places: NDArray[np.intp]) -> Matches:
        """Which nuclei have one of some places (n, 2) in them: each counts once."""
        hit = self.labels[tuple(places.T)]
        found = len(set(hit[hit > 0].tolist()))
        number = len(np.unique(self.labels[self.labels > 0]))
        return _counts_alone(found, len(places), number)

    def apart(self, segments: Labels) -> Matches:
        """Which nuclei have a segment of their own: one that shares more than half of the area of both together."""
        number, most = int(self.labels.max()) + 1, int(segments.max()) + 1
        both = np.bincount((self.labels * most + segments).ravel(), minlength=number * most).reshape(number, most)
        union = both.sum(axis=1, keepdims=True) + both.sum(axis=0, keepdims=True) - both
        own = int(np.sum(both[1:, 1:] > 0.5 * union[1:, 1:]))
        return _counts_alone(own, int(np.sum(both.sum(axis=0)[1:] > 0)), int(np.sum(both.sum(axis=1)[1:] > 0)))


def _counts_alone(found: int, detected: int, there: int) -> Matches:
    return Matches(found, detected - found, there - found, np.empty(0), np.empty((0, 2), np.int64))


def read_micrographs(folder: Path) -> Iterator[Micrograph]:
    """The micrographs of a folder that have an annotation.

    Raises:
        InputError: there are none, or files of other sizes.
    """
    images = [path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")] if folder.is_dir() else []
    pairs = [(path, beside) for path in sorted(images, key=_in_order) if (beside := _annotation(path)) is not None]
    if not pairs:
        raise DATA.refused(folder, f"{len(images)} JPEG pictures in it, none of them with an annotation")
    for path, beside in pairs:
        light, labels = _light_of(path), _labels(beside)
        if labels.size != light.size or min(light.shape) < 128:
            raise DATA.refused(
                beside, f"{labels.size} labels for {light.shape[0]} x {light.shape[1]} pixels of {path.name}"
            )
        middle = tuple(_middle(side, most) for side, most in zip(light.shape, _LARGEST, strict=True))
        light, labels = light[middle], labels.reshape(light.shape)[middle]
        bright = block_mean(light / np.float32(max(float(np.percentile(light, 99.5)), 1.0)), _HALVED)
        yield Micrograph(bright.clip(0, 1.5), labels[1::_HALVED, 1::_HALVED])


def _light_of(path: Path) -> Picture:
    """The brightest colour of every pixel: the dye has one, and weighed as eyes do hardly a grey level is left."""
    import cv2

    levels = decoded(path.read_bytes(), cv2.IMREAD_UNCHANGED)
    if levels is None:
        raise DATA.refused(path, "not a readable picture")
    return np.asarray(levels if levels.ndim == 2 else levels.max(axis=2), np.float32)


def _in_order(path: Path) -> tuple[int, str]:
    return len(path.stem), path.stem


def _middle(side: int, most: int) -> slice:
    """The middle of a side, a whole number of native pixels long."""
    length = min(side, most) // _NATIVE * _NATIVE
    return slice((side - length) // 2, (side + length) // 2)


def _annotation(path: Path) -> Path | None:
    """The file beside a picture, or in the published layout, that says which pixel belongs to which nucleus."""
    places = path.with_name(f"{path.stem}_labels.png"), path.parent.parent / "annotations" / path.stem
    return next((place for place in places if place.is_file()), None)


def _labels(path: Path) -> Labels:
    """Labels of all pixels, row by row."""
    if path.suffix == ".png":
        import cv2

        read = decoded(path.read_bytes(), cv2.IMREAD_UNCHANGED)
        if read is None or read.ndim != 2:
            raise DATA.refused(path, "no grey image of labels")
        return read.astype(np.int32).ravel()
    try:
        return np.array(path.read_text().split(), dtype=np.int32)
    except (ValueError, OverflowError) as error:
        raise DATA.refused(path, "no text of whole numbers") from error


def drawn_micrographs(seed: int, number: int = 6, shape: tuple[int, int] = (128, 192)) -> list[Micrograph]:
    """Ellipses of uneven brightness on a faint ground; some of them touch."""
    rng, rows, columns = np.random.default_rng(seed), *np.indices(shape)
    found = []
    for _ in range(number):
        light, labels = np.full(shape, 0.04), np.zeros(shape, np.int32)
        for label in range(1, 15):
            row, column = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
            turn, long = rng.uniform(0, np.pi), rng.uniform(9, 15)
            along = (rows - row) * np.cos(turn) + (columns - column) * np.sin(turn)
            across = (columns - column) * np.cos(turn) - (rows - row) * np.sin(turn)
            inside = np.hypot(along / long, across / long / rng.uniform(0.6, 0.95)) < 1
            texture = gaussian_filter(rng.normal(size=shape), 3)
            light = np.where(inside, rng.uniform(0.35, 1.0) * (1 + 0.15 * texture / texture.std()), light)
            labels[inside] = label
        found.append(Micrograph(gaussian_filter(light, 1.0).clip(0, 1.5).astype(np.float32), labels))
    return found


DATA = Data(
    "a folder of micrographs and annotations: images/1.jpg with annotations/1, or 1.jpg with 1_labels.png, and so on",
    "github.com/canfkoyuncu/fluorescence_dataset, folder dataset, commit 81cec1a",
    "37 pictures, about 100 MB",
    "that of one picture measured here is 48a90ffa087258478ab1a0c5b387cdedd77f66f77f8e1788abe354b5bcd937b1",
    "publicly available; cite Koyuncu et al., Cytometry A 89A (2016) 338",
)
