"""Samples of a recording: images spread evenly over it, by which a file that does not say what it holds is judged."""

from collections.abc import Iterator

import numpy as np

from hardware.parsing.source import Source
from noise_model.arrays import Counts

#: Images and numbers of the samples, which are taken until one decides. The last is 32 MB of counts of 16 bits.
SIZES = ((64, 1 << 22), (1024, 1 << 24))


def samples(source: Source) -> Iterator[Counts]:
    """Samples of growing size, (n, H, W) each; the last is the whole recording where that is small."""
    taken = 0
    for images, numbers in SIZES:
        wanted = min(source.shape[0], images, max(1, numbers // (source.shape[1] * source.shape[2])))
        if wanted > taken:
            taken = wanted
            yield spread(source, wanted)


def spread(source: Source, wanted: int) -> Counts:
    """So many images (or all there are) from the first to the last, (n, H, W)."""
    images = source.shape[0]
    if wanted >= images:
        return source.read(0, images)
    places = np.linspace(0, images - 1, wanted).astype(int)
    return np.concatenate([source.read(place, place + 1) for place in places.tolist()])
