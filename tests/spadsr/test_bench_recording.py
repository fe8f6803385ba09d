"""The bench of a recording: what each step of restoring takes, by a clock that the test turns."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from command import Said

from hardware.captures.capture import open_capture
from noise_model.errors import InputError
from spadsr.bench import recording_speed
from spadsr.bench.recording_speed import bench_recording
from spadsr.restoration.weights import load_restorer

Record = Callable[..., Path]


def test_every_moment_is_of_one_step(recorded: Record, small_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock moves it on by one: six a block, of which two are those of the network."""
    ticks = count()
    monkeypatch.setattr(recording_speed, "perf_counter", lambda: float(next(ticks)))
    seen: list[tuple[int, int]] = []
    with open_capture(recorded(80, 32, 32)) as capture:
        restorer = load_restorer(small_weights)
        speed = bench_recording(capture.summed(2), restorer, 2, progress=lambda *at: seen.append(at))
    assert (speed.images, speed.at_once) == (40, 16)
    assert seen == [(16, 40), (32, 40), (40, 40)]
    blocks = len(seen)
    assert (speed.reading, speed.network, speed.checking, speed.writing) == (blocks, blocks, 2 * blocks, blocks)
    assert speed.seconds == 5 * blocks  # from the first look at a block to the last, without the two before it
    assert speed.frames_per_second == 40 / speed.seconds
    assert speed.outside == pytest.approx(1 - 1 / 5)


def test_long_recordings_are_measured_for_some_time(
    recorded: Record, small_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least five blocks, however slow they are."""
    ticks = count()
    monkeypatch.setattr(recording_speed, "perf_counter", lambda: 10.0 * next(ticks))
    with open_capture(recorded(160, 32, 32)) as capture:
        speed = bench_recording(capture, load_restorer(small_weights), 1)
    assert speed.images == 80


def test_the_command_says_it(spadsr: Callable[..., Said], recorded: Record, small_weights: Path) -> None:
    path = recorded(40, 16, 16)
    how = ("--sum", "4", "--scale", "2", "--weights", small_weights)
    said = spadsr("bench", "infer", "--recording", path, *how)
    assert said.code == 0, said.err
    assert "restoring 10 images, 64 at once" in said.out
    assert all(step in said.out for step in ("reading", "network", "checking", "writing"))
    assert "of the time outside the network" in said.out
    said = spadsr("bench", "infer", "--recording", path, *how, "--json", "-")
    [row] = json.loads(said.out)["rows"]
    assert row["images"] == 10
    steps = sum(row[name] for name in ("reading", "network", "checking", "writing"))
    assert row["frames_per_second"] == pytest.approx(10 / steps)
    assert row["outside"] == pytest.approx(1 - row["network"] / steps)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    said = spadsr("bench", "infer", "--recording", path, "--sum", "41", "--weights", small_weights)
    assert (said.code, "no group of 41" in said.err) == (2, True)
    with open_capture(path) as capture, pytest.raises(InputError, match="scale 3"):
        bench_recording(capture, load_restorer(small_weights), 3)
