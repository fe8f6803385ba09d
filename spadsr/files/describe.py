"""What a file is, in rows of words: captures, results, weights, sensors and simulated sets."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from hardware.captures.capture import Capture, open_capture
from hardware.hdf5.checks import attribute
from hardware.hdf5.datasets import all_items
from hardware.hdf5.nexus_tree import plain
from hardware.parsing.source import blaming, regular_file
from hardware.settings import in_seconds
from noise_model.config_files import parsed_json, shipped_configs
from noise_model.files import checksum, in_bytes
from noise_model.hdf5_files import read_hdf5
from noise_model.sensor import Sensor
from simulate.dataset import MANIFEST, read_manifest
from simulate.shards import KIND as PAIRS
from spadsr.export.facts import onnx_facts
from spadsr.restoration.moving import change_of
from spadsr.restoration.physics_check import summary
from spadsr.restoration.result_file import ResultFile, read_result
from spadsr.restoration.result_writer import is_result
from spadsr.restoration.weights import SHIPPED, opened_weights

Rows = list[tuple[str, str]]

_WATCHED, _WATCHED_BYTES = 1000, 1 << 26  # images and bytes that are looked at for motion


class Words(str):
    """A value in words.

    Attributes:
        value: the same as plain data: numbers in SI units, lists, or tables of them.
    """

    value: Any

    def __new__(cls, sentence: str, value: Any) -> Self:
        words = super().__new__(cls, sentence)
        words.value = value
        return words


def describe(path: str | Path, **options: Any) -> Rows:
    """Names and values that say what `path` is: a capture, a result, weights, a sensor or a simulated set.

    Weights and sensors that are shipped are known by their names.

    Args:
        options: keywords of `open_capture`, for a capture that does not say.

    Raises:
        InputError: no such file, damaged, or none of these.
    """
    path = Path(path)
    if not path.exists() and str(path) in SHIPPED:
        return _weights(SHIPPED[str(path)])
    if path.suffix.lower() in (".yaml", ".yml") or (
        not path.exists() and (shipped_configs() / "sensors" / f"{path}.yaml").is_file()
    ):
        return _sensor(path)
    if (path / MANIFEST).is_file():
        return _set(path)
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


def as_data(rows: Rows) -> dict[str, Any]:
    """The same as plain data, by name; names that come more than once have a list."""
    found: dict[str, list[Any]] = {}
    for name, words in rows:
        found.setdefault(name, []).append(words.value if isinstance(words, Words) else str(words))
    return {name: values[0] if len(values) == 1 and name not in _MANY else values for name, values in found.items()}


def _kind(path: Path) -> str:
    if not h5py.is_hdf5(path):
        return ""
    with blaming(path, "HDF5 file"), read_hdf5(path) as file:
        if is_result(file):
            return "result"
        return str(plain(attribute(path, file, "kind"))) if "kind" in file.attrs else ""


def _capture(capture: Capture) -> Rows:
    first = next(capture.blocks())
    exposure, own = capture.exposure_of(0, len(first)), " for each pixel" if capture.mapped else ""
    looked = {"count_time": exposure.count_time, "cycles": exposure.most_cycles}
    rows = [
        ("file", f"{capture.path} ({capture.format})"),
        ("images", Words(_extent(capture.shape), list(capture.shape))),
        ("exposure", Words(f"{exposure.frames} x {in_seconds(exposure.count_time)}{own}", looked)),
        ("array", _array(capture.settings.counter_bits)),
        ("dead time", _time(capture.settings.dead_time)),
        ("largest count possible", _number(capture.settings.saturation_value)),
        (
            "counts in the first block",
            Words(
                f"mean {first.mean():.4g}, largest {first.max()}",
                {"mean": float(first.mean()), "largest": int(first.max())},
            ),
        ),
    ]
    if capture.places > 1:
        rows.append(("places", f"counts of {capture.places} x {capture.places} places within each pixel kept apart"))
    if capture.settings.frame_time:
        rows.append(("period", _time(capture.settings.frame_time)))
    assumed = [("assumed", sentence) for sentence in capture.assumptions]
    return [*rows, *_marks(capture), *_motion(capture), *assumed]


def _motion(capture: Capture) -> Iterator[tuple[str, str]]:
    """Whether the scene of the first images moves, so that a sum of them is blurred."""
    enough = _WATCHED_BYTES // (math.prod(capture.shape[1:]) * capture.dtype.itemsize)
    images = min(_WATCHED, enough, capture.shape[0], ((1 << 32) - 1) // capture.settings.saturation_value)
    if capture.mapped or images < 2 or (capture.image_key is not None and capture.image_key[:images].any()):
        return
    if (change := change_of(capture.summed(images), 0)).moves:
        yield "motion", Words(f"of the first {images} images summed: {change.sentence()}", vars(change))


def _marks(capture: Capture) -> Iterator[tuple[str, str]]:
    if capture.pixel_mask is not None:
        yield "masked pixels", _number(int(np.count_nonzero(capture.pixel_mask)))
    if capture.image_key is not None:
        numbers = np.bincount(capture.image_key, minlength=4)
        yield "image keys", ", ".join(f"{n} {kind}" for n, kind in zip(numbers, KEYS, strict=False) if n)
    if capture.lost is not None:
        yield "images lost", _number(capture.lost)
    if capture.settings.corrected:
        yield "warning", "dead-time corrected: not what the sensor counted"
    if capture.settings.background_subtracted:
        yield "warning", "background subtracted: not what the sensor counted"
    for name, value in capture.notes.items():
        yield name, str(value)


_MANY = ("assumed", "warning", "missing")  # always lists, as data
KEYS = ("scenes", "flats", "darks", "invalid")


def _result(result: ResultFile) -> Rows:
    made = result.provenance
    return [
        ("file", f"{result.path} (restored by {result.creator})"),
        ("images", Words(f"{_extent(result.shape)}, counts/s per native pixel", list(result.shape))),
        ("scale", Words(f"x{result.scale}", result.scale)),
        ("made from", result.source),
        *(("missing", sentence) for sentence in result.missing),
        *([] if result.missing else [("physics check", summary(result.check("chi_squared")))]),
        *((name, _number(value)) for name, value in result.settings.numbers().items()),
        ("model", f"{made.model} (sha256 {made.model_sha256[:12]})"),
        ("sensor", str(made.sensor.get("name", "not named"))),
        ("command", made.command),
        *((f"version of {name}", version) for name, version in made.versions.items()),
        *(("warning", sentence) for sentence in result.warnings),
    ]


def _weights(path: Path) -> Rows:
    with opened_weights(path, "numpy") as weights:
        names = weights.keys()
        sizes = [math.prod(weights.get_slice(name).get_shape()) for name in names]
        metadata = weights.metadata() or {}
    return [
        ("file", f"{path} (weights)"),
        ("tensors", _number(len(sizes))),
        ("parameters", Words(f"{sum(sizes):,}", sum(sizes))),
        ("sha256", checksum(path)),
        *(row for name, text in sorted(metadata.items()) for row in _leaves(name, _parsed(text))),
    ]


def _parsed(text: str) -> Any:
    """JSON, or the text itself where it is none, or beyond the limits of what is read."""
    try:
        return parsed_json(text)
    except ValueError:
        return text


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """A row for each value in nested ones."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}", inner)
    elif isinstance(value, list):
        yield name, Words(", ".join(map(_in_short, value)), value)
    elif value is not None:
        yield name, Words(_in_short(value), value)


