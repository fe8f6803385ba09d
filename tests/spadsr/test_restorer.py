"""Weight files: read back as written, refused when they are something else; and the shipped ones restore pictures."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from small_network import SMALL, random_network

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import USER, Exposure, Sensor
from spadsr.networks.measurement import SCALES, measure
from spadsr.networks.orientations import ORIENTATIONS, turned, turned_back
from spadsr.restoration.intervals import Intervals
from spadsr.restoration.physics_check import physics_check
from spadsr.restoration.restorer import oriented_answers, usable_device
from spadsr.restoration.weights import SHIPPED, load_restorer, save_weights

EXPOSURE = Exposure(1e-5, 16)
WHITE = -np.log1p(-0.2) / EXPOSURE.count_time  # a white pixel fires in a fifth of the frames


def ideal(shape: tuple[int, int]) -> Sensor:
    return Sensor("ideal", torch.ones(shape), torch.zeros(shape), 0.0, 1)


def contents(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def test_round_trip_to_the_bit_of_float16(tmp_path: Path) -> None:
    network, path = random_network(), tmp_path / "mine.safetensors"
    save_weights(path, network, Intervals(), {"steps": 7, "command": "spadsr train"})
    restorer = load_restorer(path)
    assert restorer.name == "mine"
    assert restorer.network.config == SMALL
    assert restorer.provenance == {"steps": 7, "command": "spadsr train"}
    assert restorer.checksum == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not restorer.network.training
    loaded = restorer.network.state_dict()
    assert loaded.keys() == network.state_dict().keys()
    assert all(loaded[name].equal(tensor.half().float()) for name, tensor in network.state_dict().items())
    tensors, metadata = contents(path)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert metadata["stored_as"] == "float16"


@pytest.mark.parametrize("value", [1e5, float("nan")])
def test_parameters_that_float16_cannot_hold(tmp_path: Path, value: float) -> None:
    network = random_network()
    next(network.parameters()).data.fill_(value)
    with pytest.raises(ValueError, match="too large for float16"):
        save_weights(tmp_path / "a.safetensors", network, Intervals(), {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scale", SCALES)
def test_an_answer_is_a_rate_and_an_error(small_weights: Path, scale: int) -> None:
    counts = torch.randint(0, 17, (3, 9, 5), generator=torch.Generator().manual_seed(0))
    rate, sd, _ = load_restorer(small_weights).answer(counts, ForwardModel(ideal((9, 5)), EXPOSURE), scale)
    assert rate.shape == sd.shape == (3, 9 * scale, 5 * scale)
    assert rate.dtype == sd.dtype == torch.float32
    assert (rate >= 0).all()
    assert (sd > 0).all()
    assert rate.isfinite().all()


def test_a_restored_stack_is_the_answer_with_its_check(small_weights: Path) -> None:
    counts = torch.randint(0, 17, (3, 9, 5), generator=torch.Generator().manual_seed(0))
    restorer, model = load_restorer(small_weights), ForwardModel(ideal((9, 5)), EXPOSURE)
    rate, uncertainty, factor = restorer.answer(counts, model, 2)
    restored = restorer.restore(counts, model, 2, "as a test")
    for array, tensor in (
        (restored.rate, rate),
        (restored.uncertainty, uncertainty),
        (restored.coverage_factor, factor),
        (restored.counts, counts),
        (restored.check.chi_squared, physics_check(counts, rate, model).chi_squared),
    ):
        np.testing.assert_array_equal(array, tensor)
    assert restored.settings.exposure == EXPOSURE
    assert (restored.scale, restored.provenance.command) == (2, "as a test")
    assert restored.provenance.model_sha256 == restorer.checksum


def test_half_the_exposure_is_twice_the_rate(small_weights: Path) -> None:
    restorer, counts = load_restorer(small_weights), torch.arange(16).reshape(1, 4, 4)
    one, other = (
        restorer.answer(counts, ForwardModel(ideal((4, 4)), Exposure(time, 16)), 4)[:2] for time in (1e-5, 5e-6)
    )
    for slow, fast in zip(one, other, strict=True):
        torch.testing.assert_close(2 * slow, fast, rtol=0.02, atol=0.02 * float(fast.max()))  # bfloat16, perhaps


@pytest.mark.parametrize("scale", [0, 3, 5, 32, -4])
def test_a_scale_that_is_not_there(small_weights: Path, scale: int) -> None:
    with pytest.raises(InputError, match="choose one of 1, 2, 4, 8, 16"):
        load_restorer(small_weights).answer(torch.zeros(1, 4, 4), ForwardModel(ideal((4, 4)), EXPOSURE), scale)


def missing(path: Path, good: Path) -> None:
    pass


def a_directory(path: Path, good: Path) -> None:
    path.mkdir()


def empty(path: Path, good: Path) -> None:
    path.touch()


def other_file(path: Path, good: Path) -> None:
    path.write_bytes(b"\x80\x02}q\x00." * 100)


def truncated(path: Path, good: Path) -> None:
    path.write_bytes(good.read_bytes()[:-100])


def cut_in_the_header(path: Path, good: Path) -> None:
    path.write_bytes(good.read_bytes()[:50])


def other_safetensors(path: Path, good: Path) -> None:
    save_file({"a": torch.zeros(3)}, path)


def edited(change: Callable[[dict[str, torch.Tensor], dict[str, str]], Any]) -> Callable[[Path, Path], None]:
    def write(path: Path, good: Path) -> None:
        tensors, metadata = contents(good)
        change(tensors, metadata)
        save_file(tensors, path, metadata)

    return write


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (missing, "no such file"),
        (a_directory, "not a safetensors file"),
        (empty, "not a safetensors file"),
        (other_file, "not a safetensors file"),
        (truncated, "not a safetensors file"),
        (cut_in_the_header, "not a safetensors file"),
        (other_safetensors, "not of spadsr weights"),
        (edited(lambda tensors, metadata: metadata.pop("network")), "do not fit"),
        (edited(lambda tensors, metadata: metadata.update(network="{")), "do not fit"),
        (edited(lambda tensors, metadata: metadata.update(network='{"detail": 16}')), "do not fit"),
        (edited(lambda tensors, metadata: metadata.update(network='{"heads": 5}')), "do not fit"),
        (edited(lambda tensors, metadata: tensors.pop("stem.weight")), "do not fit"),
        (edited(lambda tensors, metadata: tensors.update({"more": torch.zeros(2)})), "do not fit"),
        (edited(lambda tensors, metadata: tensors.update({"stem.bias": torch.zeros(2)})), "do not fit"),
    ],
)
def test_what_is_no_weight_file(
    tmp_path: Path, small_weights: Path, make: Callable[[Path, Path], None], words: str
) -> None:
    path = tmp_path / "bad.safetensors"
    make(path, small_weights)
    with pytest.raises(InputError, match=words) as caught:
        load_restorer(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("told", [{}, {"provenance": "{"}, {"provenance": "3"}])
def test_weights_without_provenance_still_load(tmp_path: Path, small_weights: Path, told: dict[str, str]) -> None:
    tensors, metadata = contents(small_weights)
    del metadata["provenance"]
    save_file(tensors, tmp_path / "a.safetensors", metadata | told)
    assert load_restorer(tmp_path / "a.safetensors").provenance == {}


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "", "cpu:x"])
def test_a_device_that_does_not_exist(device: str) -> None:
    with pytest.raises(InputError, match="choose cpu") as caught:
        usable_device(device)
    assert "\n" not in str(caught.value)


def test_averaged_orientations_make_the_answer_turn_with_the_image(small_weights: Path) -> None:
    """The network has no preferred direction any more: it commutes with all eight. One orientation does not."""
    single, restorer = (load_restorer(small_weights, orientations=number) for number in (1, 8))
    counts = torch.randint(0, 17, (2, 16, 8), generator=torch.Generator().manual_seed(3))
    answers = restorer.answer(counts, ForwardModel(ideal((16, 8)), EXPOSURE), 4)[:2]
    for orientation in ORIENTATIONS[1:]:
        other = turned(counts, orientation)
        again = restorer.answer(other, ForwardModel(ideal((other.shape[1], other.shape[2])), EXPOSURE), 4)[:2]
        for one, two in zip(answers, again, strict=True):
            torch.testing.assert_close(turned(one, orientation), two, rtol=2e-2, atol=1e-2 * float(one.mean()))
    alone = single.answer(counts, ForwardModel(ideal((16, 8)), EXPOSURE), 4)[0]
    mirrored = single.answer(counts.flip(-1), ForwardModel(ideal((16, 8)), EXPOSURE), 4)[0].flip(-1)
    assert (alone - mirrored).abs().max() > 0.05 * alone.mean()


@pytest.mark.parametrize("name", SHIPPED)
def test_numbers_made_ready_for_bfloat16_answer_like_those_that_autocast_makes(name: str) -> None:
    """To the bit, where the processor has bfloat16; the network itself keeps its float32."""
    restorer = load_restorer(name)
    counts = torch.randint(0, 17, (2, 16, 8), generator=torch.Generator().manual_seed(4))
    model = ForwardModel(ideal((16, 8)), EXPOSURE)
    with torch.inference_mode():
        measurement = measure(counts, model)
        [(rate, _)] = oriented_answers(restorer.network, measurement, (4,), ORIENTATIONS[0], restorer.bfloat16)
    expected = (rate * measurement.scale_at(4))[:, 0].clamp(min=0)
    np.testing.assert_array_equal(restorer.network_answer(counts, model, 4)[0], expected)
    assert {parameter.dtype for parameter in restorer.network.parameters()} == {torch.float32}


@pytest.mark.parametrize("number", [0, 9, -1])
def test_impossible_numbers_of_orientations(small_weights: Path, number: int) -> None:
    with pytest.raises(InputError, match="expected 1 to 8"):
        load_restorer(small_weights, orientations=number)


def test_orientations_are_undone() -> None:
    image = torch.arange(6.0).reshape(2, 3)
    seen = {tuple(turned(image, each).flatten().tolist()) for each in ORIENTATIONS}
    assert len(seen) == 8
    assert all(torch.equal(turned_back(turned(image, each), each), image) for each in ORIENTATIONS)
    assert torch.equal(turned(image, ORIENTATIONS[0]), image)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, random_network(), Intervals(), {})
    before = path.read_bytes()
    broken = random_network().to("meta")  # has no values to write
    with pytest.raises(NotImplementedError):
        save_weights(path, broken, Intervals(), {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def picture(name: str) -> NDArray[np.float32]:
    """(256, 256) of a picture that is inside scikit-image's wheel, 1 = white."""
    from skimage import data

    grey = getattr(data, name)().astype(np.float32) / 255
    if grey.ndim == 3:
        grey = grey.mean(axis=2)
    return np.asarray(grey[20:276, 100:356])


