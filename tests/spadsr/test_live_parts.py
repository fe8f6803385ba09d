"""Parts of the live view: how much may be on its way, sums of consecutive images, messages, names of recordings."""

import itertools
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hardware.camera import Block
from hardware.cameras.registry import open_camera
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.sensor import Sensor
from spadsr.live.corrections import Averaging, Corrections
from spadsr.live.display import Display
from spadsr.live.flow import Flow
from spadsr.live.live_session import _checked_scale
from spadsr.live.message import Kind, Message, unit_for
from spadsr.live.newest import Newest, Sum
from spadsr.live.recordings import Folder, Playback
from spadsr.live.restorer import LiveRestorer, RestoringOrder
from spadsr.live.running import has_screen


@given(st.lists(st.tuples(st.sampled_from(["send", "drawn", "dropped", "nonsense"]), st.floats(0, 5)), max_size=60))
def test_flow_counts_add_up(steps: list[tuple[str, float]]) -> None:
    flow, now, way = Flow(), 0.0, list[int]()
    for what, wait in steps:
        now += wait
        if what == "send" and flow.open:
            way.append(flow.send(now))
        elif what == "nonsense":
            flow.acknowledge(10**9, True, now)
        elif what in ("drawn", "dropped") and way:
            flow.acknowledge(way.pop(0), what == "drawn", now)
        assert flow.sent == flow.drawn + flow.dropped + len(way)
        assert len(way) <= flow.most
        assert 2 <= flow.window <= flow.most


def test_the_window_opens_on_a_long_way_and_closes_where_images_wait() -> None:
    flow, now = Flow(), 0.0
    for _ in range(40):  # 80 ms there and back whatever is on the way
        serial = flow.send(now)
        now += 0.08
        flow.acknowledge(serial, True, now)
    assert flow.window == 4
    for _ in range(40):  # each image now waits for those before it
        serial = flow.send(now)
        now += 0.3
        flow.acknowledge(serial, True, now)
    assert flow.window == 2


@given(images=st.integers(1, 20), sizes=st.lists(st.integers(1, 50), min_size=1, max_size=12))
def test_newest_sums_are_of_consecutive_images(images: int, sizes: list[int]) -> None:
    shown: list[Sum] = []
    newest = Newest(shown.append)
    newest.begin(Settings(1e-6, counter_bits=16, frame_time=1e-3))
    newest.sum_of(images)
    first = 0
    for size in sizes:
        counts = np.arange(first, first + size, dtype=np.uint16)[:, None, None]
        newest.see(Block(counts, first, 1e-3, time.monotonic(), 0, True, 0.0))
        first += size
    for each in shown:
        assert each.counts[0, 0] == sum(range(each.last - images + 1, each.last + 1))
        assert each.settings.cycles == images
    assert all(one.last < other.last for one, other in itertools.pairwise(shown))
    if first >= 3 * images + max(sizes):
        assert shown, "whole sums are shown"


def test_no_sum_spans_lost_images() -> None:
    shown: list[Sum] = []
    newest = Newest(shown.append)
    newest.begin(Settings(1e-6, counter_bits=16, frame_time=1e-3))
    newest.sum_of(10)
    ones = np.ones((6, 1, 1), np.uint16)
    newest.see(Block(ones, 0, 1e-3, time.monotonic(), 0, True, 0.0))
    newest.see(Block(ones, 9, 1e-3, time.monotonic(), 3, True, 0.0))
    newest.see(Block(ones, 15, 1e-3, time.monotonic(), 0, True, 0.0))
    assert [each.last for each in shown] == [18]


@pytest.mark.parametrize("speed", [0, 6])
def test_a_scene_that_moves_within_the_sum_is_said(small_weights: Path, speed: int) -> None:
    rows, columns = np.indices((32, 32))
    images, settings = 100, Settings(1e-5, counter_bits=8, frame_time=1e-4)
    places = [16 + speed * (image / images - 0.5) for image in range(images)]
    light = np.stack([0.2 + 2 * np.exp(-((rows - 16) ** 2 + (columns - place) ** 2) / 8) for place in places])
    counts = np.random.default_rng(0).poisson(light).astype(np.uint8)
    shown: list[Sum] = []
    newest = Newest(shown.append)
    newest.begin(settings)
    newest.sum_of(images)
    for first in range(0, images, 7):
        newest.see(Block(counts[first : first + 7], first, 1e-4, time.monotonic(), 0, True, 0.0))
    [whole] = shown
    assert whole.blocks is not None
    np.testing.assert_array_equal(whole.blocks, counts[:96].reshape(8, 12, 32, 32).sum(axis=1))
    np.testing.assert_array_equal(whole.counts, counts.sum(axis=0))
    restorer = LiveRestorer()
    restorer.obey(RestoringOrder(2, str(small_weights)))
    warnings = restorer.answer(whole).warnings
    assert any("moves within the sum" in line for line in warnings) == (speed > 0)
    later = restorer.answer(replace(whole, blocks=None)).warnings
    assert later == warnings, "it is said until the next look"