def _in_short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: float) -> Words:
    return Words(f"{value:g}" if isinstance(value, float) else str(value), value)


def _time(seconds: float) -> Words:
    return Words(in_seconds(seconds), seconds)


def _array(bits: int) -> Words:
    return Words("binary" if bits == 1 else f"counting, {bits} bits", {"counter_bits": bits})


def _sensor(path: Path) -> Rows:
    sensor = Sensor.load(path)
    how = "maps of one array" if sensor.measured else "a preset: maps drawn to be typical of its kind"
    estimates = (
        (name.replace("_", " "), Words(f"{one.value:.4g}, 95 % within {one.low:.4g} to {one.high:.4g}", vars(one)))
        for name, one in sensor.estimates.items()
    )
    return [
        ("file", f"{path} (sensor)"),
        ("name", sensor.name),
        ("pixels", Words(f"{sensor.shape[0]} x {sensor.shape[1]}, {how}", list(sensor.shape))),
        ("array", _array(sensor.counter_bits)),
        ("dead time", _time(sensor.dead_time)),
        ("mean efficiency", _number(round(float(sensor.pde.mean()), 6))),
        ("median dark rate, cps", _number(round(float(sensor.dark_count_rate.median()), 6))),
        ("afterpulse probability", _number(sensor.afterpulse_probability)),
        ("trap lifetime", _time(sensor.trap_lifetime)),
        ("crosstalk, in all", _number(round(float(sensor.crosstalk.sum()), 6))),
        ("bad pixels", _number(int((~sensor.good).sum()))),
        ("source", sensor.source),
        *estimates,
    ]


def _set(folder: Path) -> Rows:
    """A simulated set; how much of it is there."""
    made = read_manifest(folder / MANIFEST)
    sizes = [shard.stat().st_size for shard in folder.glob("shard-*.h5")]
    return [
        ("file", f"{folder} (simulated set)"),
        ("files", Words(f"{len(sizes)}, {in_bytes(sum(sizes))}", {"files": len(sizes), "bytes": sum(sizes)})),
        *(row for name, value in made.items() for row in _leaves(name, value)),
    ]


def _pairs(path: Path) -> Rows:
    with blaming(path, "simulated set"), read_hdf5(path) as file:
        rows = [
            ("file", f"{path} (simulated set)"),
            *((name, str(plain(attribute(path, file, name)))) for name in file.attrs),
        ]
        return rows + [
            (item.name.lstrip("/"), f"{item.dtype} {' x '.join(map(str, item.shape))}")
            for item in all_items(file)
            if isinstance(item, h5py.Dataset)
        ]


def _extent(shape: tuple[int, int, int]) -> str:
    return f"{shape[0]} image{'s' * (shape[0] > 1)} of {shape[1]} x {shape[2]}"
