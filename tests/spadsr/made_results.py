"""Results that no network made."""

from typing import Any

import numpy as np

from hardware.settings import Settings
from spadsr.provenance import Provenance
from spadsr.restoration.physics_check import PhysicsCheck
from spadsr.restoration.restored import Restored
from spadsr.restoration.result_writer import CHECKS
from spadsr.restoration.storage import rounded_rate, rounded_uncertainty

MADE = Provenance(
    model="default",
    model_sha256="ab" * 32,
    sensor={"name": "spc3", "dead_time": 5e-8},
    command="spadsr infer a.h5",
    config={"scale": 4, "sum": 2},
    versions={"torch": "2.11"},
)
TAKEN = Settings(10.4e-6, cycles=2, dead_time=50e-9, counter_bits=8, frame_time=1e-3)


def made(images: int = 6) -> Restored:
    """Made-up images of 3 x 5 pixels: each figure of the check is the number of the image, each residual too.

    Rates and uncertainties are as results round them.
    """
    number, random = np.arange(images, dtype=np.float64), np.random.default_rng(0)
    rate = random.random((images, 12, 20)).astype(np.float32) * 1e5
    uncertainty = rounded_uncertainty(rate / 10)
    rate = rounded_rate(rate, uncertainty)
    figures: dict[str, Any] = dict.fromkeys(CHECKS, number) | {"hot": number.astype(np.int64)}
    figures["residual"] = np.broadcast_to(number[:, None, None], (images, 3, 5)).astype(np.float32)
    return Restored(
        rate=rate,
        uncertainty=uncertainty,
        coverage_factor=np.full(images, 2.25, np.float32),
        check=PhysicsCheck(**figures),
        settings=TAKEN,
        provenance=MADE,
        warnings=("guesswork", "2 < 3"),
        source="a.npy",
        notes={"laser": "off", "description": "a simulated array"},
        counts=random.integers(0, 100, (images, 3, 5)),
    )
