"""Restoring a recording: counts in, photon detection rates and a picture out, block by block."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hardware.captures.capture import Capture
from hardware.captures.result import Provenance, ResultWriter
from noise_model.errors import InputError
from noise_model.files import whole_file
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Sensor
from spadsr.pictures.sheets import sheet
from spadsr.provenance import command_line, versions
from spadsr.restoration.chosen_sensor import sensor_of
from spadsr.restoration.physics_check import CheckSummary, physics_check, summary
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.training_range import TrainingRange

_PIXELS_AT_ONCE = 1 << 16  # native; bounds the memory of the network


@dataclass(frozen=True)
class Restored:
    """What `restore_capture` wrote.

    Attributes:
        result: the `.sr.h5` file.
        picture: the PNG sheet of its first image.
        images: how many were restored.
        check: how well the answer explains the counts, in words.
        warnings: what the user should know about them.
    """

    result: Path
    picture: Path
    images: int
    check: str
    warnings: tuple[str, ...]


def restore_capture(
    capture: Capture,
    restorer: Restorer,
    scale: int,
    sensor: Sensor | None,
    output: Path | None,
    report: Callable[[int, int], None],
) -> Restored:
    """Restores every image of a capture (as summed).

    Args:
        sensor: calibrated sensor or preset; None takes what the capture's header says.
        output: a `.h5` file or a folder; None writes beside the capture.
        report: called with the images done and their number.

    Raises:
        InputError: the sensor does not fit the capture, a count is impossible, or the output cannot be written.
    """
    result = result_path(capture.path, output)
    if result.resolve() == capture.path.resolve():
        raise InputError(f"{result}: is the capture itself; choose another output with -o")
    known, warnings = sensor_of(capture, sensor)
    model = ForwardModel(known, capture.exposure)
    provenance = _provenance(restorer, known, capture, scale)
    picture = result.with_suffix(".png")
    notes = {"Weights": f"{restorer.name} {restorer.checksum}", "Command": provenance.command}
    done, checks = 0, CheckSummary()
    trained = TrainingRange(restorer, model, calibrated=sensor is not None and sensor.measured)
    with whole_file(picture) as partial, ResultWriter(result, capture, scale, provenance) as writer:
        for counts in capture.blocks(max(1, _PIXELS_AT_ONCE // (capture.shape[1] * capture.shape[2]))):
            image = torch.from_numpy(counts.astype("int64"))
            rate, sd = restorer.restore(image, model, scale)
            check = physics_check(image, rate, model)
            factor = restorer.coverage_factor(image, model, scale)
            writer.append(rate.cpu().numpy(), sd.cpu().numpy(), factor.cpu().numpy(), vars(check))
            checks.add(check)
            trained.add(counts)
            if done == 0:
                shown, remark = (rate[0].cpu().numpy(), sd[0].cpu().numpy()), summary(check.chi_squared[:1])
                sheet(counts[0], *shown, capture, partial, notes, residual=check.residual[0], remark=remark)
            done += len(counts)
            report(done, capture.shape[0])
        writer.warnings += [*warnings, *trained.warnings(), *checks.warnings()]
        said = tuple(writer.warnings)
    return Restored(result, picture, done, checks.sentence, said)


def result_path(capture: Path, output: Path | None) -> Path:
    """`<stem>.sr.h5` beside the capture or in the folder given, or the `.h5` file given."""
    if output is None:
        return capture.with_name(f"{capture.stem}.sr.h5")
    if output.suffix == ".h5" and not output.is_dir():
        return output
    if output.is_file():
        raise InputError(f"{output}: a file that is not .h5; give a folder or a file name that ends in .h5")
    return output / f"{capture.stem}.sr.h5"


def distinct_results(captures: Sequence[Path], output: Path | None) -> None:
    """Raises InputError where two captures would be restored to the same file."""
    taken: dict[Path, Path] = {}
    for capture in captures:
        result = result_path(capture, output)
        if result in taken:
            raise InputError(f"{result}: both {taken[result]} and {capture} would go there; restore them one by one")
        taken[result] = capture


def _provenance(restorer: Restorer, sensor: Sensor, capture: Capture, scale: int) -> Provenance:
    return Provenance(
        model=restorer.name,
        model_sha256=restorer.checksum,
        sensor=description(sensor),
        command=command_line(),
        config={
            "scale": scale,
            "cycles": capture.exposure.cycles,
            "orientations": restorer.orientations,
            "device": str(restorer.device),
        },
        versions=versions(),
    )


def description(sensor: Sensor) -> dict[str, Any]:
    """The numbers of a sensor, and the means of its maps, as plain data."""
    return {
        "name": sensor.name,
        "source": sensor.source,
        "shape": list(sensor.shape),
        "mean_pde": float(sensor.pde.mean()),
        "mean_dark_count_rate": float(sensor.dark_count_rate.mean()),
        "dead_time": sensor.dead_time,
        "counter_bits": sensor.counter_bits,
        "afterpulse_probability": sensor.afterpulse_probability,
        "trap_lifetime": sensor.trap_lifetime,
        "crosstalk": sensor.crosstalk.tolist(),
        "bad_pixels": int((~sensor.good).sum()),
    }
