"""The command that estimates a sensor, or checks one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from noise_model.errors import InputError
from spadsr.cli.console import progress, say, table, warn, write_json
from spadsr.cli.options import (
    JsonFile,
    Quiet,
    Scheduler,
    Sharers,
    executor_for,
    opens_captures,
)
from spadsr.provenance import command_line


@opens_captures
def calibrate(
    darks: Annotated[list[Path] | None, typer.Argument(metavar="DARK", help="recordings in the dark")] = None,
    flats: Annotated[
        list[Path] | None, typer.Option("--flat", metavar="FLAT...", help="recordings of even light")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="`.yaml` of the sensor (sensor.yaml); of a check, its `.html`")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="recording of a still scene: is it what --sensor would count?")
    ] = None,
    sensor: Annotated[
        str | None, typer.Option(help="numbers for what the recordings do not tell; of a check, the sensor checked")
    ] = None,
    workers: Sharers = 1,
    scheduler: Scheduler = None,
    *,
    opening: dict[str, Any],
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Estimate a sensor from dark and flat recordings, or check one against a recording.

    Writes the sensor (YAML, and NPZ with its maps) and an HTML report beside it. Images that a recording itself marks
    as dark or flat are used as such. docs/calibrate.md says what to record.

    Examples: `spadsr calibrate dark.h5 --flat dim.h5 bright.h5 -o sensor.yaml` ·
    `spadsr calibrate dark*.h5 --flat flat*.h5 --workers 8` ·
    `spadsr calibrate --check scene.h5 --sensor sensor.yaml`
    """
    command = command_line()
    if check is not None:
        _check(check, sensor, output, opening, command, json_file)
        return
    if not darks and not flats:
        raise InputError("give recordings: DARK... --flat FLAT..., or --check CAPTURE --sensor SENSOR")
    from noise_model.executors import SchedulerLost
    from spadsr.calibration.calibrate import calibrate_captures, check_output
    from spadsr.calibration.report import ESTIMATES, assumed, estimate_rows

    path = output or Path("sensor.yaml")
    check_output(path, [*(darks or []), *(flats or [])])
    with executor_for(workers, scheduler) as executor:
        try:
            done = calibrate_captures(darks or [], flats or [], sensor, opening, command, progress, executor)
        except SchedulerLost as lost:
            lost.add_note("no sensor is written; give the same command again")
            raise
    done.save(path)
    write_json(json_file, {"estimates": done.calibration.estimates, "notes": done.warnings})
    table("calibrated", list(ESTIMATES), estimate_rows(done.calibration.estimates))
    for line in assumed(done.calibration.estimates):
        say(line)
    for note in done.warnings:
        warn(note)
    say(path, path.with_suffix(".html"))


def _check(
    capture: Path,
    sensor: str | None,
    output: Path | None,
    options: Mapping[str, Any],
    command: str,
    json_file: Path | None,
) -> None:
    from noise_model.calibration.goodness import reasons
    from spadsr.calibration.check import check_capture
    from spadsr.calibration.report import CHECKS, check_rows, verdict

    if sensor is None:
        raise InputError("--check needs --sensor: the sensor file to check")
    done = check_capture(capture, sensor, output, options, command, progress)
    found = done.found
    write_json(json_file, {"fits": found.fits, "p": found.p, "checks": found.checks, "notes": done.notes})
    table(f"{capture.name} under {sensor}", list(CHECKS), check_rows(done.found))
    for line in (verdict(done.found), *reasons(done.found), str(done.report)):
        say(line)
    for note in done.notes:
        warn(note)
