"""The table of docs/restore.md that says how small results are: nothing is needed but the package.

python docs/make_sizes.py  # half a minute of a core
"""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import torch
from make_limits import FRAMES, SCALE, array, cuts, put

import spadsr
from noise_model.progress import silent
from noise_model.sensor import Exposure
from spadsr.demo import run_demo
from spadsr.evaluation.metrics import block_mean
from spadsr.evaluation.tables import Table, markdown_table
from spadsr.restoration.restored import Restored, write_result
from spadsr.restoration.storage import Compression, Storage

PAGE = Path(__file__).parent / "restore.md"
COMPRESSIONS: tuple[Compression, ...] = ("gzip", "lz4")
SUMS = (1, 64)  # images of the demo
IMAGES = 64  # of them, at most


def smaller(result: Restored, path: Path, compression: Compression) -> str:
    """How much of the room of float32 the rates and uncertainties of a stack take in a result file."""
    write_result(iter([result]), path, Storage(compression=compression))
    with h5py.File(path, "r") as file:
        stored = [file[f"entry/instrument/detector/{name}"] for name in ("data", "uncertainty")]
        kept = sum(each.id.get_storage_size() for each in stored)
    return f"1/{(result.rate.nbytes + result.uncertainty.nbytes) / kept:.1f}"


def row(label: str, results: Iterable[Restored], folder: Path) -> list[str]:
    """The cells of what each compression makes of some stacks."""
    found = [[smaller(result, folder / "of.sr.h5", each) for each in COMPRESSIONS] for result in results]
    return [label, *map(", ".join, zip(*found, strict=True))]


def of_demo(folder: Path) -> Iterable[Restored]:
    """The first images of the demo's capture, and sums of all."""
    made = run_demo(folder, 0, silent, "python docs/make_sizes.py").capture
    with spadsr.open(made) as capture:
        for count in SUMS:
            summed = capture.summed(count)
            counts = summed.read(0, min(IMAGES, summed.shape[0]))
            yield spadsr.restore(counts, exposure=summed.exposure, sensor=summed.sensor)


def of_photographs(weights: str) -> Iterable[Restored]:
    """Parts of photographs, taken by a binary array, in each number of frames."""
    rates = np.stack([block_mean(scene, SCALE) for scene in cuts()])
    for frames in FRAMES:
        exposure = Exposure(1.0, frames)
        counts = spadsr.simulate(rates, exposure=exposure, sensor=array())
        yield spadsr.restore(counts, exposure=exposure, sensor=array(), weights=weights)


def main() -> None:
    torch.set_num_threads(1)
    table: Table = [["64x32 and 32x32 at x4", *COMPRESSIONS]]
    with TemporaryDirectory() as folder:
        table.append(row(f"demo, {IMAGES} images; sums of {SUMS[1]}", of_demo(Path(folder)), Path(folder)))
        for weights in ("tiny", "base"):
            label = f"photographs, `{weights}`, N = {', '.join(map(str, FRAMES))}"
            table.append(row(label, of_photographs(weights), Path(folder)))
    put(PAGE, "sizes", list(markdown_table(table, numbers=True)))


if __name__ == "__main__":
    main()
