"""Exports the network as a BioImage.IO model package, for Fiji (deepImageJ), ilastik, napari and bioimageio's programs.

Format: BioImage.IO model description 0.5, https://bioimage-io.github.io/spec-bioimage-io.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from noise_model.errors import InputError
from noise_model.files import whole_file
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Sensor
from simulate.procedural import procedural_scene
from simulate.scenes import scene_rng
from spadsr.export.onnx_file import MEANINGS, Exported, export_onnx, file_facts, needed, session
from spadsr.restoration.restorer import Restorer

_LEAST = 16  # pixels on a side that the package promises to take

_PAPER = "Bian et al., High-resolution single-photon imaging with physics-informed deep learning, Nat. Commun. 14, 5902"
_DOI = "10.1038/s41467-023-41597-9"


def export_package(restorer: Restorer, model: ForwardModel, scale: int, path: Path) -> Exported:
    """Writes the network for one sensor, exposure and scale as a package (`.zip`) that takes counts alone.

    It is tested as `bioimageio test` does, without a network connection, before it takes its name.

    Raises:
        InputError: as `export_onnx`, or the package fails its test.
    """
    needed("onnx", "onnxscript", "onnxruntime", "bioimageio.core")
    with TemporaryDirectory() as name:
        folder = Path(name)
        done = export_onnx(restorer, model.sensor, scale, folder / "model.onnx", model.exposure)
        _write_contents(folder, restorer, model, scale)
        with whole_file(path) as partial:
            _pack(folder, _description(folder, restorer, model, scale), partial)
    return Exported(Path(path), done.difference)


def _pack(folder: Path, description: dict[str, Any], partial: Path) -> None:
    spec, core = needed("bioimageio.spec", "bioimageio.core")
    model = spec.build_description(description, context=spec.ValidationContext(root=folder))
    if not isinstance(model, needed("bioimageio.spec.model.v0_5")[0].ModelDescr):
        raise InputError(f"bioimageio refuses the package: {_failures(model.validation_summary)}")
    spec.save_bioimageio_package(model, output_path=partial)
    summary = core.test_model(partial)
    if summary.status != "passed":
        raise InputError(f"the package fails `bioimageio test`: {_failures(summary)}")


def _failures(summary: Any) -> str:
    found = [error for detail in summary.details for error in detail.errors]
    return "; ".join(f"{'.'.join(map(str, each.loc))}: {each.msg}" for each in found[:3]) or str(summary.status)


def _write_contents(folder: Path, restorer: Restorer, model: ForwardModel, scale: int) -> None:
    counts = _drawn_capture(model)
    rate, sd = session(folder / "model.onnx").run(None, {"counts": counts})
    for name, array in (("counts", counts), ("rate", rate), ("standard_uncertainty", sd)):
        np.save(folder / f"{name}.npy", array)
    _write_cover(folder / "cover.png", counts[0, 0], rate[0, 0])
    (folder / "README.md").write_text(_readme(restorer, model, scale))


def _drawn_capture(model: ForwardModel) -> NDArray[np.float32]:
    """Counts (1, 1, H, W) of a drawn scene, 64x64 where the sensor has no size of its own."""
    sensor, exposure = model.sensor, model.exposure
    known = sensor if sensor.measured else sensor.uniform((64, 64))
    white = 0.2 / exposure.count_time if sensor.binary else 10 / exposure.count_time
    scene = torch.from_numpy(procedural_scene(known.shape, scene_rng(0, 0)).astype(np.float32))
    light = (scene / scene.amax()).clamp(min=0)
    counts = ForwardModel(known, exposure).sample(white * light[None], torch.Generator().manual_seed(0))
    return counts[:, None].numpy().astype(np.float32)


def _write_cover(path: Path, counts: NDArray[np.float32], rate: NDArray[np.float32]) -> None:
    """Counts beside the answer, twice as wide as high for a square sensor."""
    from matplotlib.image import imsave

    size = tuple(rate.shape)
    shown = F.interpolate(torch.from_numpy(counts)[None, None], size=size, mode="nearest")[0, 0].numpy()
    sides = [np.clip(side / max(float(np.quantile(side, 0.999)), 1e-9), 0, 1) for side in (shown, rate)]
    imsave(path, np.hstack(sides), cmap="gray", vmin=0, vmax=1)


def _readme(restorer: Restorer, model: ForwardModel, scale: int) -> str:
    fixed = file_facts(restorer, model.sensor, scale, model.exposure)
    facts = "\n".join(f"- {name}: {value}" for name, value in fixed.items())
    return f"""# Photon detection rates x{scale} from single-photon counts

Input: {MEANINGS["counts"]}.
Whole counts as the camera wrote them: neither scaled nor normalised. The exposure below is fixed in this file.

Outputs: {MEANINGS["rate"]}; the standard uncertainty {MEANINGS["standard_uncertainty"]}.

Restore whole images, not tiles: brightness is measured over the image, and channel attention sees all of it.

## What is fixed

{facts}

## Validation

Measure on captures of known scenes with `spadsr evaluate`, or on a still scene against the sum of many of its images:
about 68 % of the pixels lie within one standard uncertainty. Detail below about one count a pixel is a guess.
"""


def _description(folder: Path, restorer: Restorer, model: ForwardModel, scale: int) -> dict[str, Any]:
    sensor, exposure = model.sensor, model.exposure
    opset = needed("onnx")[0].load(folder / "model.onnx").opset_import[0].version
    facts = file_facts(restorer, sensor, scale, exposure)
    numbers = f"{exposure.cycles} x {exposure.count_time:g} s, {facts['array']} array"
    return {
        "type": "model",
        "format_version": needed("bioimageio.spec.model.v0_5")[0].ModelDescr.implemented_format_version,
        "name": f"spadsr {restorer.name} x{scale}",
        "description": f"Photon detection rates with uncertainty from counts of a single-photon array ({numbers})",
        "authors": [{"name": "The spadsr developers"}],
        "cite": [{"text": _PAPER, "doi": _DOI}],
        "license": "BSD-3-Clause",
        "documentation": {"source": "README.md"},
        "covers": [{"source": "cover.png"}],
        "tags": ["single-photon", "spad", "super-resolution", "denoising", "restoration", "2d", "pytorch"],
        "inputs": [_tensor(sensor, None, "counts", "count")],
        "outputs": [_tensor(sensor, scale, name, "s^-1") for name in ("rate", "standard_uncertainty")],
        "weights": {"onnx": {"source": "model.onnx", "opset_version": opset}},
        "config": {"spadsr": facts},
    }


def _tensor(sensor: Sensor, scale: int | None, name: str, unit: str) -> dict[str, Any]:
    """Description of an input (no scale) or an output."""
    kind = {"type": "float32", "range": [0, None], "unit": unit if scale else "arbitrary unit"}
    axes: list[dict[str, Any]] = [{"type": "batch"}, {"type": "channel", "channel_names": [name]}]
    for axis, pixels in zip(("y", "x"), sensor.shape, strict=True):
        if scale is not None:
            size: Any = {"tensor_id": "counts", "axis_id": axis}
            axes.append({"type": "space", "id": axis, "size": size, "scale": 1 / scale})
        else:
            size = pixels if sensor.measured else {"min": _LEAST, "step": 1}
            axes.append({"type": "space", "id": axis, "size": size})
    text = MEANINGS[name].split("(")[0].strip()
    return {"id": name, "description": text, "axes": axes, "data": kind, "test_tensor": {"source": f"{name}.npy"}}
