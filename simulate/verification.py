"""Identity of simulated sets: checksums of every scene's arrays in one list, and whether the scenes still have them.

The list has a line for each scene, in order: 64 hexadecimal digits.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noise_model.errors import InputError
from noise_model.files import whole_file
from noise_model.progress import Report
from simulate.shards import digest_of, opened_shard

DIGESTS = "scenes.sha256"


def write_digests(folder: Path, shards: Sequence[Path]) -> None:
    """Writes the list of checksums, as the shards say them.

    Raises:
        InputError: a shard is damaged, or the folder cannot be written to.
    """
    with whole_file(folder / DIGESTS) as partial, partial.open("w", encoding="ascii", newline="\n") as file:
        for path in shards:
            with opened_shard(path) as shard:
                file.writelines(f"{digest}\n" for digest in shard.digests())


def verify(
    folder: Path, shards: Mapping[Path, range], counts: tuple[int, int, int, int], progress: Report
) -> list[str]:
    """What is wrong with a set: a sentence for each shard that is missing or damaged, and each scene that has changed.

    Args:
        shards: of the set, with their scenes.
        counts: shape of the counts of a scene (fluxes, bit depths, H, W).
        progress: called with the number of shards looked at and that of all.

    Raises:
        InputError: there is no list of checksums, or it is of another set.
    """
    listed, wrong = _listed(folder / DIGESTS, sum(map(len, shards.values()))), list[str]()
    for done, (path, scenes) in enumerate(shards.items(), start=1):
        try:
            changed = _changed(path, counts, listed[scenes.start : scenes.stop])
            wrong += [f"{path}: scene {scenes[row]} is not as listed in {DIGESTS}" for row in changed]
        except InputError as error:
            wrong.append(str(error))
        progress(done, len(shards))
    return wrong


def _changed(path: Path, counts: tuple[int, int, int, int], listed: NDArray[np.bytes_]) -> list[int]:
    """Rows of a shard that are not as listed."""
    with opened_shard(path) as shard:
        if shard.scenes != len(listed):
            raise InputError(f"{path}: {shard.scenes} scenes; expected {len(listed)}: simulate the set again")
        digests = [digest_of(shard.arrays(row, counts)) for row in range(shard.scenes)]
    return [row for row, digest in enumerate(digests) if digest != listed[row].decode("ascii")]


def _listed(path: Path, scenes: int) -> NDArray[np.bytes_]:
    line = np.dtype([("digest", "S64"), ("end", "S1")])
    if not path.is_file() or path.stat().st_size != scenes * line.itemsize:
        raise InputError(f"{path}: no list of {scenes} checksums; resume the simulation of the set")
    lines = np.fromfile(path, line)
    if (lines["end"] != b"\n").any() or any(not digest.isalnum() for digest in lines["digest"]):
        raise InputError(f"{path}: damaged; resume the simulation of the set")
    digests: NDArray[np.bytes_] = lines["digest"]
    return digests
