"""The SPAD512 through a pretend program on a loopback port: the wire, what can go wrong on it, and its bounds."""

import socket
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from spad512_emulator import Babbling, Known, Spoilt, serving

from hardware.camera import CameraError
from hardware.cameras.spad512 import camera as spad512
from hardware.cameras.spad512 import link as spad512_link
from hardware.cameras.spad512.emulator import Server, corrected, encoded, requested, scene
from hardware.formats.spad512 import upright
from hardware.settings import Settings
from noise_model.sensor import Sensor

Start = Callable[..., spad512.Spad512]

ONE_BIT = Settings(count_time=10e-6)
EIGHT_BITS = Settings(count_time=10e-6, cycles=255)


def ramp(depth: int, images: int = 4) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Counts over the whole range of `depth` bits, each image another."""
    rows, columns = np.indices((512, 512))
    return np.stack([(3 * rows + 5 * columns + 7 * k) % (1 << depth) for k in range(images)]).astype(np.int32)


def settings_of(depth: int) -> Settings:
    return Settings(count_time=10e-6, cycles=(1 << depth) - 1)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spad512_link, "QUIET", 0.05)
    monkeypatch.setattr(spad512_link, "PATIENCE", 1.0)
    monkeypatch.setattr(spad512_link, "CALIBRATION", 2.0)
    monkeypatch.setattr(spad512, "STALL", 2.0)
    monkeypatch.setattr(spad512, "FAREWELL", 0.3)


@pytest.fixture
def start() -> Iterator[Start]:
    """start(server, frames=) is a camera, not opened yet, of that pretend program."""
    with ExitStack() as stack:
        yield lambda server, frames=8: spad512.connect("", port=stack.enter_context(serving(server)), frames=frames)


@pytest.mark.parametrize("depth", spad512.DEPTHS)
@pytest.mark.parametrize("pile_up", [False, True])
def test_every_depth_arrives_as_it_was_counted(
    start: Start, depth: int, pile_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spad512, "STALL", 60.0)  # whatever else runs here
    server = Known(ramp(depth))
    with start(server, frames=4) as camera:
        applied = camera.configure(Settings(10e-6, (1 << depth) - 1, corrected=pile_up))
        block = next(camera.blocks())
    if depth == 1 or not pile_up:
        np.testing.assert_array_equal(block.counts, server.counts)
        assert applied == replace(Settings(10e-6, (1 << depth) - 1, 1), count_time=applied.count_time)
        assert applied.count_time == pytest.approx(10e-6, rel=0.01)
    else:
        np.testing.assert_array_equal(block.counts, corrected(server.counts, (1 << depth) - 1))
        assert applied == Settings(applied.count_time, 1, 16, corrected=True)
        assert applied.count_time == pytest.approx(10e-6 * (2**depth - 1))
    assert block.counts.dtype == (np.uint16 if depth > 8 or (pile_up and depth > 1) else np.uint8)
    assert f"PU,{int(pile_up and depth > 1)}" in server.commands


def test_one_bit_frames_are_packed_and_turned_as_documented() -> None:
    """Most significant bit first, then 90 degrees counterclockwise: what is sent last in a row is on top."""
    frame = np.zeros((512, 512), bool)
    frame[3, 509] = True
    sent = np.packbits(frame, axis=-1)
    assert sent[3, 63] == 1 << 2
    shown = upright(sent[None])[0]
    assert np.argwhere(shown).tolist() == [[2, 3]]
    assert encoded(shown[None].astype(np.int32), 1, False) == sent.tobytes()


@pytest.mark.parametrize(
    ("asked", "depth", "count_time", "cycles", "units"),
    [
        (Settings(10e-6), 1, 10e-6, 1, "10"),
        (Settings(10e-6, 15), 4, 10e-6, 15, "150"),
        (Settings(10e-6, 16), 6, 10e-6, 63, "0.63"),
        (Settings(1e-6, 200), 8, 1e-6, 255, "0.255"),
        (Settings(4e-3, counter_bits=12), 12, 4e-3 / 4095, 4095, "4"),
    ],
)
def test_settings_become_the_smallest_depth_that_holds_them(
    start: Start, asked: Settings, depth: int, count_time: float, cycles: int, units: str
) -> None:
    server = Known(ramp(1, 1))
    with start(server, frames=1) as camera:
        applied = camera.configure(asked)
        next(camera.blocks())
    assert (applied.count_time, applied.cycles, applied.counter_bits) == (pytest.approx(count_time), cycles, 1)
    assert applied.frame_time is None
    assert f"I,{depth},{units},1,0,0,0,1" in server.commands


@pytest.mark.parametrize("asked", [Settings(1e-6, 4096), Settings(1e-12), Settings(1e6)])
def test_impossible_settings_are_refused(start: Start, asked: Settings) -> None:
    with start(Server()) as camera, pytest.raises(CameraError, match=r"SPAD512: .*; expected"):
        camera.configure(asked)


def test_requests_follow_each_other_with_gaps_of_unknown_length(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spad512, "BLOCK_BYTES", 3 << 18)
    with start(Known(ramp(1, 5)), frames=5) as camera:
        camera.configure(ONE_BIT)
        blocks = list(islice(camera.blocks(), 5))
    assert [(block.first, len(block.counts)) for block in blocks] == [(0, 3), (3, 2), (5, 3), (8, 2), (10, 3)]
    assert [block.lost_known for block in blocks] == [True, True, False, True, False]
    np.testing.assert_array_equal(
        np.concatenate([block.counts for block in blocks])[:10], np.tile(ramp(1, 5), (2, 1, 1))
    )


def test_done_inside_pixels_ends_nothing(start: Start) -> None:
    counts = np.frombuffer(b"DONE" * (1 << 16), np.uint8).reshape(1, 512, 512).astype(np.int32)
    with start(Known(counts), frames=4) as camera:
        camera.configure(EIGHT_BITS)
        assert all((block.counts == counts).all() for block in islice(camera.blocks(), 3))


def test_error_inside_pixels_ends_nothing(start: Start) -> None:
    counts = np.frombuffer(b"\1ERROR\2\3" * (1 << 15), np.uint8).reshape(1, 512, 512).astype(np.int32)
    with start(Known(counts), frames=4) as camera:
        camera.configure(EIGHT_BITS)
        assert all((block.counts == counts).all() for block in islice(camera.blocks(), 3))


@pytest.mark.parametrize(
    ("sent", "then", "end", "said"),
    [
        (0, b"no light ERROR", "stall", "reports an error: no light ERROR"),
        (100_000, b"\0FIFO overflow ERROR", "stall", "reports an error: .*FIFO overflow ERROR"),
        (8 << 18, b"ERROR", "stall", "reports an error after the pixels"),
        (100_000, b"", "stall", "100000 of 2097152 bytes in .* then stalled"),
        (8 << 18, b"", "stall", "0 of 4 bytes"),
        (0, b"", "stall", "0 of 2097152 bytes"),
        (100_000, b"", "cut", "hung up"),
        (8 << 18, b"", "cut", "hung up"),
        (8 << 18, b"GARBAGE", "", "sent GARB where DONE"),
        (100_000, b"\xff" * 2_000_000, "", "where DONE"),
        (1000, b"", "drip", "then stalled"),
    ],
)
def test_what_goes_wrong_within_pixels_is_one_line(
    start: Start, monkeypatch: pytest.MonkeyPatch, sent: int, then: bytes, end: str, said: str
) -> None:
    monkeypatch.setattr(spad512_link, "SLOWEST", 1 << 21)
    with start(Spoilt(ramp(8, 8), sent, then, end)) as camera:
        camera.configure(EIGHT_BITS)
        began = time.monotonic()
        with pytest.raises(CameraError, match=said) as told:
            list(camera.blocks())
        assert time.monotonic() - began < 10
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("then", [b"", b"DONE"])
def test_endless_data_takes_neither_memory_nor_time(start: Start, then: bytes) -> None:
    with start(Spoilt(ramp(8, 8), 8 << 18, then, "endless")) as camera:
        camera.configure(EIGHT_BITS)
        tracemalloc.start()
        with pytest.raises(CameraError, match=r"nobody asked for|where DONE"):
            list(camera.blocks())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1 << 26


def test_counts_that_cannot_be_are_refused(start: Start) -> None:
    with start(Known(ramp(8))) as camera:
        camera.configure(settings_of(6))
        with pytest.raises(CameraError, match="count of 255 where 63 is the largest"):
            list(camera.blocks())


def test_after_a_failure_the_camera_can_be_entered_again(start: Start) -> None:
    server = Spoilt(ramp(8, 8), 1000, b"", "cut")
    camera = start(server)
    with camera:
        camera.configure(EIGHT_BITS)
        with pytest.raises(CameraError):
            list(camera.blocks())
    server.sent, server.end = 1 << 30, ""
    with camera:
        camera.configure(EIGHT_BITS)
        assert len(next(camera.blocks()).counts) == 8


@pytest.mark.parametrize("exposure", [1e-5, 6.0])
def test_stop_does_not_wait_for_a_long_exposure_and_another_run_may_follow(start: Start, exposure: float) -> None:
    class Slow(Known):
        def images(self, depth: int, exposure: float, images: int) -> Iterator[np.ndarray[Any, Any]]:
            for _ in range(images):
                yield self.counts[:1]

    with start(Slow(ramp(4, 1)), frames=3) as camera:
        camera.configure(Settings(exposure / 15, 15))
        threading.Timer(0.3, camera.stop).start()
        began = time.monotonic()
        list(camera.blocks())
        assert time.monotonic() - began < 5
        if exposure < 1:
            assert len(list(islice(camera.blocks(), 3))) == 3


def test_closing_the_run_early_leaves_the_conversation_in_step(start: Start) -> None:
    server = Known(ramp(8, 2))
    with start(server, frames=40) as camera:
        camera.configure(EIGHT_BITS)
        next(run := camera.blocks())
        run.close()  # type: ignore[attr-defined]
        assert camera.bias() == (28.3, 6.0)
        np.testing.assert_array_equal(next(camera.blocks()).counts[:2], server.counts)


def test_calibration_is_waited_for(start: Start) -> None:
    began = time.monotonic()
    with start(Server(calibration=0.4)) as camera:
        assert time.monotonic() - began >= 0.4
        assert camera.temperatures() == {"master": 41.0, "slave": 40.5, "board": 33.0, "chip": 28.5}


def test_calibration_that_information_sets_off_is_waited_for(start: Start) -> None:
    class Once(Babbling):
        """Calibrates at the first D only."""

        async def answer(self, command: str) -> AsyncIterator[bytes]:
            async for part in super().answer(command):
                yield part
            self.texts.pop(command, None)

    said = [b"The breakdown calibration process will start soon.\n", b"still at it\n", b"The breakdown is around 22 V"]
    began = time.monotonic()
    with start(Once({"D": said}, pause=0.2)) as camera:
        assert time.monotonic() - began >= 0.4
        assert camera.identity()["serial_number"] == "EMULATED-M EMULATED-S"


@pytest.mark.parametrize(
    ("texts", "pause", "for_ever", "said"),
    [
        ({"greeting": []}, 0.0, False, "no whole reply within 1 s"),
        ({"greeting": [b"A" * 8000]}, 0.0, True, "more than 8192 bytes"),
        ({"greeting": [b"a"]}, 0.02, True, "no whole reply within 1 s|answers D with"),
        ({"greeting": [b"The breakdown calibration process has started."]}, 0.0, False, "no whole reply within 2 s"),
        ({"greeting": [b"The breakdown calibration process has started."]}, 0.1, True, "while it calibrates|no whole"),
        ({"D": []}, 0.0, False, "no whole reply within 2 s"),
        ({"D": [b"1\n2\n3"]}, 0.0, False, r"answers D with 3 lines, 1\?2\?3; expected 9"),
        ({"D": [b"\x1b[31m\xff" * 500]}, 0.0, False, "answers D with 1 lines"),
        ({"D": [b"camera off ERROR"]}, 0.0, False, "refuses D: camera off ERROR"),
    ],
)
def test_a_program_that_babbles_is_left(
    start: Start, texts: dict[str, list[bytes]], pause: float, for_ever: bool, said: str
) -> None:
    began = time.monotonic()
    with pytest.raises(CameraError, match=said) as told, start(Babbling(texts, pause, for_ever)):
        pass
    assert time.monotonic() - began < 10
    assert str(told.value).isprintable()


@pytest.mark.parametrize("reply", [b"warm", b"1,2", b"nan,1,2,3", b"1,2,3,inf"])
def test_readings_that_are_none(start: Start, reply: bytes) -> None:
    with start(Babbling({"R": [reply]})) as camera, pytest.raises(CameraError, match="answers R with"):
        camera.temperatures()


def test_a_program_that_refuses_is_quoted(start: Start) -> None:
    with start(Babbling({"PU,0": [b"not now ERROR"]})) as camera, pytest.raises(CameraError, match="PU,0: not now"):
        camera.configure(ONE_BIT)


def test_nobody_listening_says_what_to_start() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        port = taken.getsockname()[1]
        with pytest.raises(CameraError, match=r"start Pi Imaging's program"), spad512.connect("", port=port):
            pass


@pytest.mark.parametrize("options", [{"port": 0}, {"port": 70000}, {"frames": 0}, {"frames": 1.5}, {"overlap": 2}])
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(CameraError, match="expected a whole number"):
        spad512.connect("", **options)


def test_identity_tells_temperatures_bias_and_how_losses_show(start: Start) -> None:
    with start(Server()) as camera:
        camera.configure(ONE_BIT)
        identity = camera.identity()
    assert identity["description"] == "Pi Imaging SPAD512S"
    assert "chip 28.5 C" in identity["temperatures"]
    assert identity["bias"] == "quenching 28.3 V, excess 6 V"
    assert "not known" in identity["losses"]


def test_pretend_pixels_follow_the_rate_of_the_scene(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean of each column of 64 one-bit frames within six standard errors of 1 - exp(-r T).

    Crosstalk and afterpulsing add 0.4 of one to all of them; the mean of 512 is known to 0.04.
    """
    monkeypatch.setattr(spad512, "STALL", 60.0)  # the first counts of a process are slow: loops are compiled
    with start(Server(rate=20_000.0), frames=64) as camera:
        applied = camera.configure(Settings(50e-6))
        fired = next(camera.blocks()).counts
    sensor = Sensor.load("spad512")
    rate = 20_000 * scene() * sensor.pde / sensor.mean_pde + sensor.dark_count_rate
    chance = 1 - np.exp(-rate.numpy() * applied.count_time)
    error = np.sqrt((chance * (1 - chance)).sum(axis=0) / 64) / 512
    excess = (fired.mean(axis=(0, 1)) - chance.mean(axis=0)) / error
    assert np.abs(excess).max() < 6
    assert 0.2 < excess.mean() < 0.65


def test_corrected_counts_undo_the_pile_up_of_the_mean() -> None:
    assert corrected(np.array([0, 128, 255]), 255).tolist() == [
        0,
        round(-255 * np.log(127 / 255)),
        round(255 * np.log(510)),
    ]


@pytest.mark.parametrize(
    "values", ["", "1,10,5", "5,10,5,0,0,0,1", "1,x,5,0,0,0,1", "1,10,0,0,0,0,1", "1,inf,5,0,0,0,1"]
)
def test_the_pretend_program_refuses_nonsense(values: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        requested(values.split(","))
