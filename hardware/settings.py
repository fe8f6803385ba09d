"""How images were taken: one complete type for cameras, captures, writers and results, one for what a file says."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from noise_model.config_files import LONGEST, SHORTEST, Seconds, SecondsOrNone
from noise_model.errors import InputError
from noise_model.sensor import Exposure

_LARGEST = (1 << 32) - 1  # cycles, and counts of an image


class PartialSettings(BaseModel):
    """The known settings of a file that does not state all of them; None marks what is not known.

    The fields are those of `Settings`, and `saturation_value`, the largest count an image can hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    count_time: Seconds | None = Field(default=None, description=f"{SHORTEST:g} to {LONGEST:g} s")
    cycles: int | None = Field(default=None, ge=1, le=_LARGEST, description=f"1 to {_LARGEST}")
    counter_bits: int | None = Field(default=None, ge=1, le=16, description="1 to 16")
    dead_time: SecondsOrNone | None = Field(default=None, description=f"0, or {SHORTEST:g} to {LONGEST:g} s")
    frame_time: Seconds | None = Field(default=None, description=f"{SHORTEST:g} to {LONGEST:g} s")
    saturation_value: int | None = Field(default=None, ge=1, le=_LARGEST, description=f"1 to {_LARGEST}")
    corrected: bool | None = Field(default=None, description="true or false")
    background_subtracted: bool | None = Field(default=None, description="true or false")

    @classmethod
    def of(cls, where: str | Path | None, **values: Any) -> Self:
        """The settings found in the file `where`, or given as arguments (None).

        Raises:
            InputError: a value is not a number, or not one that a camera can have.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            wrong = f"{name} is {first['input']!r:.60}; expected {cls.model_fields[name].description}"
            raise (InputError(wrong, name) if where is None else InputError(f"{where}: {wrong}")) from error

    def known(self) -> dict[str, Any]:
        """The settings that are known, by name."""
        return self.model_dump(exclude_none=True)

    def possible(self, count: int) -> bool:
        """Whether an image can hold a count, by what is known at the least; not if nothing is."""
        if self.cycles is None and self.counter_bits is None and self.saturation_value is None:
            return False
        return count <= (self.saturation_value or (self.cycles or 1) * ((1 << (self.counter_bits or 1)) - 1))

    def complete(self, file: Path) -> "Settings":
        """The settings with everything known: `count_time` must be, what else is missing is as in `Settings`.

        Raises:
            InputError: they contradict each other; the message names the `file` they are from.
        """
        known = self.known()
        try:
            return Settings(largest_count=known.pop("saturation_value", None), **known)
        except InputError as error:
            raise InputError(f"{file}: {error}; correct the file", *error.arguments) from error


NOTHING_KNOWN = PartialSettings()


@dataclass(frozen=True)
class Settings:
    """How images are taken, or are to be taken. SI units.

    Attributes:
        count_time: s, live exposure of one hardware frame (T).
        cycles: hardware frames summed into one image (N).
        counter_bits: bits of the in-pixel counter; 1 is a binary array.
        dead_time: s, hold-off; 0 for a binary array.
        frame_time: s from the start of one image to the start of the next. Asked of a camera, None means as fast as it
            goes; of images that were taken, None means that it is not known.
        corrected: the counts are corrected for dead time (pile-up): not what the sensor counted.
        background_subtracted: a background is subtracted from the counts: not what the sensor counted.
        largest_count: the largest count an image can hold, where that is less than `cycles` and `counter_bits` allow.

    Raises:
        InputError: a value is not one that a camera can have.
    """

    count_time: float
    cycles: int = 1
    counter_bits: int = 1
    dead_time: float = 0.0
    frame_time: float | None = None
    corrected: bool = False
    background_subtracted: bool = False
    largest_count: int | None = None

    def __post_init__(self) -> None:
        given = dict(vars(self))
        known = PartialSettings.of(None, saturation_value=given.pop("largest_count"), **given).known()
        most = known["cycles"] * ((1 << known["counter_bits"]) - 1)
        largest = known.pop("saturation_value", most)
        if largest > most:
            counter = f"{self.cycles} cycles of a {self.counter_bits}-bit counter"
            raise InputError(f"saturation_value {largest} is more than {counter} can hold ({most})")
        if largest >= 1 << 32:
            raise InputError(f"{self.cycles} cycles of {self.counter_bits} bits exceed 32-bit counts", "cycles")
        # Frozen for everybody else. Numbers become plain ones of their types, and equal settings have equal fields.
        vars(self).update(known, largest_count=None if largest == most else largest)

    @property
    def exposure(self) -> Exposure:
        """Count time and cycles."""
        return Exposure(self.count_time, self.cycles)

    @property
    def saturation_value(self) -> int:
        """The largest count an image can hold."""
        return self.largest_count or self.cycles * ((1 << self.counter_bits) - 1)

    def numbers(self) -> dict[str, float]:
        """The numbers that are known, by name: `saturation_value` always, `frame_time` where there is one."""
        names = ("count_time", "cycles", "dead_time", "counter_bits", "saturation_value", "frame_time")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def summed(self, images: int) -> "Settings":
        """The settings of sums of `images` consecutive images."""
        return replace(
            self,
            cycles=self.cycles * images,
            frame_time=self.frame_time and self.frame_time * images,
            largest_count=self.saturation_value * images,
        )


def in_seconds(value: float) -> str:
    """A time with its prefix, as 10.4 us."""
    if value == 0:
        return "0 s"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value / 1e-9:.4g} ns"
