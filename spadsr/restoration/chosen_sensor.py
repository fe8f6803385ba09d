"""Which sensor a recording is restored with, and what the user should know about that choice."""

from dataclasses import replace

import torch

from hardware.captures.capture import Capture
from noise_model.errors import InputError
from noise_model.sensor import Sensor

_UNTRAINED = "the network was not trained for such noise"


def sensor_of(capture: Capture, sensor: Sensor | None) -> tuple[Sensor, list[str]]:
    """The sensor to restore a capture with, in the mode of its frames; arguments and errors as of `_known`."""
    known, warnings = _known(capture, sensor)
    exposed = known.exposed_for(capture.settings.count_time)
    if exposed is not known:
        warnings.append("frames no longer than the dead time count once at most: restored as those of a binary array")
    return exposed, warnings


def _known(capture: Capture, sensor: Sensor | None) -> tuple[Sensor, list[str]]:
    """The sensor to restore a capture with, and what the user should know about that choice.

    Args:
        sensor: what the user gave: a calibrated sensor, of which the maps are used, or a preset, of which the numbers
            are; None takes the ideal sensor that the capture's settings describe.

    Raises:
        InputError: the sensor is not of the kind or size that took the capture.
    """
    warnings = _of_corrections(capture)
    ideal = capture.sensor
    if sensor is None:
        return ideal, warnings
    if sensor.measured and capture.region is not None and sensor.shape == capture.array_shape:
        sensor = sensor.cropped(*capture.region)
    if sensor.measured and sensor.shape != ideal.shape:
        raise InputError(
            f"{sensor.name}: a sensor of {sensor.shape[0]} x {sensor.shape[1]} pixels, but {capture.path.name} has "
            f"{ideal.shape[0]} x {ideal.shape[1]}; give the sensor that took it",
            "sensor",
        )
    if sensor.binary != ideal.binary:
        kinds = {True: "binary", False: "counting"}
        raise InputError(
            f"{sensor.name}: a {kinds[sensor.binary]} array, but {capture.path.name} was taken by a "
            f"{kinds[ideal.binary]} one; give the sensor that took it, or the counter bits if the file does not say",
            "sensor",
            "counter_bits",
        )
    if not sensor.measured:
        sensor = sensor.uniform(ideal.shape)
        warnings.append(f"{sensor.name} is a preset: its numbers were used, with uniform maps; calibrate for better")
    masks = [mask for mask in (sensor.pixel_mask, ideal.pixel_mask) if mask is not None]
    mask = torch.stack(masks).amax(dim=0) if masks else None
    return replace(sensor, dead_time=ideal.dead_time, counter_bits=ideal.counter_bits, pixel_mask=mask), warnings


def _of_corrections(capture: Capture) -> list[str]:
    warnings = []
    if capture.settings.corrected:
        warnings.append(f"the camera corrected the counts for dead time: {_UNTRAINED}")
    if capture.settings.background_subtracted:
        warnings.append(f"the camera subtracted a background: {_UNTRAINED}")
    return warnings
