"""Speed of ONNX Runtime beside torch, by turns on the same counts."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from noise_model.sensor import Exposure, Sensor
from spadsr.bench import interleaved
from spadsr.model_agreement import CheckCapture
from spadsr.model_export import export_onnx, inputs_of, session
from spadsr.model_graph import Float32Restorer
from spadsr.restorer import Restorer


@dataclass(frozen=True)
class RuntimeSpeed:
    """Images of 64x32 restored x4 a second, from counts to rates on the processor.

    Attributes:
        torch_fast_per_second: of torch as `infer` runs it: bfloat16 where the processor has it.
        torch_per_second, onnx_per_second: both in float32.
    """

    threads: int
    batch: int
    torch_fast_per_second: float
    torch_per_second: float
    onnx_per_second: float


def bench_onnx(
    restorer: Restorer, threads: tuple[int, ...] = (1, 2), batches: tuple[int, ...] = (1, 16)
) -> list[RuntimeSpeed]:
    """Exports the network for an ideal counting array, and measures both on each number of threads and images."""
    sensor = Sensor("ideal", torch.ones(64, 32), torch.zeros(64, 32), 50e-9, 6, measured=False)
    with TemporaryDirectory() as folder:
        file = export_onnx(restorer, sensor, 4, Path(folder) / "model.onnx").path
        return [_measured(restorer, sensor, file, count, images) for count in threads for images in batches]


def _measured(restorer: Restorer, sensor: Sensor, file: Path, threads: int, images: int) -> RuntimeSpeed:
    counts = torch.randint(0, 60, (images, *sensor.shape), generator=torch.Generator().manual_seed(0))
    capture = CheckCapture(counts, Exposure(10.4e-6, 16), sensor, white=1.0, fixed=False)
    running, given = session(file, threads), inputs_of(capture)
    asked = counts, capture.exposure, sensor, 4
    with _torch_threads(threads):
        seconds = interleaved(
            partial(restorer.restore, *asked),
            partial(Float32Restorer(**vars(restorer)).restore, *asked),
            partial(running.run, ["rate", "standard_uncertainty"], given),
        )
    return RuntimeSpeed(threads, images, *(images / each for each in seconds))


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
