"""The SPC3 through a pretend library: what it hands over, what it does wrong, what the user is told."""

import ctypes
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2
from spc3_emulator import image_numbers, misuse, pattern, reset

from hardware.camera import CameraError
from hardware.cameras.spc3 import camera as spc3
from hardware.cameras.spc3.library import VARIABLE
from hardware.cameras.spc3.shared_library import is_cut
from hardware.settings import Settings

Start = Callable[..., spc3.Spc3]

ONE_FRAME = Settings(count_time=10.4e-6)
SUMMED = Settings(count_time=5e-6, cycles=20)


@pytest.fixture
def start(spc3_library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """start(live=, snap=, FAIL=, RATE=, ...) is a camera not opened yet, the emulator being told the capitals."""

    def connected(live: int = 0, snap: int = 0, **told: Any) -> spc3.Spc3:
        for name, value in told.items():
            monkeypatch.setenv(f"SPC3_EMULATOR_{name}", str(value))
        reset(spc3_library)
        return spc3.connect(str(spc3_library), live=live, snap=snap)

    yield connected
    assert misuse(spc3_library) == 0


@pytest.mark.parametrize(("settings", "dtype"), [(ONE_FRAME, np.uint8), (SUMMED, np.uint16)])
def test_continuous_hands_over_every_image_once_whole_and_in_order(
    start: Start, settings: Settings, dtype: type
) -> None:
    with start() as camera:
        camera.configure(settings)
        blocks = list(islice(camera.blocks(), 6))
    assert [block.first for block in blocks] == np.cumsum([0] + [len(block.counts) for block in blocks[:-1]]).tolist()
    assert all(block.counts.dtype == dtype and block.lost == 0 and block.lost_known for block in blocks)
    counts = np.concatenate([block.counts for block in blocks])
    np.testing.assert_array_equal(counts, pattern(0, len(counts)))


def test_full_rate_loses_nothing_and_comes_in_batches(start: Start) -> None:
    with start() as camera:
        applied = camera.configure(ONE_FRAME)
        assert applied.frame_time == pytest.approx(10.4e-6)
        expected, lost, sizes = 0, 0, []
        for block in camera.blocks():
            lost += block.lost
            numbers = image_numbers(block.counts)
            np.testing.assert_array_equal(numbers, np.arange(expected, expected + len(numbers)))
            expected += len(numbers)
            sizes.append(len(numbers))
            if expected >= 96_154:
                camera.stop()
    assert np.mean(sizes) >= spc3.BATCH
    assert lost == 0


def test_blocks_belong_to_the_caller(start: Start) -> None:
    with start() as camera:
        camera.configure(ONE_FRAME)
        run = camera.blocks()
        first = next(run)
        kept = first.counts.copy()
        first.counts[0] += 0  # writable
        next(run)
        np.testing.assert_array_equal(first.counts, kept)


def test_settings_are_those_the_camera_has(start: Start) -> None:
    with start() as camera:
        applied = camera.configure(Settings(1.2346e-6, 16, dead_time=54e-9, counter_bits=1))
        expected = (pytest.approx(1.23e-6), 16, 9, pytest.approx(52e-9), pytest.approx(166.4e-6), False, False, None)
        assert astuple(applied) == expected
        assert applied.saturation_value == 16 * 511
        assert camera.configure(Settings(1e-6, 200)).saturation_value == 65535  # the read-out's, not 200 x 511
        assert camera.configure(ONE_FRAME).counter_bits == 8
        assert camera.configure(ONE_FRAME).dead_time == pytest.approx(50e-9)
        assert camera.configure(Settings(100e-6)).frame_time == pytest.approx(100e-6)
        assert not camera.configure(Settings(1e-6, corrected=True, background_subtracted=True)).corrected


@pytest.mark.parametrize("settings", [Settings(1e-9), Settings(1e-3), Settings(1e-6, cycles=65535)])
def test_impossible_settings_are_refused(start: Start, settings: Settings) -> None:
    with start() as camera, pytest.raises(CameraError, match=r"expected 1 to 65534"):
        camera.configure(settings)


def test_snaps_are_whole_and_the_time_between_them_is_unknown(start: Start) -> None:
    with start(snap=300) as camera:
        camera.configure(SUMMED)
        blocks = list(islice(camera.blocks(), 4))
    assert [(block.first, len(block.counts)) for block in blocks] == [(0, 256), (256, 44), (300, 256), (556, 44)]
    assert [block.lost_known for block in blocks] == [True, True, False, True]
    np.testing.assert_array_equal(np.concatenate([block.counts for block in blocks[2:]]), pattern(0, 300))


def test_live_hands_over_single_images_and_says_that_others_are_gone(start: Start) -> None:
    with start(live=1) as camera:
        assert camera.configure(ONE_FRAME).frame_time == spc3.LIVE_PERIOD
        began = time.monotonic()
        blocks = list(islice(camera.blocks(), 5))
        assert time.monotonic() - began >= 5 * spc3.LIVE_PERIOD
    numbers = [int(image_numbers(block.counts)[0]) for block in blocks]
    assert [block.first for block in blocks] == [0, 1, 2, 3, 4]
    assert (np.diff(numbers) > 1).all()
    assert not any(block.lost_known for block in blocks)


def test_simulated_pixels_follow_the_law_of_dead_time(start: Start) -> None:
    """Mean of a renewal process within four standard errors; variance narrowed by the dead time."""
    with start(snap=64, RATE=5e6) as camera:
        applied = camera.configure(Settings(10.4e-6, cycles=4))
        counts = next(iter(camera.blocks())).counts.astype(float)
    busy = 5e6 * applied.dead_time
    live = applied.count_time * applied.cycles * 5e6
    # Each frame starts armed: on average busy^2 / 2 / (1 + busy)^2 counts more than the asymptote (renewal theory).
    mean = live / (1 + busy) + applied.cycles * busy**2 / 2 / (1 + busy) ** 2
    error = np.sqrt(live / (1 + busy) ** 3 / counts.size)
    assert abs(counts.mean() - mean) < 4 * error
    assert counts.var() < counts.mean() * (1 + busy) ** -2 * 1.1


def test_dark_pixels_are_independent(start: Start) -> None:
    with start(snap=200, RATE=2e3) as camera:
        applied = camera.configure(Settings(10.4e-6))
        counts = next(iter(camera.blocks())).counts
    expected = counts.size * 2e3 * applied.count_time
    assert chi2.ppf(1e-4, 2 * expected) / 2 < counts.sum() < chi2.ppf(1 - 1e-4, 2 * expected) / 2


@pytest.mark.parametrize(
    ("status", "said"),
    [(-1, "no camera found"), (-3, "power"), (-5, "USB cable"), (-14, "firmware"), (-99, "does not name")],
)
def test_a_failed_constructor_is_told_and_its_handle_never_used(start: Start, status: int, said: str) -> None:
    camera = start(FAIL=f"SPC3_Constr:{status}@1")
    with pytest.raises(CameraError, match=rf"{said}.*SPC3_Constr returned {status}"), camera:
        pass
    with pytest.raises(CameraError, match="not opened"):
        camera.configure(ONE_FRAME)
    camera.__exit__(None, None, None)
    with camera:  # the second attempt reaches it
        camera.configure(ONE_FRAME)


def test_leaving_twice_destroys_once(start: Start) -> None:
    camera = start()
    with camera:
        camera.configure(ONE_FRAME)
        next(iter(camera.blocks()))
    camera.__exit__(None, None, None)


def test_the_emulator_would_notice_a_second_destruction(spc3_library: Path) -> None:
    reset(spc3_library)
    library, handle = ctypes.CDLL(str(spc3_library)), ctypes.c_void_p()
    assert library.SPC3_Constr(ctypes.byref(handle), 1, b"") == 0
    assert library.SPC3_Destr(handle) == 0
    assert library.SPC3_Destr(handle) != 0
    assert misuse(spc3_library) == 1


@pytest.mark.parametrize(("status", "said"), [(-18, "frames are lost"), (-16, "too much light"), (-5, "USB cable")])
def test_a_failing_run_ends_with_what_came_before_and_one_line(start: Start, status: int, said: str) -> None:
    images: list[int] = []
    with start(FAIL=f"SPC3_Get_Memory_Buffer:{status}@400") as camera:
        camera.configure(ONE_FRAME)
        numbers = (image_numbers(block.counts).tolist() for block in camera.blocks())
        with pytest.raises(CameraError, match=said) as told:
            images.extend(chain.from_iterable(numbers))
    assert images == list(range(len(images)))
    assert "\n" not in str(told.value)


def test_a_reader_too_slow_for_the_memory_of_the_camera_is_told(start: Start) -> None:
    with start(MEMORY=20_000_000) as camera:
        camera.configure(SUMMED)
        run = camera.blocks()
        next(run)
        time.sleep(1.5)  # 30 MB
        with pytest.raises(CameraError, match=r"frames are lost.*-18"):
            list(run)


def test_too_much_light_while_live(start: Start) -> None:
    with start(live=1, FAIL="SPC3_Get_Live_Img:-16@2") as camera:
        camera.configure(ONE_FRAME)
        run = camera.blocks()
        next(run)
        with pytest.raises(CameraError, match="lower the light"):
            next(run)


def test_a_camera_left_idle_by_its_settings_is_started_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spc3, "PATIENCE", 0.3)
    monkeypatch.setattr(spc3, "SETTLE", 0.0)
    with start(SETTLE_MS=100) as camera:
        camera.configure(ONE_FRAME)
        block = next(iter(camera.blocks()))
    np.testing.assert_array_equal(block.counts, pattern(0, len(block.counts)))


