"""Sources of scenes: drawings, or a folder of photographs. Scene i of a source follows from its seed and i alone."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from noise_model.arrays import Picture
from noise_model.errors import InputError
from noise_model.image_files import grey_levels, photograph
from simulate.procedural import procedural_scene
from simulate.textures import Shape, log_uniform

#: Endings of the files of a folder that count as photographs.
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})


class SceneSource(Protocol):
    """An endless, numbered series of scenes."""

    def scene(self, index: int, shape: Shape) -> Picture:
        """Scene `index` as (H, W) float32 relative flux >= 0, 1.0 = white."""
        ...

    @property
    def identity(self) -> str:
        """Description of what the scenes are made from, without the seed: equal for sources of equal scenes."""
        ...


@dataclass(frozen=True)
class ProceduralScenes:
    """Procedural scenes: random drawings (`simulate.procedural`)."""

    seed: int

    @property
    def identity(self) -> str:
        """Description of the scenes: see `SceneSource`."""
        return "procedural"

    def scene(self, index: int, shape: Shape) -> Picture:
        """The drawn scene of that index: see `SceneSource`."""
        return procedural_scene(shape, scene_rng(self.seed, index))


@dataclass(frozen=True)
class PhotoScenes:
    """Random crops of photographs; every photograph is used once before any is used again.

    Attributes:
        seed: of the order, the crops and the brightness scale.
        paths: the photographs.
        identity: checksum of their content.
        squared_share: share of scenes whose display values are squared, which brings them nearer to linear light.
    """

    seed: int
    paths: tuple[Path, ...]
    identity: str
    squared_share: float = 0.5

    def scene(self, index: int, shape: Shape) -> Picture:
        """The part of a photograph of that index: see `SceneSource`."""
        rng = scene_rng(self.seed, index)
        grey = photograph(self.paths[self._photo(index)]).astype(np.float32)
        picture = np.maximum(cropped(grey, shape, rng), 0) * np.float32(1 / 255)
        return np.square(picture) if rng.uniform() < self.squared_share else picture

    def _photo(self, index: int) -> int:
        turn, place = divmod(index, len(self.paths))
        order = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(turn, 0, 0)))
        return int(order.permutation(len(self.paths))[place])


def scene_rng(seed: int, index: int) -> np.random.Generator:
    """The generator of the random numbers of one scene."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))


def photographs(folder: str | Path, seed: int, squared_share: float = 0.5) -> tuple[PhotoScenes, list[Path]]:
    """The photographs in a folder and the folders in it, sorted, and the files left out because they cannot be read.

    Raises:
        InputError: no such folder, or no readable image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder of photographs")
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    candidates = sorted(path for path in found if not _left_by_a_mac(path.relative_to(folder)))
    with ThreadPoolExecutor() as threads:
        checksums = list(threads.map(_checksum, candidates))
    paths = tuple(path for path, checksum in zip(candidates, checksums, strict=True) if checksum)
    corrupt = [path for path, checksum in zip(candidates, checksums, strict=True) if not checksum]
    if not paths:
        there = f"{len(corrupt)} images that cannot be read" if corrupt else "no image"
        raise InputError(f"{folder}: {there}; expected photographs ({', '.join(sorted(SUFFIXES))})")
    return PhotoScenes(seed, paths, _joined(checksums), squared_share), corrupt


def cropped(picture: Picture, shape: Shape, rng: np.random.Generator) -> Picture:
    """A part (H, W) of a picture (h, w), mirrored and turned at random.

    Of a smaller picture it is as large a part as possible, enlarged; of a larger one a part at a random reduction.
    """
    if rng.uniform() < 0.5:
        picture = np.ascontiguousarray(picture.T)
    if rng.uniform() < 0.5:
        picture = np.ascontiguousarray(picture[:, ::-1])
    least = max(shape[0] / picture.shape[0], shape[1] / picture.shape[1])
    factor = least if least >= 1 else log_uniform(rng, least, 1)
    size = [max(round(side * factor), wanted) for side, wanted in zip(picture.shape, shape, strict=True)]
    how = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
    resized = np.asarray(cv2.resize(picture, (size[1], size[0]), interpolation=how), np.float32)
    top, left = (int(rng.integers(side - wanted + 1)) for side, wanted in zip(size, shape, strict=True))
    return resized[top : top + shape[0], left : left + shape[1]]


def _left_by_a_mac(path: Path) -> bool:
    """Whether a file is one that a Mac leaves beside others or in archives, which is no image in spite of its name."""
    return path.name.startswith(".") or "__MACOSX" in path.parts


def _checksum(path: Path) -> str:
    """Checksum of the content of a readable image; empty for any other file."""
    try:
        data = path.read_bytes()
    except OSError:
        return ""
    return "" if grey_levels(data) is None else hashlib.sha256(data).hexdigest()


def _joined(checksums: Iterable[str]) -> str:
    return "photographs " + hashlib.sha256("\n".join(filter(None, checksums)).encode()).hexdigest()
