"""Simulation recipes: the shipped one, the sensor they make, and files that are none."""

from pathlib import Path

import pytest
import torch

from noise_model.errors import InputError
from noise_model.sensor import Sensor
from simulate.recipe import SimulationRecipe


def test_the_shipped_recipe() -> None:
    recipe = SimulationRecipe.load()
    assert recipe.shape == (64, 32)
    assert recipe.scene_shape == (1024, 512)
    assert [exposure.cycles for exposure in recipe.exposures] == [2**bits for bits in range(1, 11)]
    assert recipe.white_rates == pytest.approx((5e6, 1e7, 2e7))


def test_frames_within_the_dead_time_make_a_binary_array() -> None:
    recipe = SimulationRecipe.load()
    spc3 = Sensor.load("spc3")
    assert recipe.sensor(spc3).binary
    assert recipe.sensor(spc3).saturation_value(1024) == 1024
    longer = recipe.model_copy(update={"count_time": 10.4e-6})
    assert longer.sensor(spc3).counter_bits == spc3.counter_bits
    assert longer.sensor(spc3).dead_time == spc3.dead_time


def test_the_middle_of_a_larger_sensor_is_used() -> None:
    rows, columns = torch.meshgrid(torch.arange(100.0), torch.arange(40.0), indexing="ij")
    large = Sensor("large", pde=rows / 100, dark_count_rate=columns, dead_time=0, counter_bits=1)
    middle = SimulationRecipe.load().sensor(large)
    assert middle.shape == (64, 32)
    assert middle.pde[0, 0] == pytest.approx(0.18)
    assert middle.dark_count_rate[0, 0] == 4


def test_a_smaller_sensor_is_refused() -> None:
    small = Sensor("small", torch.ones(10, 10), torch.zeros(10, 10), dead_time=0, counter_bits=1)
    with pytest.raises(InputError, match="small: a sensor of 10x10 pixels; expected 64x32 or more"):
        SimulationRecipe.load().sensor(small)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count_time: -1", "not a simulation recipe"),
        ("just words", "not a simulation recipe"),
        ("{", "not a readable YAML file"),
    ],
)
def test_files_that_are_no_recipe_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        SimulationRecipe.load(tmp_path / "mine.yaml")


def test_a_missing_recipe_is_refused() -> None:
    with pytest.raises(InputError, match="nothing"):
        SimulationRecipe.load("nothing")
