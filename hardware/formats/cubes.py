"""Photon cubes in folders: an array of binary frames, and a JSON file beside it that says how they are stored.

visionsim writes `frames.npy` with `transforms.json` (docs/source/sections/datasets.rst there); the recordings of the
WISION laboratory are `binary.npy` with `arguments.json`, and masks of hot pixels by name (README.md of its datasets).
"""

import json
import math
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.formats import npy
from hardware.parsing import arrays
from hardware.parsing.image_names import own_file
from hardware.parsing.packed_bits import ALONG_ROWS, PACKED
from hardware.parsing.source import MARKED, Choice, Source, blaming, masking
from noise_model.errors import InputError

NAME = "photon cube"
SUFFIXES = ()
ARRAYS = True
AXES = ()
LAYOUTS = arrays.LAYOUTS

#: The JSON files that make a folder a photon cube, and the names of the arrays that they describe.
VISIONSIM, WISION = "transforms.json", "arguments.json"
_CUBES = {VISIONSIM: "frames.npy", WISION: "binary.npy"}

#: Folder of masks, beside a cube or above it, and the levels above that are searched.
_MASKS, _LEVELS = "hot_pixel_mask", 3

#: Bytes of a JSON file, at most: visionsim's has a matrix for each frame.
_LARGEST_JSON = 1 << 26

#: Characters of what is noted of a JSON file, at most.
_LONGEST_NOTE = 4096


def recognises(path: Path, head: bytes) -> bool:
    """Recognises the folder, or the array in it, by the names of both files."""
    return _description(path) is not None


def open_source(path: Path, choice: Choice) -> Source:
    """Opens the array in the layout that the JSON file says, or that is chosen, with the mask that it names."""
    description = _description(path)
    assert description is not None
    folder, cube = description.parent, description.with_name(_CUBES[description.name])
    said = _json(own_file(folder, description))
    layout = choice.layout or _layout(description, said)
    source = npy.open_source(own_file(folder, cube, math.inf), Choice(choice.array, layout))
    try:
        source = _cropped(description, source, said)
        mask = _mask(folder, said)
        if mask is not None:
            source = masking(source, _hot(mask, source.shape[1:]), MARKED)
            source = replace(source, remarks=(*source.remarks, f"hot pixels are those of {mask.name}"))
    except BaseException:
        source.close()
        raise
    plain = {name: value for name, value in said.items() if isinstance(value, str | int | float | bool)}
    return replace(source, notes={PurePath(description).stem: json.dumps(plain)[:_LONGEST_NOTE]})


def _description(path: Path) -> Path | None:
    """The JSON file of a folder, or beside an array, that is a photon cube."""
    folder = path if path.is_dir() else path.parent
    found = (folder / name for name, cube in _CUBES.items() if path.is_dir() or path.name == cube)
    return next((each for each in found if each.is_file() and each.with_name(_CUBES[each.name]).is_file()), None)


def _json(path: Path) -> dict[str, Any]:
    with blaming(path, "JSON file"):
        if path.stat().st_size > _LARGEST_JSON:
            raise InputError(f"{path}: larger than {_LARGEST_JSON >> 20} MB; expected a short description of a cube")
        said = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(said, dict):
        raise InputError(f"{path}: expected names with values, as in {{...}}; copy the file again")
    return said


def _layout(description: Path, said: dict[str, Any]) -> str:
    """How frames are packed: along the axis that visionsim says, else along rows of pixels."""
    if description.name == WISION:
        return PACKED
    if not said.get("bitpack", False):
        return arrays.COUNTS
    layout = {1: ALONG_ROWS, 2: PACKED}.get(said.get("bitpack_dim", 2))
    if layout is None:
        raise InputError(f"{description}: bitpack_dim is {said['bitpack_dim']!r:.60}; expected 1 (rows) or 2 (columns)")
    return layout


def _cropped(description: Path, source: Source, said: dict[str, Any]) -> Source:
    """Without the bits that fill up the last byte of each row or column."""
    images, *there = source.shape
    rows, columns = (said.get(name, side) for name, side in zip("hw", there, strict=True))
    if (rows, columns) == tuple(there):
        return source
    fits = (
        isinstance(side, int) and side <= most < side + 8 for side, most in zip((rows, columns), there, strict=True)
    )
    if not all(fits):
        size = " x ".join(map(str, there))
        raise InputError(f"{description}: {rows!r:.20} x {columns!r:.20} pixels, but the array has {size}; correct it")
    return replace(
        source,
        shape=(images, rows, columns),
        read=lambda start, stop: source.read(start, stop)[:, :rows, :columns],
    )


def _mask(folder: Path, said: dict[str, Any]) -> Path | None:
    """The mask of hot pixels that the JSON file names, or that lies beside the array.

    Raises:
        InputError: it is not there.
    """
    named = [value for name, value in said.items() if "mask" in name.lower() and isinstance(value, str)]
    name = next((PurePath(each.replace("\\", "/")).name for each in named if each.endswith(".npy")), None)
    above = [folder, *folder.resolve().parents[:_LEVELS]]
    places = [each / _MASKS / name for each in above] + [folder / name] if name else [folder / f"{_MASKS}.npy"]
    found = next((each for each in places if each.is_file()), None)
    if name and found is None:
        raise InputError(f"{folder}: no {_MASKS}/{name}, the mask of its hot pixels; put it there, beside or above it")
    return found


def _hot(path: Path, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(H, W), where pixels are hot: where the mask is not 0."""
    with blaming(path, "mask"):
        source = npy.open_source(path, Choice(layout=arrays.COUNTS))
        try:
            hot = np.asarray(source.read(0, 1)[0] != 0)
        finally:
            source.close()
    if hot.shape != shape or hot.mean() > 0.5:
        size = " x ".join(map(str, hot.shape))
        raise InputError(
            f"{path}: {size} pixels, {hot.mean():.0%} of them hot; expected {shape}, most of them 0 (good)"
        )
    return hot
