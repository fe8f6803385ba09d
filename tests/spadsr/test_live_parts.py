"""Parts of the live view: how much may be on its way, sums of consecutive images, messages, names of recordings."""

import itertools
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.camera import Block
from hardware.settings import Settings
from noise_model.errors import InputError
from spadsr.live.flow import Flow
from spadsr.live.message import Kind, Message, unit_for
from spadsr.live.newest import Newest, Sum
from spadsr.live.recordings import Folder


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


@given(st.floats(1e2, 1e9), st.floats(0, 1))
def test_rates_survive_the_way(largest: float, share: float) -> None:
    rate = np.full((1, 1), largest * share, np.float32)
    message = Message(Kind.RESTORED, 0, 0.0, 1, 1, unit_for(largest), rate, rate)
    sent = np.frombuffer(message.packed(1)[64:66], "<f2").astype(np.float64) * message.unit
    assert np.isfinite(sent).all()
    assert sent[0] == pytest.approx(float(rate[0, 0]), rel=5e-4, abs=largest * 1e-8)


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", "", ".hidden", "x" * 200, "con", "NUL.h5", "a\0b", "tail.", "ü"]
)
def test_names_of_recordings_are_plain(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path)
    if not name:
        assert folder.new(name).parent == tmp_path
        return
    with pytest.raises(InputError, match="not a name"):
        folder.new(name)
