"""Grey pictures and films of rates: a pixel for every pixel, black at 0, white at a level that one in 500 exceeds."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image
from PIL.PngImagePlugin import PngInfo

from noise_model.arrays import Picture
from noise_model.errors import InputError
from noise_model.files import whole_file
from spadsr.pictures.sheets import enlarged, in_units, stretch_of

if TYPE_CHECKING:
    from matplotlib.colors import Normalize

#: Images of a film in a second.
FILM_RATE = 25

_FILM_SIDE = 512  # pixels: smaller pictures are enlarged in films, since players smear what they enlarge
_GIF_SIDE = (1 << 16) - 1


def shades(rate: Picture, norm: "Normalize") -> NDArray[np.uint8]:
    """Grey levels, 0 to 255, of rates on a scale of brightness."""
    return np.asarray(np.rint(255 * np.asarray(norm(rate))), np.uint8)


def write_grey(path: Path, rate: Picture, norm: "Normalize", notes: Mapping[str, str]) -> None:
    """Writes rates (H, W) as a PNG of 8 bits; its metadata say what white means, and the notes."""
    facts = PngInfo()
    for name, value in {"White": f"{in_units(norm.vmax)}{stretch_of(norm)}", **notes}.items():
        facts.add_itxt(name, value)
    with whole_file(path) as partial:
        Image.fromarray(shades(rate, norm)).save(partial, pnginfo=facts)


def write_film(path: Path, rates: Iterator[Picture], norm: "Normalize") -> None:
    """Writes pictures (H, W) as an MP4 film (MPEG-4), one after the other, 25 a second.

    Raises:
        InputError: this build of OpenCV writes no films, or none of that size.
    """
    film: cv2.VideoWriter | None = None
    with whole_file(path) as partial:
        try:
            for picture in _enlarged_shades(rates, norm):
                even = np.pad(picture, [(0, side % 2) for side in picture.shape], mode="edge")
                if film is None:
                    code = cv2.VideoWriter.fourcc(*"mp4v")
                    film = cv2.VideoWriter(str(partial), code, FILM_RATE, even.shape[::-1], isColor=False)
                    if not film.isOpened():
                        size = " x ".join(map(str, even.shape))
                        raise InputError(
                            f"{path}: films of {size} cannot be written here; write .gif or .tif", "output"
                        )
                film.write(even)
        finally:
            if film is not None:
                film.release()


def write_gif(path: Path, rates: Iterator[Picture], norm: "Normalize") -> None:
    """Writes pictures (H, W) as an animated GIF that begins again at its end, 25 a second: for slides.

    Raises:
        InputError: a side is longer than GIF allows.
    """
    with whole_file(path) as partial, partial.open("wb") as file:
        for number, picture in enumerate(_enlarged_shades(rates, norm)):
            if max(picture.shape) > _GIF_SIDE:
                size = " x ".join(map(str, picture.shape))
                raise InputError(f"{path}: {size} pixels; GIF allows {_GIF_SIDE} a side; write .mp4 or .tif", "output")
            image = Image.fromarray(picture)
            if number == 0:
                file.writelines(GifImagePlugin.getheader(image, info={"loop": 0})[0])
            # Pillow's own writer of several pictures keeps them all in memory
            file.writelines(GifImagePlugin.getdata(image, duration=1000 // FILM_RATE))
        file.write(b";")


def _enlarged_shades(rates: Iterator[Picture], norm: "Normalize") -> Iterator[NDArray[np.uint8]]:
    """Grey levels of the pictures of a film."""
    for rate in rates:
        yield shades(enlarged(rate, max(1, _FILM_SIDE // max(rate.shape))), norm)