@pytest.fixture(scope="module", params=SHIPPED)
def shipped_answers(request: pytest.FixtureRequest) -> list[tuple[torch.Tensor, ...]]:
    """Truth, bicubic, restored and its sd, over white, at x4, of 16 binary frames of 64 x 64 with p = 0.2 in white: for
    each of three pictures, four draws."""
    restorer, answers = load_restorer(request.param), []
    for seed, name in enumerate(("camera", "coins", "astronaut")):
        truth = torch.from_numpy(picture(name))[None]
        native, sensor = F.avg_pool2d(truth, 4), ideal((64, 64))
        rates = (native * WHITE).expand(4, -1, -1)
        counts = ForwardModel(sensor, EXPOSURE).sample(rates, torch.Generator().manual_seed(seed))
        measured, _ = ForwardModel(sensor, EXPOSURE).detection_rate(counts)
        bicubic = F.interpolate(measured[:, None], scale_factor=4.0, mode="bicubic")[:, 0]
        rate, sd, _ = restorer.answer(counts, ForwardModel(sensor, EXPOSURE), 4)
        answers.append((truth, bicubic.clamp(min=0) / WHITE, rate / WHITE, sd / WHITE))
    return answers


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_weights_say_where_they_come_from(name: str) -> None:
    restorer = load_restorer(name)
    assert SHIPPED[name].stat().st_size <= 16e6
    assert restorer.provenance["steps"] > 0


