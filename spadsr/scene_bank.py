"""All scenes of a training run, in memory on the device, and random crops of them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from simulate.scenes import ProceduralScenes, photographs
from spadsr.recipe import SceneRecipe

Report = Callable[[int, int], None]


class SceneBank:
    """Photographs as uint8, at full and half size, and drawn scenes as float16.

    Attributes:
        skipped: files that are not readable photographs.
    """

    def __init__(self, recipe: SceneRecipe, seed: int, device: torch.device, report: Report) -> None:
        self.recipe = recipe
        self.photos, self.skipped = _photos(recipe.photos, device, report)
        source = ProceduralScenes(seed)
        self.drawn = []
        for i in range(recipe.drawn):
            scene = torch.from_numpy(source.scene(i, (recipe.drawn_size, recipe.drawn_size)))
            self.drawn.append(scene.to(device, torch.float16))
            report(i + 1, recipe.drawn)

    def crops(self, count: int, size: int, generator: torch.Generator) -> Tensor:
        """(count, size, size) relative flux, randomly turned and mirrored, by a generator on the host."""
        draws = torch.rand(count, 8, generator=generator).tolist()
        return torch.stack([self._crop(size, draw) for draw in draws])

    def _crop(self, size: int, draw: list[float]) -> Tensor:
        kind, which, half, top, left, turn, mirror, linear = draw
        if self.photos and kind < self.recipe.photo_share:
            sizes = self.photos[int(which * len(self.photos))]
            fitting = [image for image in sizes if min(image.shape) >= size] or sizes[:1]
            scene = _window(fitting[int(half * len(fitting))], size, top, left).float() / 255
            scene = scene.square() if linear < self.recipe.squared_share else scene
        else:
            scene = _window(self.drawn[int(which * len(self.drawn))], size, top, left).float()
        scene = torch.rot90(scene, int(turn * 4))
        return scene.flip(1) if mirror < 0.5 else scene


def _photos(folder: Path | None, device: torch.device, report: Report) -> tuple[list[list[Tensor]], list[Path]]:
    if folder is None:
        return [], []
    found, skipped = photographs(folder, seed=0)
    photos = []
    for i, path in enumerate(found.paths):
        grey = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        sizes = [grey]
        if min(grey.shape) > 1:
            sizes.append(cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
        photos.append([torch.from_numpy(image).to(device) for image in sizes])
        report(i + 1, len(found.paths))
    return photos, skipped


def _window(image: Tensor, size: int, top: float, left: float) -> Tensor:
    """A square of the image, mirrored at its edges, as often as it takes, where it is too small."""
    if min(image.shape) < size:
        image = _mirrored(image, size)
    row, column = (int(place * (side - size + 1)) for place, side in zip((top, left), image.shape, strict=True))
    return image[row : row + size, column : column + size]


def _mirrored(image: Tensor, size: int) -> Tensor:
    """Continued by its mirror images, below and to the right, to at least size x size."""
    for axis, side in enumerate(image.shape):
        period = 2 * (side - 1)
        places = torch.arange(max(side, size), device=image.device) % max(1, period)
        image = image.index_select(axis, torch.minimum(places, period - places))
    return image
