"""How images were taken: what no camera can have is refused, and what a file does not say is completed."""

import pickle
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware.settings import PartialSettings, Settings
from noise_model.errors import InputError
from noise_model.sensor import Exposure

SETTINGS = Settings(1e-5, cycles=4, counter_bits=9, dead_time=5e-8, frame_time=1e-4)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"count_time": float("nan")}, "count_time is nan"),
        ({"count_time": 0}, "count_time is 0; expected 1e-12 to 1e.06 s"),
        ({"cycles": 0}, "cycles is 0"),
        ({"cycles": 1.5}, "cycles is 1.5"),
        ({"counter_bits": 17}, "counter_bits is 17"),
        ({"dead_time": -1e-9}, "dead_time is -1e-09"),
        ({"frame_time": float("inf")}, "frame_time is inf"),
        ({"largest_count": 0}, "saturation_value is 0"),
    ],
)
def test_what_no_camera_has_is_refused_by_its_name(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        replace(SETTINGS, **wrong)
    assert refused.value.arguments == (words.split()[0],)


def test_counts_have_a_largest_one() -> None:
    assert SETTINGS.saturation_value == 4 * 511
    assert replace(SETTINGS, largest_count=255).saturation_value == 255
    assert replace(SETTINGS, largest_count=4 * 511) == SETTINGS
    with pytest.raises(InputError, match=r"saturation_value 2045 is more than 4 cycles of a 9-bit counter can hold"):
        replace(SETTINGS, largest_count=2045)
    with pytest.raises(InputError, match="exceed 32-bit counts"):
        Settings(1e-5, cycles=1 << 24, counter_bits=9)
    assert Settings(1e-5, cycles=1 << 24, counter_bits=9, largest_count=255).saturation_value == 255


def test_sums_of_images() -> None:
    assert SETTINGS.exposure == Exposure(1e-5, 4)
    assert SETTINGS.summed(3) == Settings(1e-5, 12, 9, 5e-8, 3 * 1e-4)
    assert replace(SETTINGS, largest_count=255, frame_time=None).summed(3).saturation_value == 765


def test_numbers_are_plain_and_settings_stay_as_they_are() -> None:
    settings = Settings(np.float32(0.5), cycles=np.int64(4), dead_time=0)  # type: ignore[arg-type]
    assert [type(value) for value in settings.numbers().values()] == [float, int, float, int, int]
    assert settings.numbers() == {
        "count_time": 0.5,
        "cycles": 4,
        "dead_time": 0.0,
        "counter_bits": 1,
        "saturation_value": 4,
    }
    with pytest.raises(FrozenInstanceError):
        settings.cycles = 5  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_what_a_file_says_is_completed(tmp_path: Path) -> None:
    said = PartialSettings.of("a.h5", count_time=1e-5, cycles=4.0, corrected=1, saturation_value=3)
    assert said.known() == {"count_time": 1e-5, "cycles": 4, "corrected": True, "saturation_value": 3}
    assert said.complete(tmp_path) == Settings(1e-5, 4, corrected=True, largest_count=3)
    with pytest.raises(InputError, match=r"a.h5: saturation_value 9 is more than 4 .*; correct the file"):
        PartialSettings(count_time=1e-5, cycles=4, saturation_value=9).complete(Path("a.h5"))
    with pytest.raises(InputError, match=r"^a.h5: cycles is 0") as refused:
        PartialSettings.of("a.h5", cycles=0)
    assert refused.value.arguments == ()
