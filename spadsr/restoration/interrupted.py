"""Going on where an interrupted run stopped: what it restored is taken over, if the same would be restored again."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from noise_model.errors import InputError
from spadsr.provenance import Provenance
from spadsr.restoration.moving import Takes
from spadsr.restoration.physics_check import physics_check
from spadsr.restoration.restored import Restored
from spadsr.restoration.restorer import hot_in, in_pixels, without
from spadsr.restoration.result_file import ResultFile, read_result
from spadsr.restoration.result_writer import part_of


@contextmanager
def earlier_part(result: Path, takes: Takes, provenance: Provenance) -> Iterator[ResultFile | None]:
    """Yields the part that an interrupted run left of a result, opened, or None where there is none.

    Args:
        takes, provenance: what is to be restored, and what the result will be made of.

    Raises:
        InputError: the part is of another capture, or was restored otherwise.
    """
    path = part_of(result)
    if not path.is_file():
        yield None
        return
    with read_result(path) as part:
        if not (_made_alike(part.provenance, provenance) and _of_the_same(part, takes)):
            wrong = "holds a part of another result, or one made with other options"
            raise InputError(f"{path}: {wrong}; delete it, or choose another output", "output")
        yield part


def restored_before(part: ResultFile, takes: Takes, size: int) -> Iterator[Restored]:
    """The restored images of a part with their counts, motion and hot pixels, in stacks of `size`."""
    for start in range(0, len(part), size):
        stop = min(start + size, len(part))
        block = part.read(start, stop)
        if block.counts is None or block.cycles is None:
            taken = takes.take(start, stop)
            counts, own = in_pixels(taken.counts, taken.model)
            block = replace(block, counts=counts.numpy(), motion=taken.motion)
        else:  # they were found by following motion, which takes long
            counts = torch.from_numpy(block.counts.astype(np.int64))
            own = replace(takes.model, exposure=block.exposure)
        yield replace(block, hot=hot_in(counts, own), notes=takes.capture.notes)


def _made_alike(one: Provenance, other: Provenance) -> bool:
    """Whether the same images would be restored to the same bytes."""
    first, second = (json.dumps(vars(replace(each, command="")), sort_keys=True) for each in (one, other))
    return first == second


def _of_the_same(part: ResultFile, takes: Takes) -> bool:
    """Whether a part was restored from these counts: its last residual is theirs."""
    capture = takes.capture
    rows, columns = capture.pixels
    fits = part.shape[0] <= capture.shape[0] and part.shape[1:] == (part.scale * rows, part.scale * columns)
    if not fits or part.settings != capture.settings or part.source != capture.path.name:
        return False
    last = part[len(part) - 1]
    taken = takes.take(len(part) - 1, len(part))
    counts, own = in_pixels(taken.counts, taken.model)
    found = physics_check(counts, torch.from_numpy(last.rate[None]), without(hot_in(counts, own), own))
    return np.allclose(found.residual[0], last.residual, rtol=1e-4, atol=1e-4)
