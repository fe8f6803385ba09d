"""Which network a recipe or a weight file means; all kinds train and load by the same code, a new one too."""

from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
import yaml
from small_network import SMALL
from torch import Tensor, nn

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.networks.measurement import STATISTICS, Measurement
from spadsr.networks.multi_resolution import MultiResolutionConfig, MultiResolutionTransformer
from spadsr.networks.network import Network, NetworkConfig
from spadsr.networks.registry import NETWORKS, build
from spadsr.networks.window_attention import WindowAttentionConfig, WindowAttentionNetwork
from spadsr.restoration.weights import load_restorer
from spadsr.training.recipe import load_recipe
from spadsr.training.run import run_training

PLAIN = WindowAttentionConfig(width=8, groups=1, layers=2, heads=2)


class OneLayerConfig(NetworkConfig):
    kind: Literal["one_layer"] = "one_layer"
    side: int = 3


class OneLayer(Network):
    """Adds a convolution of the statistics to the measurement; finer answers repeat its pixels."""

    config: OneLayerConfig

    def __init__(self, config: OneLayerConfig) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.Conv2d(STATISTICS, 2, config.side, padding=config.side // 2)

    def forward(self, measurement: Measurement, scales: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
        correction, spread = self.layer(measurement.statistics).float().chunk(2, dim=1)
        native = measurement.rate + correction, measurement.log_variance + spread
        return [tuple(F.interpolate(part, scale_factor=float(s)) for part in native) for s in scales]  # type: ignore[misc]

    def hidden(self) -> list[nn.Module]:
        return [self.layer]


def quiet(done: int, total: int) -> None:
    pass


def test_each_kind_builds_its_network() -> None:
    assert isinstance(build(SMALL), MultiResolutionTransformer)
    assert isinstance(build(PLAIN), WindowAttentionNetwork)


def test_a_recipe_names_the_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({"network": {"heads": 8}}))
    assert load_recipe(path, []).network == MultiResolutionConfig(heads=8)
    assert load_recipe(path, ["network.kind=window_attention", "network.width=16"]).network == WindowAttentionConfig(
        width=16, heads=8
    )


@pytest.mark.parametrize("wrong", ["network.kind=magic", "network.kind=3", "network=3", "network.layers=2"])
def test_other_networks_are_refused(wrong: str) -> None:
    with pytest.raises(InputError, match="network"):
        load_recipe(None, [wrong])


@pytest.mark.parametrize("config", [SMALL, PLAIN, OneLayerConfig(side=5)], ids=["ours", "plain", "new"])
def test_each_trains_and_restores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: NetworkConfig) -> None:
    monkeypatch.setitem(NETWORKS, "one_layer", (OneLayerConfig, OneLayer))
    recipe = {"steps": 2, "batch": 2, "exposures": 1, "native": 16, "interval_batches": 1, "scale_shares": {4: 1.0}}
    path = tmp_path / "a.yaml"
    scenes = {"drawn": 2, "drawn_size": 256}
    path.write_text(yaml.safe_dump(recipe | {"scenes": scenes, "network": config.model_dump(mode="json")}))
    run = run_training(str(path), [], tmp_path / "run", "cpu", False, quiet, quiet)
    restorer = load_restorer(run.weights)
    assert restorer.network.config == config
    assert type(restorer.network) is NETWORKS[config.kind][1]
    assert [*restorer.network.state_dict()] == [*build(config).state_dict()]
    ideal = Sensor("ideal", torch.ones(12, 20), torch.zeros(12, 20), 0.0, 1)
    rate, uncertainty, _ = restorer.answer(torch.ones(1, 12, 20), ForwardModel(ideal, Exposure(1e-5, 4)), 4)
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
