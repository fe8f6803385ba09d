"""Going on where an interrupted run stopped: what it restored is taken over, if the same would be restored again."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hardware.captures.capture import Capture
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from spadsr.provenance import Provenance
from spadsr.restoration.physics_check import physics_check
from spadsr.restoration.restored import Restored
from spadsr.restoration.restorer import hot_in, in_pixels, without
from spadsr.restoration.result_file import ResultFile, read_result
from spadsr.restoration.result_writer import part_of


@contextmanager
def earlier_part(
    result: Path, capture: Capture, model: ForwardModel, provenance: Provenance
) -> Iterator[ResultFile | None]:
    """Yields the part that an interrupted run left of a result, opened, or None where there is none.

    Args:
        capture, model, provenance: what is to be restored, how it was taken, and what the result will be made of.

    Raises:
        InputError: the part is of another capture, or was restored otherwise.
    """
    path = part_of(result)
    if not path.is_file():
        yield None
        return
    with read_result(path) as part:
        if not (_made_alike(part.provenance, provenance) and _of_the_same(part, capture, model)):
            wrong = "holds a part of another result, or one made with other options"
            raise InputError(f"{path}: {wrong}; delete it, or choose another output", "output")
        yield part


def restored_before(part: ResultFile, capture: Capture, model: ForwardModel, size: int) -> Iterator[Restored]:
    """The restored images of a part with their counts and hot pixels, in stacks of `size`."""
    for start in range(0, len(part), size):
        stop = min(start + size, len(part))
        counts, own = _in_pixels(capture, model, start, stop)
        yield replace(part.read(start, stop), counts=counts.numpy(), hot=hot_in(counts, own), notes=capture.notes)


def _in_pixels(capture: Capture, model: ForwardModel, start: int, stop: int) -> tuple[Tensor, ForwardModel]:
    """Counts of whole pixels, and how they were taken."""
    counts = torch.from_numpy(capture.read(start, stop).astype(np.int64))
    return in_pixels(counts, replace(model, exposure=capture.exposure_of(start, stop)))


def _made_alike(one: Provenance, other: Provenance) -> bool:
    """Whether the same images would be restored to the same bytes."""
    first, second = (json.dumps(vars(replace(each, command="")), sort_keys=True) for each in (one, other))
    return first == second


def _of_the_same(part: ResultFile, capture: Capture, model: ForwardModel) -> bool:
    """Whether a part was restored from these counts: its last residual is theirs."""
    rows, columns = capture.pixels
    fits = part.shape[0] <= capture.shape[0] and part.shape[1:] == (part.scale * rows, part.scale * columns)
    if not fits or part.settings != capture.settings or part.source != capture.path.name:
        return False
    last = part[len(part) - 1]
    counts, own = _in_pixels(capture, model, len(part) - 1, len(part))
    found = physics_check(counts, torch.from_numpy(last.rate[None]), without(hot_in(counts, own), own))
    return np.allclose(found.residual[0], last.residual, rtol=1e-4, atol=1e-4)
