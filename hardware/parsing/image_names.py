"""Names of the images of a folder: their order, and the channels, positions and slices that they tell."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.planes import CHANNEL, POSITION, SLICE, TIME, Planes, images_of
from hardware.parsing.source import Choice, regular_file
from noise_model.errors import InputError

#: Endings of the files of a folder that are images.
SUFFIXES = (".png", ".tif", ".tiff")

#: Words before a number that say what is counted, and those that do only where other numbers vary as well.
_WORDS = {"channel": CHANNEL, "ch": CHANNEL, "position": POSITION, "pos": POSITION}
_LETTERS = {"c": CHANNEL, "p": POSITION, "xy": POSITION, "z": SLICE, "slice": SLICE, "t": TIME, "time": TIME}

#: How names of results end before the suffix; what stands among the first bytes of their pictures, and how many.
_RESULT, _MADE_BY, _HEAD = ".sr", b"tEXtSoftware\0spadsr ", 4096

#: Bytes of an image, at most.
LARGEST_FILE = 1 << 28


@dataclass(frozen=True)
class Ordered:
    """The images of a folder in order.

    Attributes:
        paths: at least one.
        remarks: sentences for the user about how the order was found.
        rest: what is chosen of axes that the names do not have, which those within the files may be.
    """

    paths: Sequence[Path]
    remarks: tuple[str, ...]
    rest: Choice


def holds_images(folder: Path, suffixes: Sequence[str]) -> bool:
    """Whether there are images with such endings in a folder."""
    return any(path.suffix.lower() in suffixes and not _made_here(path) for path in _visible(folder))


def images_in(folder: Path) -> list[Path]:
    """The images of a folder, in the order of the alphabet, but the pictures of results that lie beside them.

    Raises:
        InputError: they are of two kinds.
    """
    images = sorted(path for path in _visible(folder) if path.suffix.lower() in SUFFIXES and not _made_here(path))
    kinds = sorted({path.suffix.lower().replace("tiff", "tif") for path in images})
    if len(kinds) > 1:
        raise InputError(f"{folder}: images of two kinds, {' and '.join(kinds)}; keep one set of images")
    return images


def ordered_images(folder: Path, choice: Choice) -> Ordered:
    """The images of a folder by the numbers in their names, of the channel, position and slice that are chosen.

    Names that differ in one number are in its order; in more, in that of the first of them, then the next, as they are
    written from left to right. Files whose names begin with a dot, which a Mac leaves beside others, are no images.

    Raises:
        InputError: images of two kinds, names without a number or that differ in more than numbers, two with the same
            numbers, or numbers whose order is not certain.
    """
    images = images_in(folder)
    if len(images) == 1:
        return Ordered(images, (), choice)
    words, numbers = _taken_apart(folder, images)
    varying = [place for place in range(numbers.shape[1]) if (numbers[:, place] != numbers[0, place]).any()]
    _check_order(folder, words, numbers, varying)
    values = np.array([[int(each) for each in row] for row in numbers[:, varying]], dtype=object)
    _check_different(folder, images, values)
    counted = _counted(words, varying)
    axes = [axis for axis, _word in counted]
    places = {axis: _ranks(values[:, [axis == each for each in axes]]) for axis in dict.fromkeys(axes)}
    planes = Planes(
        axes=tuple(places),
        coordinates=np.column_stack(list(places.values())),
        stored=np.arange(len(images)),
        names={axis: _named(word, numbers[:, place]) for (axis, word), place in zip(counted, varying, strict=True)},
    )
    told = {axis: getattr(choice, axis) for axis in (CHANNEL, POSITION, SLICE) if axis in places}
    found = images_of(folder, planes, Choice(**told))
    paths = [images[index] for index in found.stored]
    remarks = (*found.remarks, *_remarks(paths, values[found.stored], axes))
    return Ordered(paths, remarks, replace(choice, **dict.fromkeys(told)))


def own_file(folder: Path, path: Path, largest: float = LARGEST_FILE) -> Path:
    """Checks that an image, or what else there is, is a file of the folder's own, of a sensible size, and returns it.

    Links are followed within the folder, and within the repository (git, DVC) that it is in. A folder that was sent
    could point anywhere else.

    Raises:
        InputError: it is not.
    """
    if path.is_symlink():
        target = path.resolve()
        if not target.is_file():
            raise InputError(
                f"{path}: a link to {target}, which is not there; fetch it first (git annex get, dvc pull)"
            )
        if not any(target.is_relative_to(tree) for tree in _trees(folder)):
            raise InputError(
                f"{path}: a link to {target}, outside the folder; copy the images themselves (cp -L, git annex unlock)"
            )
    if regular_file(path).stat().st_size > largest:
        raise InputError(f"{path}: more than {largest} bytes; expected one image")
    return path


def _made_here(path: Path) -> bool:
    """Whether a file is the picture of a result, `x.sr.png`, as its name and its metadata say."""
    if not path.stem.endswith(_RESULT) or path.suffix.lower() != ".png" or not path.is_file():
        return False
    with path.open("rb") as file:
        return _MADE_BY in file.read(_HEAD)


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _trees(folder: Path) -> Iterator[Path]:
    whole = folder.resolve()
    yield whole
    yield from (tree for tree in whole.parents if any((tree / mark).exists() for mark in (".git", ".dvc")))


def _taken_apart(folder: Path, images: Sequence[Path]) -> tuple[list[str], NDArray[np.str_]]:
    """What stands before each number of the names, and the numbers (images, numbers in a name), as they are written."""
    parts = [re.split(r"([0-9]+)", path.stem.casefold()) for path in images]
    for path, part in zip(images, parts, strict=True):
        if len(part) == 1:
            raise InputError(f"{folder}: {path.name} has no number; number the images, or move it elsewhere")
        if part[::2] != parts[0][::2]:
            both = f"{images[0].name} and {path.name} are named differently"
            raise InputError(f"{folder}: {both}; keep one set of images, whose names differ in numbers only")
    return parts[0][::2], np.array([part[1::2] for part in parts])


def _check_different(folder: Path, images: Sequence[Path], values: NDArray[np.object_]) -> None:
    seen: dict[tuple[int, ...], Path] = {}
    for path, row in zip(images, values.tolist(), strict=True):
        other = seen.setdefault(tuple(row), path)
        if other != path:
            raise InputError(f"{folder}: {other.name} and {path.name} have the same number; keep one set of images")


def _check_order(folder: Path, words: Sequence[str], numbers: NDArray[np.str_], varying: Sequence[int]) -> None:
    """Refuses numbers that may be digits after a decimal point, and dates that begin with the day."""
    for place in varying:
        before, column = words[place], numbers[:, place].tolist()
        counted = max(map(int, column)) - min(map(int, column)) == len(set(column)) - 1
        if place and before == "." and len(set(map(len, column))) > 1 and not counted:
            such = f"numbers such as {numbers[0, place - 1]}.{column[0]} may be decimal or not"
            raise InputError(f"{folder}: {such}; number the images 0001, 0002, ...")
    for year in range(2, numbers.shape[1]):
        days, months, years = numbers[:, year - 2 : year + 1].T.tolist()
        dates = words[year] == words[year - 1] and len(words[year]) == 1
        short = max(map(len, days + months)) <= 2 and all(len(each) == 4 and 1900 <= int(each) < 2100 for each in years)
        if dates and short and not {year - 1, year}.isdisjoint(varying):
            raise InputError(f"{folder}: dates with the day first do not sort; number the images 0001, 0002, ...")


def _counted(words: Sequence[str], varying: Sequence[int]) -> list[tuple[str, str]]:
    """What each number that varies counts, and the word before it; time if nothing is said."""
    known = _WORDS | _LETTERS if len(varying) > 1 else _WORDS
    found = [re.search(r"([a-z]+)[-_= ]?$", words[place]) for place in varying]
    return [(known.get(word[1], TIME), word[1]) if word else (TIME, "") for word in found]


def _named(word: str, column: NDArray[np.str_]) -> list[str]:
    """The entries of an axis as the names have them, in order."""
    written = {int(each): f"{word}{each}" for each in column.tolist()}
    return [written[number] for number in sorted(written)]


def _ranks(values: NDArray[np.object_]) -> NDArray[np.int64]:
    """Places of rows of numbers in their order, equal ones in the same place."""
    rows = [tuple(row) for row in values.tolist()]
    place = {row: index for index, row in enumerate(sorted(set(rows)))}
    return np.array([place[row] for row in rows])


def _remarks(paths: Sequence[Path], values: NDArray[np.object_], axes: Sequence[str]) -> Iterator[str]:
    times = values[:, [axis == TIME for axis in axes]]
    if times.shape[1] > 1:
        yield "names differ in several numbers: images are in the order of the first of them, then of the next"
    elif list(paths) != sorted(paths):
        yield "images are in the order of their numbers, not of the alphabet"
    if len(axes) == 1 and (missing := int(values.max()) - int(values.min()) + 1 - len(values)):
        yield f"{missing} numbers between the first and the last image are missing"
