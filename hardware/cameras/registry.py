"""Which cameras there are, and how an address names one."""

import importlib
import math
from dataclasses import dataclass

from hardware.camera import Camera, CameraError, Driver

#: The module of each camera; each is a `Driver`.
DRIVERS = {
    "simulated": "hardware.cameras.simulated",
    "replay": "hardware.cameras.replay",
    "spc3": "hardware.cameras.spc3.camera",
    "spad512": "hardware.cameras.spad512.camera",
}


@dataclass(frozen=True)
class CameraDescription:
    """A camera this version knows.

    Attributes:
        address: how to name it, with its options.
        usable: here and now.
        why: what it needs, or why it is not usable.
    """

    name: str
    address: str
    usable: bool
    why: str


def cameras() -> list[CameraDescription]:
    """All cameras, usable here or not."""
    return [CameraDescription(name, _driver(name).ADDRESS, *_driver(name).availability()) for name in DRIVERS]


def open_camera(address: str) -> Camera:
    """The camera `NAME`, `NAME:WHAT` or `NAME:WHAT,OPTION=VALUE,...`; entering it opens it.

    Raises:
        CameraError: no such camera or option, or it is not usable here.
    """
    name, _, rest = address.partition(":")
    if name not in DRIVERS:
        raise CameraError(f"{address}: no such camera; expected one of {', '.join(DRIVERS)}")
    what, *pairs = rest.split(",")
    driver = _driver(name)
    usable, why = driver.availability()
    if not usable and not what:
        raise CameraError(f"{name}: {why}")
    return driver.connect(what, **{**driver.OPTIONS, **dict(_option(address, driver, pair) for pair in pairs)})


def _driver(name: str) -> Driver:
    module: Driver = importlib.import_module(DRIVERS[name])
    return module


def _option(address: str, driver: Driver, pair: str) -> tuple[str, float]:
    name, _, value = pair.partition("=")
    if name not in driver.OPTIONS:
        raise CameraError(f"{address}: no option {name!r}; expected {driver.ADDRESS}")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise CameraError(f"{address}: {name} is {value!r}; expected a number")
    return name, number
