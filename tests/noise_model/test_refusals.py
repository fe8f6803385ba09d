"""What would make a wrong sensor is refused, with what to do about it; what would not, passes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gathered import binary_array, counting_array, guess, recorded, simulated

from noise_model.calibration.refusals import MOST_DRIFT, drift, refuse, refuse_mixture
from noise_model.calibration.streams import StreamStatistics, gather
from noise_model.errors import InputError
from noise_model.sensor import Exposure

SHAPE = (32, 32)


def flashes(p: float | np.ndarray, images: int = 4000, cycles: int = 1) -> StreamStatistics:
    """A flat of independent binary pixels; p may depend on time and place."""
    rng = np.random.default_rng(21)
    return gather(recorded(rng.binomial(cycles, p, (images, *SHAPE)).astype(np.uint8), cycles))


def over_time(change: np.ndarray) -> np.ndarray:
    return 0.2 * (1 + change[:, None, None])


@pytest.mark.parametrize(
    ("flag", "reason", "way_out"),
    [
        ("corrected", "dead-time corrected", "with the correction off"),
        ("background_subtracted", "background was subtracted", "with background subtraction off"),
        ("peak_normalised", "peak-normalised", "export the integer counts"),
    ],
)
@pytest.mark.parametrize("kind", ["dark", "flat"])
def test_processed_counts_are_refused_before_they_are_read(kind: str, flag: str, reason: str, way_out: str) -> None:
    def unread() -> None:
        raise AssertionError

    stream = recorded(np.zeros((5, 4, 4), dtype=np.uint8), name="lab/flat.h5")
    refuse(stream, kind)
    with pytest.raises(InputError, match=rf"^lab/flat\.h5: .*{reason}.*{way_out}$"):
        refuse(replace(stream, blocks=unread, **{flag: True}), kind)


@pytest.mark.parametrize("cycles", [1, 20])
def test_steady_flats_pass(cycles: int) -> None:
    refuse(flashes(0.2, cycles=cycles), "flat", guess(SHAPE))


def test_flats_of_a_real_array_pass() -> None:
    """With afterpulses and crosstalk, which widen the scatter of the segments, but not by what counts."""
    kernel = np.zeros((3, 3))
    kernel[1, 0] = kernel[1, 2] = 0.01
    flat = simulated(binary_array(0.1, SHAPE, afterpulse_probability=0.05, crosstalk=kernel), 6000)
    change, chance = drift(flat)
    assert change < MOST_DRIFT / 2
    assert chance > 1e-6
    refuse(flat, "flat", guess(SHAPE))


@pytest.mark.parametrize(("end", "refused"), [(0.005, False), (0.01, False), (0.03, True), (-0.1, True)])
def test_light_that_drifts(end: float, refused: bool) -> None:
    """From one end to the other; how much is told to within the limit's third."""
    flat = flashes(over_time(np.linspace(0, end, 12_000)), 12_000)
    assert drift(flat)[0] == pytest.approx(abs(end), abs=MOST_DRIFT / 3)
    if refused:
        with pytest.raises(InputError, match=r"the light drifted by .* let the source warm up"):
            refuse(flat, "flat")
    else:
        refuse(flat, "flat")


def test_light_that_wanders_is_refused_like_light_that_drifts() -> None:
    """Once up and down, by 4 % each way: the ends are alike."""
    flat = flashes(over_time(0.04 * np.sin(np.linspace(0, 2 * np.pi, 4000))))
    with pytest.raises(InputError, match="the light drifted"):
        refuse(flat, "flat")


def test_shot_noise_of_a_dim_flat_is_no_drift() -> None:
    """Its segments scatter by 3 %, as those of any light of so few counts."""
    flat = flashes(0.004, 30_000)
    scatter = flat.segment_counts.std() / flat.segment_counts.mean()
    assert scatter > 1.3 * MOST_DRIFT
    refuse(flat, "flat")


def test_a_single_image_cannot_drift() -> None:
    assert drift(flashes(0.5, 1)) == (0.0, 1.0)


def test_a_flat_too_dark() -> None:
    with pytest.raises(InputError, match=r"too dark for a flat: .* counts in the median pixel.* give it as a dark"):
        refuse(flashes(0.01, 2000), "flat")
    refuse(flashes(0.01, 2000), "dark")