def test_the_shipped_weights_are_4_db_above_bicubic(shipped_answers: Any) -> None:
    gains = []
    for truth, bicubic, rate, _ in shipped_answers:
        errors = [(answer - truth).square().mean() for answer in (bicubic, rate)]
        gains.append(10 * torch.log10(errors[0] / errors[1]).item())
    assert min(gains) > 4, gains


def test_the_shipped_weights_keep_the_total_rate(shipped_answers: Any) -> None:
    """Photon noise is 1.3 % of the total of one draw: 0.4 % of twelve."""
    restored, true = (sum(answer[at].mean().item() for answer in shipped_answers) for at in (2, 0))
    assert restored == pytest.approx(true, rel=0.03)


def test_the_error_bars_of_the_shipped_weights_are_honest(shipped_answers: Any) -> None:
    inside = [((rate - truth).abs() <= 1.96 * sd).float().mean().item() for truth, _, rate, sd in shipped_answers]
    assert 0.88 <= sum(inside) / len(inside) <= 0.99, inside


@pytest.mark.parametrize(("dead_time", "bits", "white"), [(0.0, 1, WHITE), (50e-9, 9, 8e5)])
@pytest.mark.parametrize("name", SHIPPED)
def test_exposures_longer_than_any_learnt_are_restored_as_well(
    name: str, dead_time: float, bits: int, white: float
) -> None:
    """Two discs, in a million frames as in 4,096: the network is not told of photons in numbers that it never saw."""
    y, x = np.mgrid[:128, :128]
    discs = 0.15 + 0.6 * (np.hypot(y - 60, x - 50) < 30) + 0.2 * (np.hypot(y - 90, x - 100) < 14)
    truth = torch.from_numpy(discs.astype(np.float32))[None]
    sensor = Sensor("ideal", torch.ones(32, 32), torch.zeros(32, 32), dead_time, bits)
    errors = []
    for cycles in (4096, 1_000_000):
        model = ForwardModel(sensor, Exposure(1e-5, cycles))
        counts = model.sample(F.avg_pool2d(truth, 4) * white, torch.Generator().manual_seed(1))
        rate, _, _ = load_restorer(name).answer(counts, model, 4)
        errors.append((rate / white - truth).square().mean().sqrt().item())
    assert errors[1] < 1.01 * errors[0]


