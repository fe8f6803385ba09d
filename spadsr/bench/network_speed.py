"""Speed of networks that restore images of 64x32 at x4, and the share of the machine's peak, within one run."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from noise_model.forward_model import ForwardModel
from noise_model.progress import Report, silent
from noise_model.sensor import Exposure, Sensor
from spadsr.bench.timing import interleaved
from spadsr.networks.network import NetworkConfig
from spadsr.networks.registry import build
from spadsr.networks.window_attention import LIGHT, PUBLISHED
from spadsr.restoration.intervals import Intervals
from spadsr.restoration.restorer import Restorer

#: Other networks to compare with; only their cost matters here, so their weights are random.
PEERS: dict[str, NetworkConfig] = {"window attention, published": PUBLISHED, "window attention, light": LIGHT}

ONNX = "spadsr, ONNX Runtime"

_EXPOSURE = Exposure(875e-9, 4)

#: Images at once: one, and as many as fill the device. On a processor the largest network takes only one.
_BATCHES = {"cpu": (1, 16), "cuda": (1, 256)}
_LARGE_GMAC = 10.0
_PEAK_SIDE = {"cpu": 1024, "cuda": 8192}


@dataclass(frozen=True)
class NetworkSpeed:
    """The speed of a network on images of 64x32, restored at x4.

    Attributes:
        gmac: billions of multiplications in matrix products and convolutions, of an image.
        batch: images restored at once.
        peak_share: multiplications a second, over those of a large matrix product in the same run.
    """

    name: str
    parameters: int
    gmac: float
    batch: int
    frames_per_second: float
    peak_share: float


@dataclass(frozen=True)
class InferenceSpeed:
    """The speed of all networks, and that of a large matrix product: billions of multiplications a second."""

    networks: list[NetworkSpeed]
    peak_gmac_per_second: float
    arithmetic: str
    device: str


def bench_infer(restorer: Restorer, progress: Report = silent) -> InferenceSpeed:
    """Measures the speed of a restorer beside that of the plain window-attention networks.

    All networks run in the same arithmetic, in turn with a large matrix product; the restorer's network also runs in
    ONNX Runtime (float32), where that is installed. Answers stay on the device.

    Args:
        progress: called with the number of runs done and that of all.
    """
    device, dtype = restorer.device, torch.bfloat16 if restorer.bfloat16 else torch.float32
    restorers = {"spadsr": restorer, **{name: _random(config, device) for name, config in PEERS.items()}}
    costs = {name: gmac(_job(each, 1)) for name, each in restorers.items()}
    jobs: dict[tuple[str, int], Callable[[], object]] = {
        (name, batch): _job(each, batch) for name, each in restorers.items() for batch in _batches(device, costs[name])
    }
    jobs |= {(ONNX, batch): job for batch, job in _exported_jobs(restorer).items()}
    side = _PEAK_SIDE[device.type]
    *seconds, product = interleaved(*jobs.values(), _product(side, dtype, device), progress=progress)
    peak = side**3 / product / 1e9
    speeds = []
    for (name, batch), taken in zip(jobs, seconds, strict=True):
        network = "spadsr" if name == ONNX else name
        size, cost, rate = parameters(restorers[network].network), costs[network], batch / taken
        speeds.append(NetworkSpeed(name, size, cost, batch, rate, cost * rate / peak))
    return InferenceSpeed(speeds, peak, str(dtype).removeprefix("torch."), _called(device))


def parameters(network: torch.nn.Module) -> int:
    """Number of parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def gmac(job: Callable[[], object]) -> float:
    """Billions of multiplications of a job, in matrix products and convolutions."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        job()
    return float(counter.get_total_flops()) / 2e9


def _random(config: NetworkConfig, device: torch.device) -> Restorer:
    network = build(config).eval().to(device)
    network = network.to(memory_format=torch.channels_last)
    return Restorer("random", network, Intervals(), {}, "")


def _batches(device: torch.device, cost: float) -> tuple[int, ...]:
    batches = _BATCHES[device.type]
    return batches[:1] if device.type == "cpu" and cost > _LARGE_GMAC else batches


def _job(restorer: Restorer, batch: int) -> Callable[[], None]:
    model, frames = ForwardModel(_sensor(), _EXPOSURE).to(restorer.device), _frames(batch).to(restorer.device)

    def restore() -> None:
        restorer.answer(frames, model, 4)
        _wait(restorer.device)

    return restore


def _sensor() -> Sensor:
    return Sensor.load("spc3").uniform((64, 32))


def _frames(batch: int) -> Tensor:
    return torch.randint(0, 60, (batch, 64, 32), generator=torch.Generator().manual_seed(0))


def _exported_jobs(restorer: Restorer) -> dict[int, Callable[[], object]]:
    """Jobs that restore the same frames in ONNX Runtime, on as many threads; none where it is not installed."""
    if restorer.device.type != "cpu" or not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
        return {}
    from spadsr.export.onnx_file import export_onnx, session

    with TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        export_onnx(restorer, _sensor(), 4, file, _EXPOSURE)
        runtime = session(file, torch.get_num_threads())

    def job(batch: int) -> Callable[[], object]:
        counts = _frames(batch)[:, None].float().numpy()
        return lambda: runtime.run(None, {"counts": counts})

    return {batch: job(batch) for batch in _BATCHES["cpu"]}


def _product(side: int, dtype: torch.dtype, device: torch.device) -> Callable[[], None]:
    a, b = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))

    def multiply() -> None:
        torch.mm(a, b)
        _wait(device)

    return multiply


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _called(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} processor threads"
