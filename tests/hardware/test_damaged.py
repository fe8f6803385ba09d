"""Bytes flipped, overwritten and cut off: a file is read, or refused with one line, at once."""

import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware.captures.capture import open_capture
from noise_model.errors import InputError

MUTANTS, PATIENCE = 300, 5.0


def mutant(whole: bytes, rng: np.random.Generator) -> bytes:
    """`whole` cut off, or with one to eleven bytes changed, mostly where it is not zero."""
    if rng.random() < 0.25:
        return whole[: rng.integers(len(whole))]
    changed = np.frombuffer(whole, np.uint8).copy()
    places = np.flatnonzero(changed) if rng.random() < 0.7 else np.arange(len(changed))
    places = rng.choice(places, rng.integers(1, 12))
    flips = np.uint8(1) << rng.integers(0, 8, len(places), dtype=np.uint8)
    changed[places] = np.where(
        rng.random(len(places)) < 0.5, changed[places] ^ flips, rng.integers(0, 256, len(places))
    )
    return changed.tobytes()


def outcome(path: Path) -> str:
    """What reading some of it ends in."""
    try:
        with open_capture(path) as capture:
            for block in islice(capture.summed(1).blocks(4), 5):
                assert block.max() <= capture.settings.saturation_value
            return "read"
    except InputError as error:
        one_line = "\n" not in str(error) and str(path) in str(error)
        return "refused" if one_line else f"refused badly: {error}"


@pytest.mark.parametrize("name", ["a.h5", "a.tif", "zlib.tif", "imagej.tif", "peak.tif", "a.npy"])
def test_mutants_are_read_or_refused(save: Any, name: str) -> None:
    rng = np.random.default_rng(1)
    counts = rng.poisson(2, (12, 16, 8)).astype(np.uint8)
    flavours: dict[str, dict[str, Any]] = {"zlib.tif": {"compression": "zlib"}, "imagej.tif": {"imagej": True}}
    if name == "peak.tif":
        counts = np.rint(255 / counts[0].max() * counts[0]).astype(np.uint8)
    path = save(name, counts, **flavours.get(name, {}))
    whole = path.read_bytes()
    outcomes = []
    for _ in range(MUTANTS):
        path.write_bytes(mutant(whole, rng))
        start = time.monotonic()
        outcomes.append(outcome(path))
        assert time.monotonic() - start < PATIENCE
    assert set(outcomes) == {"read", "refused"}
