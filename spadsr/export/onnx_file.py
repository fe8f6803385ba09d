"""Exports the network as one ONNX file, counts in and rates out, and proves that it agrees with the network."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hardware.settings import PartialSettings
from noise_model.errors import InputError
from noise_model.files import whole_file
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.export.agreement import CheckCapture, check_captures, difference
from spadsr.export.graph import ClosedGraph, OpenGraph
from spadsr.networks.measurement import SCALES
from spadsr.provenance import versions
from spadsr.restoration.restorer import Restorer

#: Largest difference from the network itself, over white, that a written file may show.
AGREEMENT = 1e-4

_REGISTERING = "torch.onnx._internal.exporter._registration"

MAPS = ("dark_count_rate", "pde", "bad_pixels")

MEANINGS = {
    "counts": "counts of the images, whole numbers as float32 (batch, 1, height, width), each summed from N frames",
    "cycles": "N: hardware frames of each pixel (1, 1, height, width); 0 where it never looked",
    "count_time": "time one hardware frame counts, s (1,)",
    "dark_count_rate": "dark counts/s of each pixel (1, 1, height, width); zeros where it is not known",
    "pde": "photon detection efficiency of each pixel, to any scale (1, 1, height, width); ones where it is not known",
    "bad_pixels": "not 0 where counts are to be ignored (1, 1, height, width); zeros where no bad pixel is known",
    "rate": "photon detection rate, counts/s per native pixel area (batch, 1, scale height, scale width)",
    "standard_uncertainty": "of the rate, in its unit and shape: one covers 68 % of the pixels",
    "coverage_factor": "how many standard uncertainties cover 95 % of the pixels of an image (batch,)",
}


@dataclass(frozen=True)
class Exported:
    """An exported file.

    Attributes:
        path: where it is.
        difference: its largest difference from the network, over white.
    """

    path: Path
    difference: float


def export_onnx(
    restorer: Restorer, sensor: Sensor, scale: int, path: Path, exposure: Exposure | None = None
) -> Exported:
    """Writes the network for one kind of array and one scale as an ONNX file.

    Args:
        sensor: the array; its dead time, bits, afterpulsing and crosstalk are fixed in the file.
        exposure: None makes exposure and sensor maps inputs of the file; else they are fixed too, and counts are the
            only input. The maps of a measured sensor also fix height and width.

    Raises:
        InputError: no such scale, a package is missing, the file cannot be written, or ONNX Runtime's answers differ
            from the network's by more than `AGREEMENT` of white: then no file is left.
    """
    if scale not in SCALES:
        raise InputError(f"scale {scale}: not available; choose one of {', '.join(map(str, SCALES))}")
    onnx = needed("onnx", "onnxscript", "onnxruntime")[0]
    fixed = exposure is not None and sensor.measured
    captures = list(check_captures(sensor, exposure, sensor.shape if fixed else None))
    graph = (
        OpenGraph(restorer, sensor, scale)
        if exposure is None
        else ClosedGraph(restorer, ForwardModel(sensor, exposure), scale)
    )
    proto = _traced(graph, [torch.from_numpy(each) for each in inputs_of(captures[0]).values()], fixed)
    _describe(proto, restorer, sensor, scale, exposure)
    with whole_file(path) as partial:
        onnx.save(proto, partial)
        worst = max(_differences(partial, captures, restorer, scale))
        if not worst <= AGREEMENT:
            raise InputError(
                f"{path}: ONNX Runtime differs from the network by {worst:.2g} of white, more than {AGREEMENT:g}; "
                "nothing was written; other versions of torch and onnxruntime may agree"
            )
    return Exported(Path(path), worst)


def inputs_of(capture: CheckCapture) -> dict[str, NDArray[np.float32]]:
    """The inputs of an exported file for a capture, by name; a file of fixed exposure takes counts alone."""
    sensor, exposure = capture.model.sensor, capture.model.exposure
    maps = dict(zip(MAPS, (sensor.dark_count_rate, sensor.pde, (~sensor.good).float()), strict=True))
    counts = {"counts": capture.counts[:, None].float().numpy()}
    if capture.fixed:
        return counts
    cycles = torch.as_tensor(exposure.cycles, dtype=torch.float32).expand(sensor.shape)
    return (
        counts
        | {"cycles": cycles[None, None].numpy(), "count_time": np.array([exposure.count_time], np.float32)}
        | {name: each[None, None].numpy() for name, each in maps.items()}
    )


def session(path: Path, threads: int = 1) -> Any:
    """A session of ONNX Runtime with a file, on some threads of the processor."""
    runtime = needed("onnxruntime")[0]
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the cores to others
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def needed(*names: str) -> list[Any]:
    """Imports packages that only exporting needs. Raises InputError where one is missing."""
    from importlib import import_module

    try:
        return [import_module(name) for name in names]
    except ImportError as error:
        raise InputError(f"exporting needs {error.name}; in your clone, run: pip install '.[export]'") from error


def sensor_to_export(sensor: str | None, dead_time: float | None, bits: int | None) -> Sensor:
    """The array that a file is made for: a sensor file or preset, or else an ideal array.

    Args:
        dead_time, bits: in place of the sensor's own; dead time in s.

    Raises:
        InputError: no such sensor, or too little is known of the array.
    """
    PartialSettings.of(None, counter_bits=bits, dead_time=dead_time)  # their ranges
    if sensor is not None:
        known = Sensor.load(sensor)
        bits = known.counter_bits if bits is None else bits
        dead_time = 0.0 if bits == 1 else known.dead_time if dead_time is None else dead_time
        return replace(known, dead_time=dead_time, counter_bits=bits)
    if bits == 1:
        dead_time = 0.0
    if bits is None or dead_time is None:
        raise InputError(
            "which array? Give a sensor (a calibrated YAML or a preset), 1 bit for a binary array, or bits and dead "
            "time for a counting one",
            "sensor",
            "bits",
            "dead_time",
        )
    ideal = torch.ones(1, 1), torch.zeros(1, 1)
    return Sensor(f"ideal, {bits} bit", *ideal, dead_time=dead_time, counter_bits=bits, measured=False)


def _traced(graph: nn.Module, example: Sequence[torch.Tensor], fixed: bool) -> Any:
    """The ONNX model of a graph; the number of images is free, and so are height and width unless they are fixed."""
    free = torch.export.Dim.DYNAMIC
    size = {} if fixed else {2: free, 3: free}
    opened = len(example) > 1
    shapes = [{0: free, **size}, *([size, {}, size, size, size] if opened else [])]
    logging.getLogger(_REGISTERING).setLevel(logging.ERROR)  # it warns that torchvision, which nothing needs, is absent
    program = torch.onnx.export(
        graph.eval(),
        tuple(example),
        dynamo=True,
        verbose=False,
        input_names=["counts", *(["cycles", "count_time", *MAPS] if opened else [])],
        output_names=["rate", "standard_uncertainty", *(["coverage_factor"] if opened else [])],
        dynamic_shapes=tuple(shapes),
        custom_translation_table={torch.ops.aten.log1p.default: _log1p},
    )
    assert program is not None
    return program.model_proto


def _log1p(x: Any) -> Any:
    """log(1 + x) = 2 artanh(x / (2 + x)): ONNX has no log1p, and log(1 + x) loses the rates of nearly empty images."""
    op = needed("onnxscript")[0].opset20
    return op.Mul(op.Atanh(op.Div(x, op.Add(x, op.CastLike(2.0, x)))), op.CastLike(2.0, x))


def _describe(proto: Any, restorer: Restorer, sensor: Sensor, scale: int, exposure: Exposure | None) -> None:
    """Describes the file inside itself, and takes out the traces of the machine on which it was made."""
    proto.producer_name, proto.producer_version = "spadsr", versions()["spadsr"]
    proto.doc_string = "Photon detection rates from the counts of a single-photon array; docs/export.md of spadsr"
    del proto.metadata_props[:], proto.graph.value_info[:], proto.graph.metadata_props[:]
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for name, value in file_facts(restorer, sensor, scale, exposure).items():
        proto.metadata_props.add(key=name, value=value)
    for values, factor in ((proto.graph.input, ""), (proto.graph.output, f"{scale} ")):
        for value in values:
            value.doc_string = MEANINGS[value.name]
            _name_sizes(value.type.tensor_type.shape.dim, factor)


def _name_sizes(sizes: Any, factor: str) -> None:
    for size, name in zip(sizes, ("batch", "", f"{factor}height", f"{factor}width"), strict=False):
        if size.dim_param:
            size.dim_param = name


def file_facts(restorer: Restorer, sensor: Sensor, scale: int, exposure: Exposure | None) -> dict[str, str]:
    """What is fixed in a file, and where its weights come from, by name."""
    facts = {
        "model": restorer.name,
        "weights_sha256": restorer.checksum,
        "provenance": json.dumps(restorer.provenance, sort_keys=True, default=str),
        "versions": json.dumps(versions()),
        "license": "BSD-3-Clause",
        "scale": str(scale),
        "unit": "counts/s per native pixel area",
        "sensor": sensor.name,
        "array": "binary" if sensor.binary else "counting",
        "counter_bits": str(sensor.counter_bits),
        "dead_time": f"{sensor.dead_time:g}",
        "afterpulse_probability": f"{sensor.afterpulse_probability:g}",
        "trap_lifetime": f"{sensor.trap_lifetime:g}",
        "crosstalk": json.dumps([[float(f"{p:.7g}") for p in row] for row in sensor.crosstalk.tolist()]),
    }
    fixed = {} if exposure is None else {"cycles": f"{exposure.cycles}", "count_time": f"{exposure.count_time:g}"}
    return facts | fixed


def _differences(path: Path, captures: Sequence[CheckCapture], restorer: Restorer, scale: int) -> list[float]:
    """The largest difference of a file from the network in each of some captures."""
    running = session(path)
    return [difference(running.run(None, inputs_of(each)), each, restorer, scale) for each in captures]
