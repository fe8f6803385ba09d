"""Counts stored as floating-point numbers, as programs for images and matrices keep them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.source import Source
from noise_model.errors import InputError


def as_counts(path: Path, source: Source, name: str = "") -> Source:
    """A source of whole numbers where those in the file are floating-point ones; others are as they are.

    Args:
        name: of the array in the file, for messages.
    """
    if source.dtype.kind != "f":
        return source
    return replace(
        source,
        dtype=np.dtype(np.int64),
        read=lambda start, stop: whole_numbers(path, source.read(start, stop), name),
    )


def whole_numbers(path: Path, block: NDArray[np.floating[Any]], name: str = "") -> NDArray[np.int64]:
    """Whole numbers from floating-point ones.

    Raises:
        InputError: one is not whole, not finite or beyond the whole numbers that all are represented.
    """
    if not (np.abs(block) < 2**53).all() or (block != np.rint(block)).any():
        held = f"{name} holds numbers" if name else "numbers"
        raise InputError(f"{path}: {held} that are not whole; expected counts, not rates or averages")
    return block.astype(np.int64)
