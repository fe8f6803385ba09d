"""The scenes of a training run, all in memory, and random crops of them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noise_model.errors import InputError
from noise_model.image_files import photograph
from noise_model.progress import Report
from simulate.scenes import ProceduralScenes, photographs
from spadsr.training.recipe import SceneRecipe

_T = TypeVar("_T")

_PHOTOGRAPHS = SceneRecipe(photo_share=1.0, squared_share=0.0, negative_share=0.0, warped_share=0.0)
_DRAWS = 13  # random numbers that a crop takes
_LEAST_TURNED = 2  # pixels on a side: OpenCV never comes to an end with the mirror images of one
_MOST_SHRUNK = 2**0.5  # times, by a warp, along each axis: about as much as from one zoom to the next


@dataclass(frozen=True)
class Scenes:
    """Photographs as grey levels, 0 to 255 (uint8 or float32), each at several sizes, and drawn scenes as float16."""

    photos: list[list[Tensor]]
    drawn: list[Tensor]


class SceneBank:
    """Scenes to train on, and others to measure on.

    The held-out scenes are photographs, if there are any, at the smaller half of their sizes and as they are displayed:
    drawn, smooth and dark scenes are easier to restore, and intervals measured on them would be too narrow for others.

    Args:
        held_out: share of the scenes to measure on.

    Attributes:
        skipped: files that are not readable photographs.
    """

    def __init__(self, recipe: SceneRecipe, held_out: float, seed: int, progress: Report) -> None:
        self.recipe = recipe
        photos, self.skipped = _photos(recipe, progress)
        drawn = _drawn(recipe, seed, progress)
        halves = zip(_parted(photos, held_out), _parted(drawn, held_out), strict=True)
        self.trained, others = (Scenes(*half) for half in halves)
        self.held_out = Scenes([_smaller_half(sizes) for sizes in others.photos], others.drawn)

    def crops(self, count: int, size: int, generator: torch.Generator, *, held_out: bool) -> Tensor:
        """Random crops (count, size, size), relative flux, turned and mirrored."""
        scenes, recipe = (self.held_out, _PHOTOGRAPHS) if held_out else (self.trained, self.recipe)
        draws = torch.rand(count, _DRAWS, generator=generator).tolist()
        return torch.stack([_crop(scenes, recipe, size, draw) for draw in draws])


def trained_and_held_out(count: int, share: float) -> tuple[list[int], list[int]]:
    """Indices of the scenes to train on, and of those to measure on, evenly spread. A single scene is both."""
    held_out = list(range(0, count, round(1 / share)))
    trained = sorted({*range(count)} - {*held_out})
    return trained or held_out, held_out


def _crop(scenes: Scenes, recipe: SceneRecipe, size: int, draw: list[float]) -> Tensor:
    kind, which, top, left, turn, mirror, *of_photo = draw
    if scenes.photos and kind < recipe.photo_share:
        sizes = scenes.photos[int(which * len(scenes.photos))]
        scene = _of_photograph(sizes, recipe, size, (top, left), of_photo)
    else:
        scene = _window(scenes.drawn[int(which * len(scenes.drawn))], size, (top, left)).float()
    scene = torch.rot90(scene, int(turn * 4))
    return scene.flip(1) if mirror < 0.5 else scene


def _of_photograph(
    sizes: list[Tensor], recipe: SceneRecipe, size: int, place: tuple[float, float], draw: list[float]
) -> Tensor:
    """A square of a photograph at one of its sizes, hardly ever the same twice: a network would learn it by heart."""
    which, linear, negative, warp, angle, *shrunk = draw
    fitting = [image for image in sizes if 2 * min(image.shape) > size] or [max(sizes, key=Tensor.numel)]
    image = fitting[int(which * len(fitting))]
    warped = warp < recipe.warped_share
    scene = (_warped(image, size, place, angle, shrunk) if warped else _window(image, size, place)).float() / 255
    scene = 1 - scene if negative < recipe.negative_share else scene
    return scene.square() if linear < recipe.squared_share else scene


def _warped(image: Tensor, size: int, place: tuple[float, float], angle: float, shrunk: list[float]) -> Tensor:
    """A square of the image turned by any angle, shrunk along each axis, and continued by its mirror images."""
    if min(image.shape) < _LEAST_TURNED:
        image = _mirrored(image, _LEAST_TURNED)
    middle = [side / 2 + (part - 0.5) * max(0, side - size) for part, side in zip(place, image.shape, strict=True)]
    across, down = (_MOST_SHRUNK**part for part in shrunk)
    sine, cosine = math.sin(2 * math.pi * angle), math.cos(2 * math.pi * angle)
    turn = np.array([[across * cosine, -down * sine], [across * sine, down * cosine]])  # x and y of the image
    shift = np.array(middle[::-1]) - turn @ np.full(2, size / 2)
    seen = cv2.warpAffine(
        image.numpy(),
        np.column_stack([turn, shift]),
        (size, size),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return torch.from_numpy(seen).clamp(0, 255)


def _parted(scenes: list[_T], share: float) -> tuple[list[_T], list[_T]]:
    trained, held_out = trained_and_held_out(len(scenes), share)
    return [scenes[i] for i in trained], [scenes[i] for i in held_out]


def _smaller_half(sizes: list[Tensor]) -> list[Tensor]:
    """Those sizes of a photograph whose pixels hold most detail."""
    return sorted(sizes, key=Tensor.numel)[: (len(sizes) + 1) // 2]


def _drawn(recipe: SceneRecipe, seed: int, progress: Report) -> list[Tensor]:
    source, shape = ProceduralScenes(seed), (recipe.drawn_size, recipe.drawn_size)
    drawn = []
    for i in range(recipe.drawn):
        drawn.append(torch.from_numpy(source.scene(i, shape)).to(torch.float16))
        progress(i + 1, recipe.drawn)
    return drawn


def _photos(recipe: SceneRecipe, progress: Report) -> tuple[list[list[Tensor]], list[Path]]:
    if recipe.photos is None:
        return [], []
    if not recipe.photos.is_dir():
        raise InputError(f"{recipe.photos}: no such folder; say with scenes.photos=FOLDER where the photographs are")
    found, skipped = photographs(recipe.photos, seed=0)
    photos = []
    for i, path in enumerate(found.paths):
        grey = photograph(path)
        photos.append([torch.from_numpy(image) for image in _at_zooms(grey, recipe.zooms)])
        progress(i + 1, len(found.paths))
    return photos, skipped


def _at_zooms(grey: NDArray[Any], zooms: tuple[float, ...]) -> list[NDArray[Any]]:
    """The picture shrunk so many times; as it is where none of these leaves a pixel of it."""
    left = [zoom for zoom in zooms if min(grey.shape) >= zoom] or [1.0]
    how = [cv2.INTER_AREA if zoom >= 1 else cv2.INTER_CUBIC for zoom in left]
    return [
        cv2.resize(grey, None, fx=1 / zoom, fy=1 / zoom, interpolation=each)
        for zoom, each in zip(left, how, strict=True)
    ]


def _window(image: Tensor, size: int, place: tuple[float, float]) -> Tensor:
    """A square of the image, which is continued by its mirror images where it is too small."""
    if min(image.shape) < size:
        image = _mirrored(image, size)
    row, column = (int(part * (side - size + 1)) for part, side in zip(place, image.shape, strict=True))
    return image[row : row + size, column : column + size]


def _mirrored(image: Tensor, size: int) -> Tensor:
    """The image continued by its mirror images, below and to the right, to at least size x size."""
    for axis, side in enumerate(image.shape):
        period = 2 * (side - 1)
        places = torch.arange(max(side, size)) % max(1, period)
        image = image.index_select(axis, torch.minimum(places, period - places))
    return image
