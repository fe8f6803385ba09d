"""Learning from a trained network: what it says is what is learnt, in every orientation, after every interruption."""

from itertools import islice
from pathlib import Path

import pytest
import torch
from small_run import CPU, recipe, run, source_of

from noise_model.errors import InputError
from spadsr.networks.measurement import Measurement
from spadsr.networks.network import Network
from spadsr.networks.orientations import ORIENTATIONS, turned_back
from spadsr.networks.window_attention import WindowAttentionConfig, WindowAttentionNetwork
from spadsr.restoration.intervals import Intervals
from spadsr.restoration.weights import load_restorer, save_weights
from spadsr.training.batches import make_batch
from spadsr.training.pair_source import PairSource
from spadsr.training.recipe import load_recipe
from spadsr.training.state import new_state
from spadsr.training.teacher import Teacher
from spadsr.training.trainer import Trainer

ONE_STEP = {"steps": 1, "warm_up": 0, "weight_decay": 0.0, "scale_shares": {4: 1.0}}


@pytest.fixture(scope="module")
def source() -> PairSource:
    return source_of(recipe())


def measured(source: PairSource) -> Measurement:
    return make_batch(source, recipe(), 4, [1, 2], held_out=False).measurement


def test_it_answers_in_another_orientation_at_every_step(small_weights: Path, source: PairSource) -> None:
    measurement, teacher = measured(source), Teacher(small_weights, CPU, bfloat16=False)
    rates = [teacher.rates(measurement, (4, 1), step) for step in range(len(ORIENTATIONS))]
    network = load_restorer(small_weights).network
    for orientation, said in zip(ORIENTATIONS, rates, strict=True):
        with torch.no_grad():
            answers = network(measurement.turned(orientation), (4, 1))
        for s, (rate, _) in zip((4, 1), answers, strict=True):
            assert said[s].equal(turned_back(rate, orientation))
    assert not rates[0][4].equal(rates[1][4])
    assert teacher.rates(measurement, (4, 1), len(ORIENTATIONS))[4].equal(rates[0][4])


def test_who_answers_like_the_teacher_learns_variances_only(
    tmp_path: Path, small_weights: Path, source: PairSource
) -> None:
    """The first step's captures are not turned: a network with the teacher's own weights has no rate to learn."""

    def after_a_step(teacher: Teacher | None) -> tuple[torch.Tensor, torch.Tensor]:
        state = new_state(recipe(**ONE_STEP), CPU)
        state.begin_with(small_weights)
        before = state.network.native.weight.detach().clone()
        list(Trainer(recipe(**ONE_STEP), state, source, tmp_path, teacher).steps())
        change = (state.network.native.weight.detach() - before).abs().amax(dim=(1, 2, 3))
        return change[:2], change[2:]  # trust and inferred rate; spread

    rates, spread = after_a_step(Teacher(small_weights, CPU, bfloat16=False))
    assert rates.max() == 0
    assert spread.min() > 1e-4
    rates, _ = after_a_step(None)
    assert rates.min() > 1e-4


def test_a_student_comes_to_answer_like_its_teacher(tmp_path: Path, small_weights: Path) -> None:
    """And not like the truth: the teacher is a random network. With seeds 0 to 2, 10 to 18 % of the distance between
    them are left, 6 to 18 times as much where the truth is learnt."""
    settled = recipe(**ONE_STEP | {"steps": 120, "learning_rate": 5e-3, "ema": 0.8})
    source, teacher = source_of(settled), Teacher(small_weights, CPU, bfloat16=False)
    measurement = measured(source)

    def left(taught_by: Teacher | None) -> float:
        state = new_state(settled, CPU)
        before = distance(state.network, teacher, measurement)
        list(Trainer(settled, state, source, tmp_path, taught_by).steps())
        return distance(state.network, teacher, measurement) / before

    taught = left(teacher)
    assert taught < 0.3
    assert left(None) > 3 * taught


@torch.no_grad()
def distance(network: Network, teacher: Teacher, measurement: Measurement) -> float:
    """Mean square, at x4, from the mean of the teacher's answers."""
    [(rate, _)] = network(measurement, (4,))
    said = torch.stack([teacher.rates(measurement, (4,), step)[4] for step in range(len(ORIENTATIONS))])
    return float((rate - said.mean(dim=0)).square().mean())


def test_stopped_and_resumed_is_the_same_to_the_bit(tmp_path: Path, source: PairSource, small_weights: Path) -> None:
    settled, teacher = recipe(steps=4), Teacher(small_weights, CPU, bfloat16=False)
    whole, resumed = new_state(settled, CPU), new_state(settled, CPU)
    list(Trainer(settled, whole, source, tmp_path / "whole", teacher).steps())
    list(islice(Trainer(settled, new_state(settled, CPU), source, tmp_path / "parts", teacher).steps(), 3))
    resumed.load(tmp_path / "parts" / "checkpoint.pt")
    assert resumed.step == 2  # the third was not yet known to be good
    list(Trainer(settled, resumed, source, tmp_path / "parts", teacher).steps())
    for name, tensor in whole.network.state_dict().items():
        assert tensor.equal(resumed.network.state_dict()[name]), name


def test_a_run_says_who_taught(tmp_path: Path, small_weights: Path) -> None:
    taught = load_restorer(run(tmp_path / "taught", f"teacher={small_weights}").weights)
    alone = load_restorer(run(tmp_path / "alone").weights)
    assert taught.provenance["teacher"] == load_restorer(small_weights).checksum
    assert alone.provenance["teacher"] is None
    assert not taught.network.state_dict()["stem.weight"].equal(alone.network.state_dict()["stem.weight"])


def test_a_teacher_that_cannot_be_asked(tmp_path: Path, source: PairSource, small_weights: Path) -> None:
    with pytest.raises(InputError, match=r"none\.safetensors: no such file"):
        Teacher(Path("none.safetensors"), CPU, bfloat16=False)
    plain = tmp_path / "plain.safetensors"
    size = WindowAttentionConfig(width=12, groups=1, layers=1, heads=2)
    save_weights(plain, WindowAttentionNetwork(size), Intervals(), {})
    with pytest.raises(InputError, match="scale 8: this network answers at 1, 2 and 4"):
        Teacher(plain, CPU, bfloat16=False).rates(measured(source), (8,), 0)


def test_the_small_recipe_learns_from_the_shipped_weights() -> None:
    teacher = load_recipe("tiny", []).teacher
    assert teacher is not None
    assert Teacher(teacher, CPU, bfloat16=True).checksum == load_restorer().checksum