def test_a_dark_given_as_a_flat() -> None:
    """A long one, whose ordinary pixels have counts enough, but whose hot ones have most."""
    p = np.full(SHAPE, 0.05)
    p.flat[:: 1024 // 82] = 0.9
    with pytest.raises(InputError, match=r"not a flat: a tenth of the pixels has .* give it as a dark"):
        refuse(flashes(p), "flat")
    refuse(flashes(p), "dark")


def test_uneven_light_is_still_a_flat() -> None:
    """Ten times darker at one side than at the other."""
    refuse(flashes(np.linspace(0.05, 0.5, 32)), "flat")


def blinded(pixels: int, cycles: int = 1) -> StreamStatistics:
    p = np.full(SHAPE, 0.3)
    p.flat[:pixels] = 0.98
    return flashes(p, cycles=cycles)


@pytest.mark.parametrize("cycles", [1, 50])
def test_saturated_binary_flats(cycles: int) -> None:
    refuse(blinded(10, cycles), "flat")
    with pytest.raises(InputError, match=r"saturated: 1\.1% of the pixels .* with less light"):
        refuse(blinded(11, cycles), "flat")


def test_saturated_pixels_that_are_masked_do_not_count() -> None:
    mask = torch.zeros(SHAPE, dtype=torch.int32)
    mask.view(-1)[:60] = 8
    refuse(blinded(60), "flat", guess(SHAPE, pixel_mask=mask))
    with pytest.raises(InputError, match="no good pixel"):
        refuse(blinded(60), "flat", guess(SHAPE, pixel_mask=torch.ones_like(mask)))


def counted(mean: float, dead_time: float | None, bits: int = 9) -> StreamStatistics:
    """Frames of 10 us, of a counter that stays full."""
    counts = np.random.default_rng(22).poisson(mean, (500, *SHAPE)).clip(max=2**bits - 1)
    return gather(recorded(counts.astype(np.uint16), bits=bits, dead_time=dead_time))


def test_counting_flats_that_are_blind_most_of_the_time() -> None:
    refuse(counted(180, 50e-9), "flat")
    with pytest.raises(InputError, match=r"saturated: 100\.0% .* less light"):
        refuse(counted(195, 50e-9), "flat")


@pytest.mark.parametrize(("load", "refused"), [(0.9, False), (0.98, True)])
def test_blind_pixels_of_unknown_dead_time_are_known_by_their_even_counts(load: float, refused: bool) -> None:
    """Frames of 104 dead times. Pixels that count nothing do so as evenly, but are not blinded."""
    array = counting_array(load, (10, 10), 5.2e-6)
    array.rate[0] = 0
    flat = simulated(array, 300)
    if refused:
        with pytest.raises(InputError, match=r"saturated: .* less light"):
            refuse(flat, "flat")
    else:
        refuse(flat, "flat")


def test_counters_that_are_full() -> None:
    """A counter of 5 bits: the mean is well below its maximum of 31, but a few images in a hundred reach it."""
    refuse(counted(15, None, bits=5), "flat")
    with pytest.raises(InputError, match="saturated"):
        refuse(counted(22, None, bits=5), "flat")


def test_captures_of_one_calibration_belong_together() -> None:
    dark, flat = flashes(0.001, 500), flashes(0.3, 500)
    refuse_mixture([dark], [flat, flat], guess(SHAPE))
    other = gather(recorded(np.ones((300, 16, 16), dtype=np.uint8), name="other.h5"))
    with pytest.raises(InputError, match=r"other\.h5: images of 16x16 pixels, but flat\.h5 has 32x32; calibrate one"):
        refuse_mixture([dark], [flat, other], guess(SHAPE))


def test_captures_of_another_kind_of_array() -> None:
    dark, flat = flashes(0.001, 500), replace(counted(20, 50e-9), name="counts.h5")
    with pytest.raises(InputError, match=r"counts\.h5: a counting array, but the sensor .* guess, is a binary array"):
        refuse_mixture([dark], [flat], guess(SHAPE))
    with pytest.raises(InputError, match=r"a binary array, but the sensor .* is a counting array"):
        refuse_mixture([dark], [flat], guess(SHAPE, 9))


def test_captures_with_other_dead_times() -> None:
    sensor = guess(SHAPE, 9)
    flats = [counted(20, 50e-9), counted(20, 50e-9 * (1 + 1e-6)), counted(20, None)]
    refuse_mixture([], flats, sensor)
    with pytest.raises(InputError, match=r"dead time of 100 ns, but flat\.h5 has 50 ns; calibrate one setting"):
        refuse_mixture([], [*flats, replace(flats[0], dead_time=100e-9)], sensor)


def test_swapped_flat_and_dark() -> None:
    """Compared as rates: the dark is exposed for ten times as long."""
    bright, dim = replace(flashes(0.3, 500), name="bright.h5"), replace(flashes(0.05, 500), name="dim.h5")
    refuse_mixture([dim], [bright], guess(SHAPE))
    with pytest.raises(InputError, match=r"dim\.h5: hardly brighter than bright\.h5.*were flat and dark swapped"):
        refuse_mixture([bright], [dim], guess(SHAPE))
    longer = replace(bright, exposure=Exposure(1e-4))
    with pytest.raises(InputError, match="hardly brighter"):
        refuse_mixture([dim], [longer], guess(SHAPE))
