"""The page about simulated sets says what is true: its code runs."""

import re
from pathlib import Path

import h5py
import pytest

from noise_model.sensor import Sensor
from simulate.dataset import SimulatedSet
from simulate.recipe import SimulationRecipe
from simulate.scenes import ProceduralScenes
from simulate.shards import SceneMaker

PAGE = Path(__file__).parents[2] / "docs" / "dataset.md"


def test_the_code_on_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = SimulationRecipe.load()
    maker = SceneMaker(ProceduralScenes(0), recipe, recipe.sensor(Sensor.load("spc3")), seed=0)
    list(SimulatedSet(Path("set"), maker, scenes=2).write())
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), {})


def test_the_layout_on_the_page_is_that_of_a_shard(tmp_path: Path) -> None:
    recipe = SimulationRecipe.load()
    maker = SceneMaker(ProceduralScenes(0), recipe, recipe.sensor(Sensor.load("spc3")), seed=0)
    list(SimulatedSet(tmp_path, maker, scenes=1).write())
    page = PAGE.read_text()
    names: list[str] = []
    with h5py.File(tmp_path / "shard-00000.h5") as file:
        file.visititems(lambda name, item: names.extend([name.split("/")[-1], *item.attrs]))
        names.extend(file.attrs)
    missing = {name for name in names if name not in page}
    assert missing == {"units"}
