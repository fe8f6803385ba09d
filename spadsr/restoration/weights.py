"""Weight files: safetensors with the network's size and provenance in the metadata. Loading never unpickles."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from noise_model.config_files import first_reason, in_short, parsed_json
from noise_model.errors import InputError
from noise_model.files import at_home, checksum, whole_file
from spadsr.networks.network import Network, NetworkConfig
from spadsr.networks.orientations import ORIENTATIONS
from spadsr.networks.registry import AnyNetworkConfig, build
from spadsr.restoration.intervals import Intervals
from spadsr.restoration.restorer import Restorer, usable_device

#: Weight files inside the package, by name, and the name of the one that is used where none is given.
SHIPPED = {path.stem: path for path in sorted((Path(__file__).parents[1] / "weights").glob("*.safetensors"))}
USUAL = "base"
_FORMAT = "spadsr weights"
_LARGEST_HEADER = 1 << 22  # bytes
_CONFIG: TypeAdapter[NetworkConfig] = TypeAdapter(AnyNetworkConfig)


def save_weights(path: Path, network: Network, intervals: Intervals, provenance: dict[str, Any]) -> None:
    """Writes the network's parameters as float16, with its size, the factors of its intervals, and its provenance.

    Against float32 answers change by less than 0.001 dB, and the file is half as large. Loading makes them float32.

    Raises:
        ValueError: a parameter is too large for float16, or not finite.
    """
    metadata = {
        "format": _FORMAT,
        "stored_as": "float16",
        "network": network.config.model_dump_json(),
        "intervals": intervals.model_dump_json(),
        "provenance": json.dumps(provenance, sort_keys=True, default=str),
    }
    tensors = {name: tensor.detach().half().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if wrong := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{wrong[0]}: values too large for float16, or not finite")
    packed = _in_order(save(tensors, metadata))  # what goes wrong on the disk is then an OSError, with its reason
    with whole_file(path) as partial:
        partial.write_bytes(packed)


def _in_order(packed: bytes) -> bytes:
    """A safetensors file with its metadata in order, which is otherwise random: equal weights have equal checksums."""
    start = 8 + int.from_bytes(packed[:8], "little")
    header = json.loads(packed[8:start])
    text = json.dumps({"__metadata__": dict(sorted(header.pop("__metadata__").items())), **header}).encode()
    text += b" " * (-len(text) % 8)  # the numbers behind it stay aligned
    return len(text).to_bytes(8, "little") + text + packed[start:]


def load_restorer(
    path: str | Path | None = None, device: str | torch.device = "cpu", orientations: int = 1
) -> Restorer:
    """Loads the network of a weight file, or of shipped weights by their name (`base`, `tiny`); `base` without a path.

    Args:
        device: `cpu`, or `cuda` where there is a GPU.
        orientations: how many turned and mirrored images, up to 8, are restored and averaged.

    Raises:
        InputError: no such file, not a weight file of this program, no such device, or no such number of orientations.
    """
    if not 1 <= orientations <= len(ORIENTATIONS):
        raise InputError(f"orientations {orientations}: expected 1 to {len(ORIENTATIONS)}", "orientations")
    path = at_home(USUAL if path is None else path)
    path = path if path.is_file() else SHIPPED.get(str(path), path)
    with opened_weights(path, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    network, intervals = _built(path, metadata, tensors)
    network = network.eval().to(usable_device(device)).to(memory_format=torch.channels_last)
    return Restorer(path.stem, network, intervals, _provenance(metadata), checksum(path), orientations)


@contextmanager
def opened_weights(path: Path, framework: str) -> Iterator[Any]:
    """A safetensors file, opened after a look at the size of its header; `framework` is that of its tensors.

    Raises:
        InputError: no such file, or not a safetensors file.
    """
    how = f"give a weight file made by `spadsr train` or a name ({', '.join(SHIPPED)})"
    if not path.is_file():
        raise InputError(f"{path}: {'not a safetensors' if path.exists() else 'no such'} file; {how}", "weights")
    try:
        with path.open("rb") as start:
            if int.from_bytes(start.read(8), "little") > _LARGEST_HEADER:
                raise InputError(f"{path}: not a safetensors file: its header is too long; {how}", "weights")
        with safe_open(str(path), framework=framework) as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a safetensors file ({in_short(error)}); {how}", "weights") from error


def _built(path: Path, metadata: dict[str, str], tensors: dict[str, Tensor]) -> tuple[Network, Intervals]:
    if metadata.get("format") != _FORMAT:
        raise InputError(f"{path}: a safetensors file, but not of spadsr weights; give a file made by `spadsr train`")
    try:
        network = build(_CONFIG.validate_python(parsed_json(metadata["network"])))
        network.load_state_dict(tensors)
        intervals = Intervals.model_validate(parsed_json(metadata["intervals"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = first_reason(error) if isinstance(error, ValidationError) else str(error).partition("\n")[0]
        raise InputError(f"{path}: its tensors do not fit the network it names ({reason})") from error
    if not all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values()):
        raise InputError(f"{path}: damaged: it holds numbers that are not finite; copy or train it again")
    return network, intervals


def _provenance(metadata: dict[str, str]) -> dict[str, Any]:
    try:
        return dict(parsed_json(metadata["provenance"]))
    except (KeyError, ValueError, TypeError):
        return {}