def test_a_camera_that_stays_silent_is_an_error(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spc3, "PATIENCE", 0.1)
    with start(FAIL="SPC3_Get_Memory_Buffer:-8") as camera:
        camera.configure(ONE_FRAME)
        with pytest.raises(CameraError, match="no frames for"):
            next(camera.blocks())


def test_a_slow_start_is_waited_for(start: Start) -> None:
    began = time.monotonic()
    with start(START_MS=300) as camera:
        assert time.monotonic() - began >= 0.3
        assert camera.identity()["serial_number"] == "SPC3-EMULATED-0001"


@pytest.mark.parametrize("mode", [{}, {"live": 1}, {"snap": 500}])
def test_stop_from_another_thread(start: Start, mode: dict[str, int]) -> None:
    with start(**mode) as camera:
        camera.configure(ONE_FRAME)
        threading.Timer(0.2, camera.stop).start()
        assert len(list(camera.blocks())) > 0
        assert len(list(islice(camera.blocks(), 2))) == 2  # and again


def test_a_run_needs_settings(start: Start) -> None:
    with start() as camera, pytest.raises(CameraError, match="configure"):
        camera.blocks()


@pytest.mark.parametrize("options", [{"live": 1, "snap": 5}, {"snap": 70000}, {"live": 2}, {"snap": 1.5}])
def test_options_that_contradict(spc3_library: Path, options: dict[str, float]) -> None:
    with pytest.raises(CameraError, match="expected live=1"):
        spc3.connect(str(spc3_library), **options)


