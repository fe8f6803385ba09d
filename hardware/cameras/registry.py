"""The registry of cameras: which there are, and how an address names one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Protocol

from hardware.camera import Camera, CameraError
from hardware.plugins import built_in, from_other_packages, loaded
from noise_model.errors import InputError

#: The entry points by which other packages bring cameras; each names a module (or an object) that is a `Driver`.
GROUP = "spadsr.cameras"

#: The built-in cameras. Those of other packages are listed after them, by name.
BUILT_IN = {
    "simulated": "hardware.cameras.simulated",
    "replay": "hardware.cameras.replay",
    "spc3": "hardware.cameras.spc3.camera",
    "spad512": "hardware.cameras.spad512.camera",
}


class Driver(Protocol):
    """A module with a camera.

    Attributes:
        ADDRESS: how the camera is addressed, e.g. "replay:CAPTURE,speed=1,loop=0".
        OPTIONS: names and usual values of the options in an address, all of them numbers.
    """

    ADDRESS: str
    OPTIONS: Mapping[str, float]

    def availability(self) -> tuple[bool, str]:
        """Whether the camera is usable here without a `what`, and why not or what it needs; touches no camera."""

    def connect(self, what: str, **options: float) -> Camera:
        """The camera of an address `name:what,option=value`, not opened yet; `what` may be empty.

        Raises:
            CameraError: `what` or an option is not possible.
        """


@dataclass(frozen=True)
class CameraDescription:
    """A camera in the list of cameras.

    Attributes:
        name: by which an address begins.
        address: how to name the camera, with its options; the module it should be in if it cannot be imported.
        usable: whether it is usable here and now.
        why: what it needs, or why it is not usable.
    """

    name: str
    address: str
    usable: bool
    why: str


def cameras() -> list[CameraDescription]:
    """All cameras, usable here or not: the built-in ones, then those of other packages by name."""
    entries = _entries()
    return [_description(entry, entry is _first_of_name(entries, entry.name)) for entry in entries]


def open_camera(address: str) -> Camera:
    """The camera at an address `NAME`, `NAME:WHAT` or `NAME:WHAT,OPTION=VALUE,...`; entering it opens it.

    Raises:
        CameraError: there is no such camera or option, or the camera is not usable here.
    """
    name, _, rest = address.partition(":")
    entries = _entries()
    entry = _first_of_name(entries, name)
    if entry is None:
        names = ", ".join(dict.fromkeys(each.name for each in entries))
        raise CameraError(f"{address}: no such camera; expected one of {names}")
    driver = _driver(entry)
    what, pairs = _parts(rest, driver.OPTIONS)
    usable, why = driver.availability()
    if not usable and not what:
        raise CameraError(f"{name}: {why}")
    return driver.connect(what, **{**driver.OPTIONS, **dict(_option(address, driver, pair) for pair in pairs)})


def _parts(rest: str, options: Mapping[str, float]) -> tuple[str, list[str]]:
    """What follows the name of a camera, and its options: a file may have commas in its name."""
    what, pairs = rest, list[str]()
    while "," in what and not Path(what).exists():
        before, _, pair = what.rpartition(",")
        name, equals, _ = pair.partition("=")
        if equals and name not in options:  # which is said later
            what, *pairs = rest.split(",")
            break
        if name not in options:
            break
        what, pairs = before, [pair, *pairs]
    return what, pairs


def _entries() -> list[EntryPoint]:
    return [*built_in(GROUP, BUILT_IN), *from_other_packages(GROUP)]


def _first_of_name(entries: list[EntryPoint], name: str) -> EntryPoint | None:
    return next((entry for entry in entries if entry.name == name), None)


def _driver(entry: EntryPoint) -> Driver:
    driver: Driver = loaded(entry, ("ADDRESS", "OPTIONS", "availability", "connect"))
    return driver


def _description(entry: EntryPoint, first: bool) -> CameraDescription:
    """One line of the list, whatever is wrong with the driver."""
    if not first:
        package = entry.dist.name if entry.dist else entry.value
        return CameraDescription(
            entry.name, entry.value, False, f"another camera has this name; {package} must change it"
        )
    try:
        driver = _driver(entry)
        return CameraDescription(entry.name, driver.ADDRESS, *driver.availability())
    except Exception as error:  # of another package
        why = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        return CameraDescription(entry.name, entry.value, False, why)


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
