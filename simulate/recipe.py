"""Recipes of simulated sets: the images that are made of every scene."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from noise_model.config_files import Seconds, checked_config, find_config, read_config
from noise_model.errors import InputError
from noise_model.sensor import Exposure, Sensor

#: Resolutions of targets and of restored images, over that of the sensor.
SCALES = (1, 2, 4, 8, 16)

_Side = Annotated[int, Field(ge=1, le=512)]
_Detections = Annotated[float, Field(gt=1e-9, le=1e6)]


class SimulationRecipe(BaseModel):
    """A recipe of a simulated set: of every scene, an image of counts for each white level and bit depth."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    shape: tuple[_Side, _Side] = (64, 32)
    bit_depths: tuple[Annotated[int, Field(ge=0, le=16)], ...] = Field(min_length=1, max_length=17)
    white_detections: tuple[_Detections, ...] = Field(
        min_length=1, max_length=16, description="photons detected per hardware frame"
    )
    count_time: Seconds = Field(description="s, exposure of one hardware frame")
    squared_share: float = Field(ge=0, le=1, description="share of photographs that are squared")

    @property
    def scene_shape(self) -> tuple[int, int]:
        """Rows and columns of a scene: those of the largest target."""
        return self.shape[0] * SCALES[-1], self.shape[1] * SCALES[-1]

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """An exposure of 2^b hardware frames for each bit depth b."""
        return tuple(Exposure(self.count_time, 2**bits) for bits in self.bit_depths)

    @property
    def white_rates(self) -> tuple[float, ...]:
        """Photon detection rate of white for each flux, counts/s."""
        return tuple(detections / self.count_time for detections in self.white_detections)

    def sensor(self, sensor: Sensor) -> Sensor:
        """The middle of a sensor, of the recipe's shape, in the mode that the exposure puts it in.

        Raises:
            InputError: the sensor is smaller than the recipe's shape.
        """
        rows, columns = sensor.shape
        if rows < self.shape[0] or columns < self.shape[1]:
            wanted = f"{self.shape[0]}x{self.shape[1]}"
            raise InputError(f"{sensor.name}: a sensor of {rows}x{columns} pixels; expected {wanted} or more")
        return _middle(sensor.exposed_for(self.count_time), self.shape)

    @classmethod
    def load(cls, path: str | Path = "default") -> Self:
        """Reads a recipe file, or a shipped recipe by its name.

        Raises:
            InputError: there is no such file, or it holds no recipe.
        """
        kind = "simulation recipe"
        path = find_config(path, "simulate", kind)
        return checked_config(cls, read_config(path, kind), path, kind)


def _middle(sensor: Sensor, shape: tuple[int, int]) -> Sensor:
    top, left = (sensor.shape[0] - shape[0]) // 2, (sensor.shape[1] - shape[1]) // 2
    return sensor.cropped(slice(top, top + shape[0]), slice(left, left + shape[1]))