COUNTS = torch.from_numpy(np.random.default_rng(5).binomial(16, 0.2, (2, 16, 16)))
ALL = torch.full((16, 16), USER, dtype=torch.int32)


@pytest.mark.parametrize(
    ("counts", "change", "words"),
    [
        (-COUNTS, {}, "expected whole numbers from 0 to 16"),
        (COUNTS * float("nan"), {}, "expected whole numbers from 0 to 16"),
        (COUNTS * float("inf"), {}, "expected whole numbers from 0 to 16"),
        (COUNTS + 0.5, {}, "expected whole numbers from 0 to 16"),
        (COUNTS + 16, {}, "expected whole numbers from 0 to 16"),
        (COUNTS[0], {}, "counts 16 x 16: expected one image or more of 16 x 16"),
        (COUNTS[:0], {}, "counts 0 x 16 x 16: expected one image or more"),
        (COUNTS[:, :8], {}, "counts 2 x 8 x 16: expected one image or more of 16 x 16"),
        (COUNTS, {"pixel_mask": ALL}, "no good pixel is left"),
        (COUNTS, {"pde": torch.zeros(16, 16)}, "ideal: pixels with a PDE of 0"),
    ],
)
def test_what_no_sensor_counts_is_refused(
    small_weights: Path, counts: torch.Tensor, change: dict[str, Any], words: str
) -> None:
    model = ForwardModel(replace(ideal((16, 16)), **change), EXPOSURE)
    restorer = load_restorer(small_weights)
    for ask in (restorer.answer, restorer.restore):
        with pytest.raises(InputError, match=words):
            ask(counts, model, 2)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 2)])
@pytest.mark.parametrize("level", [0, 3, 16])
def test_the_smallest_images_have_sensible_answers(shape: tuple[int, int], level: int) -> None:
    """Within four uncertainties of the rate of the counts, with more uncertainty than a whole frame would leave."""
    counts = torch.full((1, *shape), level)
    restored = load_restorer().restore(counts, ForwardModel(ideal(shape), EXPOSURE), 2)
    rate = -np.log1p(-min(level, 15.5) / 16) / EXPOSURE.count_time
    assert np.isfinite(restored.rate).all()
    assert (restored.uncertainty > 0).all()
    if level < 16:  # a full pixel says no more than a lower limit
        assert (abs(restored.rate - rate) < 4 * restored.uncertainty).mean() > 0.9


def test_a_single_good_pixel_speaks_for_all() -> None:
    mask = ALL.clone()
    mask[8, 8] = 0
    restored = load_restorer().restore(COUNTS, ForwardModel(replace(ideal((16, 16)), pixel_mask=mask), EXPOSURE), 2)
    assert np.isfinite(restored.rate).all()
    far, near = restored.uncertainty[:, :4, :4].mean(), restored.uncertainty[:, 16:18, 16:18].mean()
    assert far > 0.5 * near
