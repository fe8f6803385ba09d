"""A contact sheet of real frames: recorded, restored, and as published.

    python docs/make_contact_sheet.py INPUT PUBLISHED OUTPUT [WEIGHTS]

Writes OUTPUT/contact.png, all frames of the folder INPUT (single TIFF frames of one camera), and OUTPUT/<name>.png,
each by itself and larger: as recorded, restored x4, its standard uncertainty, and as published (`<name>.jpg` in
PUBLISHED, where there is one). The published pictures belong to others: keep them out of the repository.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from skimage.io import imread

from hardware.captures.capture import open_capture
from noise_model.forward_model import ForwardModel
from spadsr.evaluation.baselines import bicubic
from spadsr.pictures.sheets import Strip, contact_sheet, enlarged
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.weights import load_restorer

SCALE, ZOOM, COLUMNS = 4, 3, 4


def strip(path: Path, published: Path, restorer: Restorer) -> Strip:
    """One frame: recorded and restored at one brightness scale, the others at their own."""
    with open_capture(path) as capture:
        counts, model = capture.read(0, 1).astype(np.int64), ForwardModel(capture.sensor, capture.exposure)
    restored = restorer.restore(torch.from_numpy(counts), model, SCALE)[0]
    recorded = np.asarray(enlarged(bicubic(counts[0], model, 1), SCALE))
    others = {"uncertainty": restored.uncertainty}
    if published.is_file():
        others["published"] = imread(published, as_gray=True).astype(np.float32)
    return Strip(path.stem, {"recorded": recorded, "spadsr": restored.rate}, others)


def zoomed(one: Strip) -> Strip:
    rates, others = ({name: enlarged(p, ZOOM) for name, p in part.items()} for part in (one.rates, one.references))
    return Strip(one.label, rates, others)


def main() -> None:
    source, published, output = map(Path, sys.argv[1:4])
    output.mkdir(parents=True, exist_ok=True)
    restorer = load_restorer(sys.argv[4] if len(sys.argv) > 4 else None)
    paths = sorted(source.glob("*.tiff"), key=lambda path: int(path.stem) if path.stem.isdigit() else 0)
    strips = [strip(path, published / f"{path.stem}.jpg", restorer) for path in paths]
    contact_sheet(strips, output / "contact.png", COLUMNS)
    for one in strips:
        contact_sheet([zoomed(one)], output / f"{one.label}.png", columns=1)


if __name__ == "__main__":
    main()
