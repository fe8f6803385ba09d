"""What the network is told about counts: units, edges of the range, bad pixels, maps."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from noise_model.forward_model import ForwardModel
from noise_model.sensor import HOT, Exposure, Sensor
from spadsr.networks.measurement import STATISTICS, Measurement, measure

KINDS = {"binary": (0.0, 1), "counting": (50e-9, 9), "counting without dead time": (0.0, 9)}
RATE, FRAMES, DARK, PDE, BAD = 0, 5, 6, 7, 8  # channels


def sensor(kind: str = "binary", shape: tuple[int, int] = (6, 9), **maps: torch.Tensor) -> Sensor:
    dead_time, bits = KINDS[kind]
    plain = Sensor(kind, torch.ones(shape), torch.zeros(shape), dead_time, bits)
    return replace(plain, **maps)  # type: ignore[arg-type]


def drawn(most: int, shape: tuple[int, ...] = (2, 6, 9), seed: int = 0) -> torch.Tensor:
    return torch.randint(0, most + 1, shape, generator=torch.Generator().manual_seed(seed))


def parts(measurement: Measurement) -> dict[str, torch.Tensor]:
    assert measurement.phases is None  # the array stood still
    return {name: part for name, part in vars(measurement).items() if part is not None}


def finite(measurement: Measurement) -> bool:
    return all(bool(part.isfinite().all()) for part in parts(measurement).values())


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_and_channels(kind: str) -> None:
    measurement = measure(drawn(10), ForwardModel(sensor(kind), Exposure(1e-5, 16)))
    assert measurement.statistics.shape == (2, STATISTICS, 6, 9)
    assert measurement.rate.shape == measurement.amplitude.shape == measurement.log_variance.shape == (2, 1, 6, 9)
    assert measurement.scale.shape == (2, 1, 6, 9)
    assert {part.dtype for part in parts(measurement).values()} == {torch.float32}
    assert (measurement.amplitude >= 1).all()
    assert finite(measurement)


@pytest.mark.parametrize("kind", KINDS)
def test_the_scale_undoes_the_normalisation(kind: str) -> None:
    counts, exposure = drawn(10), Exposure(1e-5, 16)
    measurement = measure(counts, ForwardModel(sensor(kind), exposure))
    rate, sd = ForwardModel(sensor(kind), exposure).detection_rate(counts)
    torch.testing.assert_close((measurement.rate * measurement.scale)[:, 0], rate)
    torch.testing.assert_close((torch.exp(measurement.log_variance / 2) * measurement.scale)[:, 0], sd)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cycles", [1, 2, 1024])
def test_the_ends_of_the_range_are_finite(kind: str, cycles: int) -> None:
    full = sensor(kind).saturation_value(cycles)
    for counts in (torch.zeros(1, 6, 9, dtype=torch.int32), torch.full((1, 6, 9), full)):
        measurement = measure(counts, ForwardModel(sensor(kind), Exposure(1e-5, cycles)))
        assert finite(measurement)
        assert (measurement.scale > 0).all()


def test_one_saturated_pixel_does_not_carry_the_scale_off() -> None:
    counts = torch.full((1, 6, 9), 100)
    counts[0, 3, 3] = 1024
    scale = measure(counts, ForwardModel(sensor(), Exposure(1e-5, 1024))).scale
    torch.testing.assert_close(scale, torch.full((1, 1, 6, 9), 0.1 / 1e-5), rtol=0.3, atol=0)


@given(st.integers(1, 150), st.integers(1, 150), st.integers(0, 9))
def test_the_scale_is_the_mean_rate_of_the_64x64_pixels_around(height: int, width: int, seed: int) -> None:
    """Without dead time rates are counts over time; the field is moved inwards at the edges."""
    counts = drawn(10, (1, height, width), seed)
    array = sensor("counting without dead time", (height, width))
    scale = measure(counts, ForwardModel(array, Exposure(1e-5, 1))).scale[0, 0]
    for y, x in ((0, 0), (height // 2, width // 3), (height - 1, width - 1)):
        top, left = (max(0, min(place - 32, side - 64)) for place, side in ((y, height), (x, width)))
        around = counts[0, top : top + 64, left : left + 64].double()
        mean = (around.sum() + 0.5) / around.numel() / 1e-5
        assert float(scale[y, x]) == pytest.approx(float(mean), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_dark_part_of_a_large_image_is_seen_as_a_dark_image(kind: str) -> None:
    dark, bright = drawn(1, (1, 70, 200)), drawn(16, (1, 70, 200), seed=1)
    whole = measure(torch.cat([dark, bright], dim=1), ForwardModel(sensor(kind, (140, 200)), Exposure(1e-5, 16)))
    alone = measure(dark[:, :64, :64], ForwardModel(sensor(kind, (64, 64)), Exposure(1e-5, 16)))
    inside = slice(3, 30)  # further down the fields of 64 rows hold some of the bright part, as do those on the right
    for name in ("statistics", "rate", "amplitude", "log_variance", "scale"):
        found, expected = (getattr(part, name)[..., inside, inside] for part in (whole, alone))
        torch.testing.assert_close(found, expected, msg=name)


def test_the_scale_of_an_answer_is_smooth() -> None:
    counts = drawn(10, (2, 100, 70))
    measurement = measure(counts, ForwardModel(sensor(shape=(100, 70)), Exposure(1e-5, 16)))
    finer = measurement.scale_at(4)
    assert finer.shape == (2, 1, 400, 280)
    torch.testing.assert_close(torch.nn.functional.avg_pool2d(finer, 4), measurement.scale, rtol=0.01, atol=0)
    assert finer.diff(dim=-1).abs().max() < measurement.scale.diff(dim=-1).abs().max() / 2


def masked(*places: tuple[int, int]) -> Sensor:
    mask = torch.zeros(6, 9, dtype=torch.int32)
    for place in places:
        mask[place] = HOT
    return Sensor("masked", torch.ones(6, 9), torch.zeros(6, 9), 0.0, 1, pixel_mask=mask)


def test_what_a_bad_pixel_counted_is_not_looked_at() -> None:
    calm = drawn(8)
    hot = calm.clone()
    hot[:, 2, 4] = 16
    one, other = (measure(counts, ForwardModel(masked((2, 4)), Exposure(1e-5, 16))) for counts in (calm, hot))
    for name, part in parts(one).items():
        assert part.equal(getattr(other, name)), name
    assert one.statistics[:, BAD, 2, 4].tolist() == [1, 1]
    assert one.statistics[:, BAD].sum() == 2


def test_a_bad_pixel_takes_the_rate_of_its_neighbours_with_a_wide_error() -> None:
    measurement = measure(torch.full((1, 6, 9), 4), ForwardModel(masked((2, 4), (0, 0)), Exposure(1e-5, 16)))
    good = measurement.rate[0, 0, 5, 5]
    for place in ((2, 4), (0, 0)):
        torch.testing.assert_close(measurement.rate[0, 0][place], good)
        assert measurement.log_variance[0, 0][place] > measurement.log_variance[0, 0, 5, 5] + 2


def test_nothing_but_bad_pixels_is_finite() -> None:
    everywhere = masked(*[(row, column) for row in range(6) for column in range(9)])
    assert finite(measure(drawn(8), ForwardModel(everywhere, Exposure(1e-5, 16))))


def test_dark_and_pde_maps_reach_the_network() -> None:
    counts, exposure = drawn(10), Exposure(1e-5, 16)
    plain = measure(counts, ForwardModel(sensor(), exposure))
    dark, pde = torch.zeros(6, 9), torch.ones(6, 9)
    dark[1, 2], pde[3, 4] = 5e3, 0.8
    known = measure(counts, ForwardModel(sensor(dark_count_rate=dark, pde=pde), exposure))
    for channel, place in ((DARK, (1, 2)), (PDE, (3, 4))):
        changed = (known.statistics - plain.statistics)[0, channel]
        assert changed.abs().argmax() == place[0] * 9 + place[1]
    assert (known.rate < plain.rate)[:, 0, 1, 2].all()  # dark counts are taken off,
    assert (known.rate >= plain.rate)[:, 0, 3, 4].all()  # a weak pixel is raised


@given(st.sampled_from(sorted(KINDS)), st.floats(1e-9, 1e-2), st.sampled_from([0.5, 2.0, 1024.0]), st.integers(0, 9))
def test_rates_are_in_inverse_seconds(kind: str, count_time: float, factor: float, seed: int) -> None:
    """All times longer by a factor: the rate is lower by it, and the network sees the same."""
    dead_time, bits = KINDS[kind]
    counts = drawn(10, seed=seed)

    def measured(times: float) -> Measurement:
        array = Sensor(kind, torch.ones(6, 9), torch.zeros(6, 9), dead_time * count_time / 1e-5 * times, bits)
        return measure(counts, ForwardModel(array, Exposure(count_time * times, 16)))

    one, other = measured(1.0), measured(factor)
    torch.testing.assert_close(one.scale / factor, other.scale)
    torch.testing.assert_close(one.statistics, other.statistics, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_more_frames_of_the_same_light_are_the_same_rate(kind: str) -> None:
    counts = drawn(10) + 2
    one, four = (measure(n * counts, ForwardModel(sensor(kind), Exposure(1e-5, 16 * n))) for n in (1, 4))
    torch.testing.assert_close(one.rate * one.scale, four.rate * four.scale, rtol=1e-3, atol=0)
    assert (four.log_variance + torch.log(torch.tensor(4.0))).sub(one.log_variance).abs().max() < 0.3


def test_with_many_counts_the_flux_does_not_change_what_is_seen() -> None:
    """Rates over their mean are the same at ten times the light, where photon noise no longer matters."""
    counts, exposure = drawn(5000) + 100, Exposure(1e-3, 1)
    dim, bright = (measure(n * counts, ForwardModel(sensor("counting without dead time"), exposure)) for n in (1, 10))
    torch.testing.assert_close(10 * dim.scale, bright.scale, rtol=1e-4, atol=0)
    torch.testing.assert_close(dim.rate, bright.rate, rtol=1e-4, atol=0)
    torch.testing.assert_close(dim.statistics[:, :2], bright.statistics[:, :2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_exposures_longer_than_any_learnt_are_told_of_as_the_longest(kind: str) -> None:
    """Of a hundred times as many frames, statistics and uncertainty are the same, but not the photons of intervals."""
    counts = 8000 + drawn(1000)
    long, longer = (measure(n * counts, ForwardModel(sensor(kind), Exposure(1e-5, 16384 * n))) for n in (1, 100))
    torch.testing.assert_close(longer.statistics, long.statistics, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(longer.log_variance, long.log_variance, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(longer.mean_counts, 100 * long.mean_counts, rtol=1e-3, atol=0)


def test_where_it_is_dark_frames_beyond_those_learnt_from_are_not_told_of() -> None:
    counts = drawn(1)
    many, more = (measure(counts, ForwardModel(sensor(), Exposure(1e-5, cycles))) for cycles in (16384, 1_000_000))
    torch.testing.assert_close(more.statistics[:, FRAMES], many.statistics[:, FRAMES])


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_of_one_number_of_frames_is_that_number(kind: str) -> None:
    counts = drawn(16)
    one, same = (
        measure(counts, ForwardModel(sensor(kind), Exposure(1e-5, cycles))) for cycles in (16, torch.full((6, 9), 16))
    )
    for name, part in parts(one).items():
        torch.testing.assert_close(getattr(same, name), part, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pixel_that_never_looked_is_a_masked_pixel(kind: str) -> None:
    counts, cycles = drawn(16), torch.full((6, 9), 16)
    counts[:, 2, 4] = cycles[2, 4] = 0
    mask = torch.zeros(6, 9, dtype=torch.int32)
    mask[2, 4] = HOT
    masked_pixel = measure(counts, ForwardModel(sensor(kind, pixel_mask=mask), Exposure(1e-5, 16)))
    never = measure(counts, ForwardModel(sensor(kind), Exposure(1e-5, cycles)))
    for name, part in parts(masked_pixel).items():
        torch.testing.assert_close(getattr(never, name), part, rtol=1e-6, atol=1e-6)
    assert finite(measure(counts * 0, ForwardModel(sensor(kind), Exposure(1e-5, cycles * 0))))


@pytest.mark.parametrize("kind", KINDS)
def test_halves_of_many_and_few_frames_are_measured_as_each_alone(kind: str) -> None:
    """At one rate throughout, so that the image's mean rate is that of each half."""
    few, many = 16, 1024
    both = torch.cat([torch.full((3, 9), few), torch.full((3, 9), many)])
    counts = both[None] // 8
    whole = measure(counts, ForwardModel(sensor(kind), Exposure(1e-5, both)))
    for rows, cycles in ((slice(0, 3), few), (slice(3, 6), many)):
        alone = measure(torch.full((1, 6, 9), cycles // 8), ForwardModel(sensor(kind), Exposure(1e-5, cycles)))
        # Half a count in the whole image is added to the mean: more of 16 frames than of 1,024.
        torch.testing.assert_close(whole.statistics[:, :, rows], alone.statistics[:, :, rows], rtol=0.01, atol=0.01)
        torch.testing.assert_close(whole.log_variance[:, :, rows], alone.log_variance[:, :, rows], rtol=0.01, atol=0.01)
    torch.testing.assert_close(whole.mean_counts.flatten(), torch.tensor([(few + many) / 2 / 8]), rtol=0.1, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_no_counts_where_dark_counts_were_expected_are_one_scale_below_0(kind: str) -> None:
    """One hot pixel changes little; where counts are as many as the dark ones, nothing does."""
    dark = torch.full((6, 9), 500.0)
    dark[2, 3] = 5e4
    known = sensor(kind, dark_count_rate=dark)
    none = measure(torch.zeros(1, 6, 9, dtype=torch.int64), ForwardModel(known, Exposure(1e-5, 1024)))
    ordinary = none.rate[0, 0][dark == 500]
    assert none.scale.mean() == pytest.approx(500, rel=0.1)
    assert ordinary.mean() == pytest.approx(-1, abs=0.15)
    usual = drawn(20)
    told, untold = (measure(usual, ForwardModel(each, Exposure(1e-5, 1024))) for each in (known, sensor(kind)))
    assert told.scale.equal(untold.scale)
