"""How images were taken: the one type that cameras, captures, writers and results share."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from noise_model.errors import InputError


class Settings(BaseModel):
    """How images were taken, in SI units; None is what nobody said. Names are those of the capture format."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    count_time: float | None = Field(default=None, gt=0, le=1e6)
    cycles: int | None = Field(default=None, ge=1, le=2**32 - 1)
    frame_time: float | None = Field(default=None, gt=0, le=1e6)
    dead_time: float | None = Field(default=None, ge=0, le=1e6)
    counter_bits: int | None = Field(default=None, ge=1, le=16)
    saturation_value: int | None = Field(default=None, ge=1, le=2**32 - 1)

    @classmethod
    def of(cls, where: str | Path, **values: Any) -> Self:
        """The settings found in `where` (a file, or "options").

        Raises:
            InputError: a value is not a number, or not one that a camera can have.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = first["loc"][0]
            raise InputError(f"{where}: {name} is {first['input']!r}; {first['msg'].lower()}") from error

    def known(self) -> dict[str, float]:
        """What was said, by name."""
        return self.model_dump(exclude_none=True)


NOTHING_SAID = Settings()
