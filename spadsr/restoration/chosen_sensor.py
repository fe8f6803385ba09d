"""Which sensor a recording is restored with, and what the user should know about that choice."""

from dataclasses import replace

import torch

from hardware.captures.capture import Capture
from noise_model.errors import InputError
from noise_model.sensor import Sensor


def sensor_of(capture: Capture, sensor: Sensor | None) -> tuple[Sensor, list[str]]:
    """The sensor to restore with, and what the user should know about that choice."""
    warnings = [_WARNINGS[name] for name in _WARNINGS if getattr(capture.settings, name)]
    header = capture.sensor()
    if sensor is None:
        return header, warnings
    if sensor.measured and sensor.shape != capture.shape[1:]:
        raise InputError(
            f"{sensor.name}: a sensor of {sensor.shape[0]} x {sensor.shape[1]} pixels, but {capture.path.name} has "
            f"{capture.shape[1]} x {capture.shape[2]}; give the sensor that took it"
        )
    if sensor.binary != header.binary:
        kinds = {True: "binary", False: "counting"}
        raise InputError(
            f"{sensor.name}: a {kinds[sensor.binary]} array, but {capture.path.name} was taken by a "
            f"{kinds[header.binary]} one; give the sensor that took it, or --bits if the file does not say"
        )
    if not sensor.measured:
        sensor = sensor.uniform(header.shape)
        warnings.append(f"{sensor.name} is a preset: its numbers were used, with uniform maps; calibrate for better")
    masks = [mask for mask in (sensor.pixel_mask, header.pixel_mask) if mask is not None]
    mask = torch.stack(masks).amax(dim=0) if masks else None
    return replace(sensor, dead_time=header.dead_time, counter_bits=header.counter_bits, pixel_mask=mask), warnings


_WARNINGS = {
    "corrected": "the camera corrected the counts for dead time: the network was not trained for such noise",
    "background_subtracted": "the camera subtracted a background: the network was not trained for such noise",
}
