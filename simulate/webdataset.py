"""Simulated sets as tar files of NumPy arrays, which object stores hand out from beginning to end (WebDataset)."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noise_model.files import whole_file
from noise_model.progress import Report, silent
from simulate.dataset import PairDataset, shard_path
from simulate.shards import opened_shard

FOLDER = "webdataset"


def write_tars(folder: Path, progress: Report = silent) -> None:
    """Writes a tar file for each shard of a finished set into `folder`/webdataset, and the sensor beside them.

    Of each scene it holds 00000012.counts.npy (fluxes, bit depths, H, W), 00000012.x4.npy and 00000012.x16.npy (flux,
    float16), and 00000012.json with the exposure. Equal sets give equal bytes.

    Args:
        progress: called with the number of shards written and that of all.

    Raises:
        InputError: there is no finished set in the folder, or it cannot be written to.
    """
    pairs = PairDataset(folder, 1)
    exposure = {
        "count_time": pairs.exposures[0].count_time,
        "cycles": [each.cycles for each in pairs.exposures],
        "white_rate": pairs.white_rates,
    }
    shape = (len(pairs.white_rates), len(pairs.exposures), *pairs.sensor.shape)
    pairs.sensor.save(folder / FOLDER / "sensor.yaml")
    shards = -(-pairs.scenes // pairs.scenes_per_shard)
    for number in range(shards):
        path = shard_path(folder, number)
        target = folder / FOLDER / path.with_suffix(".tar").name
        with opened_shard(path) as shard, whole_file(target) as partial, tarfile.open(partial, "w") as archive:
            for row in range(shard.scenes):
                scene = number * pairs.scenes_per_shard + row
                for name, values in shard.arrays(row, shape).items():
                    _add(archive, f"{scene:08d}.{name}.npy", _npy(values))
                text = json.dumps({"scene": scene, "seed": pairs.seed} | exposure)
                _add(archive, f"{scene:08d}.json", text.encode())
        progress(number + 1, shards)


def _npy(values: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def _add(archive: tarfile.TarFile, name: str, contents: bytes) -> None:
    entry = tarfile.TarInfo(name)  # of no owner and no time
    entry.size = len(contents)
    archive.addfile(entry, io.BytesIO(contents))