def test_a_sensor_of_another_camera_shows_what_was_recorded_all_the_same() -> None:
    published: list[Message] = []
    display = Display(published.append, lambda shown: None)
    other = Sensor("other", torch.ones(8, 8), torch.zeros(8, 8), 0.0, 8)
    display.corrections = Corrections(other)
    display.start()
    display.show(Sum(np.full((4, 4), 3, np.uint32), 0, 0.0, Settings(1e-5, counter_bits=8), 1))
    end = time.monotonic() + 60
    while not published and time.monotonic() < end:
        time.sleep(0.01)
    assert "a sensor of 8 x 8 pixels" in display.failure
    display.close()
    assert published[0].second == pytest.approx(np.full((4, 4), 3e5), rel=1e-3)


def test_a_dark_and_hot_pixels_are_taken_from_what_is_seen() -> None:
    averaging = Averaging(0.05)
    averaging.begin(Settings(1e-5, counter_bits=8, frame_time=1e-4))
    rate = np.full((16, 16), 0.05)
    rate[5, 7] = 2.0
    counts = np.random.default_rng(0).poisson(rate, (1200, 16, 16)).astype(np.uint8)
    for first in range(0, 1200, 100):
        averaging.see(Block(counts[first : first + 100], first, 1e-4, 1 + first * 1e-4, 0, True, 0.0))
    assert averaging.done.is_set()
    average = averaging.result()
    assert average.images == 600
    assert np.argwhere(average.hot).tolist() == [[5, 7]]
    assert average.rate.mean() == pytest.approx(rate.mean() / 1e-5, rel=0.05)


def test_pictures_larger_than_screens_are_refused() -> None:
    assert _checked_scale(8, (512, 512)) == 8
    assert _checked_scale(1, (8000, 10)) == 1
    with pytest.raises(InputError, match="expected 1 or 2 or 4 or 8 for 512 x 32 pixels"):
        _checked_scale(16, (512, 32))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is a screen always")
def test_no_browser_for_terminals_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    assert not has_screen()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert has_screen()


@given(st.floats(1e2, 1e9), st.floats(0, 1))
def test_rates_survive_the_way(largest: float, share: float) -> None:
    rate = np.full((1, 1), largest * share, np.float32)
    message = Message(Kind.RESTORED, 0, 0.0, 1, 1, unit_for(largest), rate, rate)
    sent = np.frombuffer(message.packed(1)[64:66], "<f2").astype(np.float64) * message.unit
    assert np.isfinite(sent).all()
    assert sent[0] == pytest.approx(float(rate[0, 0]), rel=5e-4, abs=largest * 1e-8)


@pytest.mark.parametrize(
    "name",
    ["../x", "a/b", "a\\b", "", ".hidden", "x" * 200, "con", "NUL.h5", "a\0b", "a.", "ü", "a.part", "a.sr.h5"],
)
def test_names_of_recordings_are_plain(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path)
    if not name:
        assert folder.new(name).parent == tmp_path
        return
    with pytest.raises(InputError, match="not a name"):
        folder.new(name)


def test_darks_are_played_and_merged_recordings_are_not(tmp_path: Path) -> None:
    settings, dark, merged = Settings(1e-5, counter_bits=8), tmp_path / "dark.h5", tmp_path / "merged.h5"
    images = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2)
    with CaptureWriter(dark, (2, 2), np.uint8, settings) as file:
        file.append(images, image_key=2)
    playback = Playback(dark, 2)
    assert playback.images == 3
    np.testing.assert_array_equal(playback.read().counts, images[:2].sum(axis=0))
    playback.close()
    with CaptureWriter(merged, (2, 2), np.uint8, Settings(1e-5, 3, 8)) as file:
        file.append(images, cycles=np.full((6, 2, 2), 3, np.uint32))
    with pytest.raises(InputError, match="cannot be played"):
        Playback(merged, 1)
    with pytest.raises(InputError, match="cannot be played"), open_camera(f"replay:{merged}"):
        pass