def test_a_missing_library_says_where_it_looked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    usable, why = spc3.availability()
    assert not usable
    assert "libSPC3.so" in why
    assert f"{VARIABLE} (not set)" in why
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine.so"))
    assert str(tmp_path / "mine.so") in spc3.availability()[1]
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(CameraError, match=r"text\.so not usable"):
        spc3.connect(str(tmp_path / "text.so"))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
def test_a_library_that_is_cut_off_is_not_loaded(spc3_library: Path, tmp_path: Path, share: float) -> None:
    """The system would end the process (SIGBUS)."""
    whole, cut = spc3_library.read_bytes(), tmp_path / "cut.so"
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CameraError, match=r"cut\.so not usable \(the file is cut off: copy it again\)"):
        spc3.connect(str(cut))


def test_windows_libraries_are_checked_too(tmp_path: Path) -> None:
    head = bytearray(0x200)
    head[:2], head[0x3C:0x40], head[0x80:0x84] = b"MZ", (0x80).to_bytes(4, "little"), b"PE\0\0"
    struct.pack_into("<HH12xH", head, 0x84, 0x8664, 2, 0xF0)
    for section, (size, place) in enumerate([(0x400, 0x200), (0x100, 0x600)]):
        struct.pack_into("<II", head, 0x80 + 24 + 0xF0 + 40 * section + 16, size, place)
    path = tmp_path / "a.dll"
    for size, cut in ((0x700, False), (0x6FF, True), (0x300, True), (0x90, True), (1, False)):
        path.write_bytes((head + bytes(0x500))[:size])
        assert is_cut(path) is cut


def test_the_library_is_found_through_the_environment(spc3_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(spc3_library))
    assert spc3.availability()[0]
