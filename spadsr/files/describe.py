"""What a file is, in rows of words: captures, results, weights and simulated sets."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors import SafetensorError, safe_open

from hardware.captures.capture import Capture, open_capture
from hardware.parsing.source import blaming, regular_file
from hardware.settings import in_seconds
from noise_model.errors import InputError
from noise_model.files import checksum
from noise_model.hdf5_files import read_hdf5
from simulate.shards import KIND as PAIRS
from spadsr.export.facts import onnx_facts
from spadsr.restoration.physics_check import summary
from spadsr.restoration.result_file import ResultFile, read_result
from spadsr.restoration.result_writer import is_result

Rows = list[tuple[str, str]]


def describe(path: str | Path, **options: Any) -> Rows:
    """Names and values that say what `path` is: a capture, a result, a weight file or a simulated set.

    Args:
        options: keywords of `open_capture`, for a capture that does not say.

    Raises:
        InputError: no such file, damaged, or none of these.
    """
    path = Path(path)
    if path.is_dir():
        with open_capture(path, **options) as capture:
            return _capture(capture)
    regular_file(path)
    if path.suffix == ".safetensors":
        return _weights(path)
    if path.suffix == ".onnx":
        return onnx_facts(path)
    kind = _kind(path)
    if kind == PAIRS:
        return _pairs(path)
    if kind == "result":
        with read_result(path) as result:
            return _result(result)
    with open_capture(path, **options) as capture:
        return _capture(capture)


def _kind(path: Path) -> str:
    if not h5py.is_hdf5(path):
        return ""
    with blaming(path, "HDF5 file"), read_hdf5(path) as file:
        return "result" if is_result(file) else str(file.attrs.get("kind", ""))


def _capture(capture: Capture) -> Rows:
    exposure, first = capture.exposure, next(capture.blocks())
    rows = [
        ("file", f"{capture.path} ({capture.format})"),
        ("images", _extent(capture.shape)),
        ("exposure", f"{exposure.cycles} x {in_seconds(exposure.count_time)}"),
        (
            "array",
            "binary" if capture.settings.counter_bits == 1 else f"counting, {capture.settings.counter_bits} bits",
        ),
        ("dead time", in_seconds(capture.settings.dead_time)),
        ("largest count possible", str(capture.settings.saturation_value)),
        ("counts in the first block", f"mean {first.mean():.4g}, largest {first.max()}"),
    ]
    if capture.settings.frame_time:
        rows.append(("period", in_seconds(capture.settings.frame_time)))
    return rows + list(_marks(capture)) + [("assumed", sentence) for sentence in capture.assumptions]


def _marks(capture: Capture) -> Iterator[tuple[str, str]]:
    if capture.pixel_mask is not None:
        yield "masked pixels", str(np.count_nonzero(capture.pixel_mask))
    if capture.image_key is not None:
        numbers = np.bincount(capture.image_key, minlength=4)
        yield "image keys", ", ".join(f"{n} {kind}" for n, kind in zip(numbers, KEYS, strict=False) if n)
    if capture.lost is not None:
        yield "images lost", str(capture.lost)
    if capture.settings.corrected:
        yield "warning", "dead-time corrected: not what the sensor counted"
    if capture.settings.background_subtracted:
        yield "warning", "background subtracted: not what the sensor counted"
    for name, value in capture.notes.items():
        yield name, str(value)


KEYS = ("scenes", "flats", "darks", "invalid")


def _result(result: ResultFile) -> Rows:
    made = result.provenance
    return [
        ("file", f"{result.path} (restored by {result.creator})"),
        ("images", f"{_extent(result.shape)}, counts/s per native pixel"),
        ("scale", f"x{result.scale}"),
        ("made from", result.source),
        ("physics check", summary(result.check("chi_squared"))),
        *((name, f"{value:g}") for name, value in result.settings.numbers().items()),
        ("model", f"{made.model} (sha256 {made.model_sha256[:12]})"),
        ("sensor", str(made.sensor.get("name", "not named"))),
        ("command", made.command),
        *((f"version of {name}", version) for name, version in made.versions.items()),
        *(("warning", sentence) for sentence in result.warnings),
    ]


def _weights(path: Path) -> Rows:
    try:
        with safe_open(path, framework="numpy") as weights:
            names = weights.keys()
            sizes = [math.prod(weights.get_slice(name).get_shape()) for name in names]
            metadata = weights.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a safetensors weight file ({str(error).splitlines()[0]})") from error
    return [
        ("file", f"{path} (weights)"),
        ("tensors", str(len(sizes))),
        ("parameters", f"{sum(sizes):,}"),
        ("sha256", checksum(path)),
        *(row for name, text in sorted(metadata.items()) for row in _leaves(name, _parsed(text))),
    ]


def _parsed(text: str) -> Any:
    """JSON, or the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """A row for each value in nested ones."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}", inner)
    elif isinstance(value, list):
        yield name, ", ".join(map(_in_short, value))
    elif value is not None:
        yield name, _in_short(value)


def _in_short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _pairs(path: Path) -> Rows:
    with blaming(path, "simulated set"), read_hdf5(path) as file:
        rows = [("file", f"{path} (simulated set)"), *((name, str(value)) for name, value in file.attrs.items())]

        def note(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                rows.append((name, f"{item.dtype} {' x '.join(map(str, item.shape))}"))

        file.visititems(note)
        return rows


def _extent(shape: tuple[int, int, int]) -> str:
    return f"{shape[0]} image{'s' * (shape[0] > 1)} of {shape[1]} x {shape[2]}"
