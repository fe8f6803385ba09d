"""Which network a recipe or a weight file means; either trains and loads by the same code."""

from pathlib import Path

import pytest
import torch
import yaml

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.networks.gated_fusion import GatedFusionTransformer, NetworkConfig
from spadsr.networks.registry import build
from spadsr.networks.window_attention import WindowAttentionConfig, WindowAttentionNetwork
from spadsr.restoration.weights import load_restorer
from spadsr.training.recipe import load_recipe
from spadsr.training.run import run_training

OURS = NetworkConfig(width=8, groups=1, blocks=1, attention_width=8, heads=2)
PLAIN = WindowAttentionConfig(width=8, groups=1, layers=2, heads=2)


def quiet(done: int, total: int) -> None:
    pass


def test_each_kind_builds_its_network() -> None:
    assert isinstance(build(OURS), GatedFusionTransformer)
    assert isinstance(build(PLAIN), WindowAttentionNetwork)


def test_a_recipe_names_the_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({"network": {"width": 16}}))
    assert load_recipe(path, []).network == NetworkConfig(width=16)
    assert load_recipe(path, ["network.kind=window_attention", "network.heads=2"]).network == WindowAttentionConfig(
        width=16, heads=2
    )


@pytest.mark.parametrize("wrong", ["network.kind=magic", "network.kind=3", "network=3", "network.layers=2"])
def test_other_networks_are_refused(wrong: str) -> None:
    with pytest.raises(InputError, match="network"):
        load_recipe(None, [wrong])


@pytest.mark.parametrize("config", [OURS, PLAIN], ids=["ours", "plain"])
def test_either_trains_and_restores(tmp_path: Path, config: NetworkConfig | WindowAttentionConfig) -> None:
    recipe = {"steps": 2, "batch": 2, "exposures": 1, "native": 16, "interval_batches": 1, "scale_shares": {4: 1.0}}
    path = tmp_path / "a.yaml"
    scenes = {"drawn": 2, "drawn_size": 256}
    path.write_text(yaml.safe_dump(recipe | {"scenes": scenes, "network": config.model_dump(mode="json")}))
    run = run_training(str(path), [], tmp_path / "run", "cpu", False, quiet, quiet)
    restorer = load_restorer(run.weights)
    assert restorer.network.config == config
    ideal = Sensor("ideal", torch.ones(12, 20), torch.zeros(12, 20), 0.0, 1)
    rate, uncertainty = restorer.restore(torch.ones(1, 12, 20), ForwardModel(ideal, Exposure(1e-5, 4)), 4)
    assert rate.shape == uncertainty.shape == (1, 48, 80)
    assert bool((uncertainty > 0).all())


def test_a_plain_network_has_no_other_scales(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="answers at 1, 2 and 4"):
        run_training(
            "smoke",
            [
                "steps=1",
                "scale_shares={8: 1.0}",
                "scenes.drawn=2",
                "network={kind: window_attention, width: 8, heads: 2, groups: 1, layers: 1}",
            ],
            tmp_path / "run",
            "cpu",
            False,
            quiet,
            quiet,
        )
