"""Going on where an interrupted run stopped: what it restored is taken over, if the same would be restored again."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from noise_model.errors import InputError
from spadsr.provenance import Provenance
from spadsr.restoration.moving import Takes
from spadsr.restoration.physics_check import summary
from spadsr.restoration.restored import Restored
from spadsr.restoration.restorer import hot_in, in_pixels
from spadsr.restoration.result_file import ResultFile, read_result
from spadsr.restoration.result_writer import checksums_of, has_images, part_of


@contextmanager
def earlier_part(result: Path, takes: Takes, provenance: Provenance) -> Iterator[ResultFile | None]:
    """Yields the part that an interrupted run left of a result, opened, or None where there is none.

    Args:
        takes, provenance: what is to be restored, and what the result will be made of.

    Raises:
        InputError: the part is of another capture, or was restored otherwise.
    """
    path = part_of(result)
    if not has_images(path):
        yield None
        return
    with read_result(path) as part:
        _expect_alike(part, takes, provenance)
        yield part


def restored_whole(result: Path, takes: Takes, provenance: Provenance) -> tuple[str, tuple[str, ...]] | None:
    """The check and the warnings of a result that holds all that is to be restored, made alike; None of any other.

    Args:
        takes, provenance: as of `earlier_part`.
    """
    try:
        with read_result(result) as there:
            _expect_alike(there, takes, provenance)
            if len(there) < takes.capture.shape[0]:
                return None
            return summary(there.check("chi_squared")), there.warnings
    except InputError:
        return None


def restored_before(part: ResultFile, takes: Takes, size: int) -> Iterator[Restored]:
    """The restored images of a part with their counts, motion and hot pixels, in stacks of `size`.

    Raises:
        InputError: they were restored from other counts.
    """
    for start in range(0, len(part), size):
        stop = min(start + size, len(part))
        block = part.read(start, stop)
        if block.counts is None or block.cycles is None:
            taken = takes.take(start, stop)
            counts, own = in_pixels(taken.counts, taken.model)
            _expect_same(part, start, counts.numpy())
            block = replace(block, counts=counts.numpy(), motion=taken.motion)
        else:  # they were found by following motion, which takes long
            counts = torch.from_numpy(block.counts.astype(np.int64))
            own = replace(takes.model, exposure=block.exposure)
        yield replace(block, hot=hot_in(counts, own), notes=takes.capture.notes)


def _made_alike(one: Provenance, other: Provenance) -> bool:
    """Whether the same images would be restored to the same bytes."""
    first, second = (json.dumps(vars(replace(each, command="")), sort_keys=True) for each in (one, other))
    return first == second


def _expect_alike(part: ResultFile, takes: Takes, provenance: Provenance) -> None:
    """Refuses a part that was restored otherwise, or from other counts, as its last image tells."""
    capture = takes.capture
    rows, columns = capture.pixels
    fits = part.shape[0] <= capture.shape[0] and part.shape[1:] == (part.scale * rows, part.scale * columns)
    same = part.settings == capture.settings and part.source == capture.path.name
    if not (fits and same and _made_alike(part.provenance, provenance)):
        raise _another(part.path)
    last = len(part) - 1
    taken = takes.take(last, last + 1)
    _expect_same(part, last, in_pixels(taken.counts, taken.model)[0].numpy())


def _expect_same(part: ResultFile, start: int, counts: NDArray[np.int64]) -> None:
    """Refuses a part whose images from `start` on were restored from other counts."""
    known = part.checksums(start, start + len(counts))
    if known is None or not np.array_equal(known, checksums_of(counts)):
        raise _another(part.path)


def _another(path: Path) -> InputError:
    wrong = "holds a part of another result, or one made with other options"
    return InputError(f"{path}: {wrong}; delete it, or choose another output", "output")
