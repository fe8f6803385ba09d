"""What every camera has to do. A camera is tested by adding how it is made to `CAMERAS`."""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from spc3_emulator import reset

from hardware.camera import Block, Camera, CameraError, CameraSettings
from hardware.cameras.registry import cameras, open_camera
from noise_model.errors import InputError


@dataclass(frozen=True)
class Made:
    """A camera, and what to ask of it. It has images for eight blocks and more."""

    camera: Camera
    settings: CameraSettings


Factory = Callable[[pytest.FixtureRequest], Made]


def simulated(request: pytest.FixtureRequest) -> Made:
    asked = CameraSettings(10.4e-6, counter_bits=8, dead_time=50e-9, frame_time=1e-4)
    return Made(open_camera("simulated:spc3,seed=3"), asked)


def simulated_sums(request: pytest.FixtureRequest) -> Made:
    return Made(open_camera("simulated:spc3,loss=0.3"), CameraSettings(1e-6, cycles=300, counter_bits=9))


def replay(request: pytest.FixtureRequest) -> Made:
    save, random = request.getfixturevalue("save"), np.random.default_rng(0)
    counts = random.integers(0, 9, (700, 6, 5)).astype(np.uint16)
    return Made(open_camera(f"replay:{save('a.h5', counts, frame_time=1e-4)},loop=1"), CameraSettings(1e-6))


def replay_as_fast_as_it_reads(request: pytest.FixtureRequest) -> Made:
    save = request.getfixturevalue("save")
    return Made(open_camera(f"replay:{save('a.npy', np.eye(7, dtype=np.uint8)[None])},speed=inf,loop=1"), SETTINGS)


def spc3(request: pytest.FixtureRequest, mode: str = "") -> Made:
    library = request.getfixturevalue("spc3_library")
    reset(library)
    return Made(open_camera(f"spc3:{library}{mode}"), CameraSettings(1e-6, cycles=20, dead_time=54e-9))


def spc3_snaps(request: pytest.FixtureRequest) -> Made:
    return spc3(request, ",snap=100")


def spc3_live(request: pytest.FixtureRequest) -> Made:
    return spc3(request, ",live=1")


def spad512(request: pytest.FixtureRequest) -> Made:
    request.getfixturevalue("monkeypatch").setattr("hardware.cameras.spad512.link.QUIET", 0.05)
    port = request.getfixturevalue("spad512_port")
    return Made(open_camera(f"spad512:,port={port},frames=3"), CameraSettings(10e-6, cycles=255))


SETTINGS = CameraSettings(1e-5, counter_bits=8)
CAMERAS: list[Factory] = [
    simulated,
    simulated_sums,
    replay,
    replay_as_fast_as_it_reads,
    spc3,
    spc3_snaps,
    spc3_live,
    spad512,
]


@pytest.fixture(params=CAMERAS, ids=lambda factory: factory.__name__)
def made(request: pytest.FixtureRequest) -> Made:
    factory: Factory = request.param
    return factory(request)


def some(camera: Camera, blocks: int = 3) -> list[Block]:
    """The first blocks of a run, stopped after them."""
    taken = []
    for block in camera.blocks():
        taken.append(block)
        if len(taken) >= blocks:
            camera.stop()
            break
    return taken


def test_blocks_are_what_they_say(made: Made) -> None:
    with made.camera as camera:
        applied = camera.configure(made.settings)
        before = time.monotonic()
        blocks = some(camera, 5)
    assert len(blocks) == 5
    assert {block.counts.dtype for block in blocks} <= {np.dtype(kind) for kind in ("u1", "u2", "u4")}
    assert len({block.counts.dtype for block in blocks}) == 1
    for block in blocks:
        assert block.counts.ndim == 3
        assert len(block.counts) > 0
        assert block.counts.shape[1:] == camera.shape
        assert block.counts.max() <= applied.saturation_value
        assert block.saturated == pytest.approx(np.mean(block.counts == applied.saturation_value), abs=1e-12)
        assert block.period == applied.frame_time or applied.frame_time is None
        assert before <= block.host_time <= time.monotonic()


def test_indices_follow_each_other_but_for_the_lost(made: Made) -> None:
    with made.camera as camera:
        camera.configure(made.settings)
        blocks = some(camera, 8)
        statistics = camera.statistics()
    assert blocks[0].first == blocks[0].lost
    for before, after in itertools.pairwise(blocks):
        assert after.first == before.stop + after.lost
        assert after.host_time >= before.host_time
    assert statistics.images == sum(len(block.counts) for block in blocks)
    assert statistics.lost == sum(block.lost for block in blocks)
    assert statistics.lost_known == all(block.lost_known for block in blocks)
    assert 0 <= statistics.saturated <= 1


def test_settings_applied_can_be_applied(made: Made) -> None:
    with made.camera as camera:
        applied = camera.configure(made.settings)
        assert camera.configure(applied) == applied
        assert applied.count_time > 0
        assert applied.cycles >= 1
        assert 1 <= applied.counter_bits <= 16
        assert applied.dead_time >= 0


def test_the_receiver_owns_the_counts(made: Made) -> None:
    with made.camera as camera:
        camera.configure(made.settings)
        first, second = itertools.islice(camera.blocks(), 2)
        kept = first.counts.copy()
        second.counts[:] = 0
        np.testing.assert_array_equal(first.counts, kept)
        camera.stop()


def test_it_starts_again_from_zero(made: Made) -> None:
    with made.camera as camera:
        camera.configure(made.settings)
        some(camera)
        (block,) = some(camera, 1)
        assert block.first == block.lost
        assert camera.statistics().images == len(block.counts)


def test_stop_from_another_thread(made: Made) -> None:
    with made.camera as camera:
        camera.configure(made.settings)
        timer = threading.Timer(0.1, camera.stop)
        timer.start()
        began = time.monotonic()
        for _ in camera.blocks():
            pass
        assert time.monotonic() - began < 5
        timer.join()
        camera.stop()
        camera.stop()


def test_it_can_be_entered_again(made: Made) -> None:
    for _ in range(2):
        with made.camera as camera:
            camera.configure(made.settings)
            some(camera, 1)
    camera.__exit__(None, None, None)


def failing(made: Made) -> None:
    with made.camera as camera:
        camera.configure(made.settings)
        next(iter(camera.blocks()))
        raise ZeroDivisionError


def test_it_is_released_after_a_failure(made: Made) -> None:
    with pytest.raises(ZeroDivisionError):
        failing(made)
    with made.camera as camera:
        camera.configure(made.settings)
        assert len(some(camera, 1)) == 1


def test_blocks_need_settings(made: Made) -> None:
    with pytest.raises(CameraError, match=f"(?i){made.camera.name}"):
        next(iter(made.camera.blocks()))


def test_identity_is_text(made: Made) -> None:
    with made.camera as camera:
        camera.configure(made.settings)
        known = camera.identity()
        assert all(isinstance(key, str) and isinstance(value, str) for key, value in known.items())


def test_the_list_names_every_camera() -> None:
    listed = {camera.name: camera for camera in cameras()}
    assert {"simulated", "replay", "spc3", "spad512"} <= set(listed)
    assert listed["simulated"].usable
    assert listed["replay"].usable
    assert all(camera.why and camera.address.startswith(camera.name) for camera in listed.values())


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("webcam", "no such camera"),
        ("simulated:spc3,speed=2", "no option 'speed'"),
        ("simulated:spc3,flux=bright", "flux is 'bright'"),
        ("simulated:spc3,flux=nan", "expected a number"),
        ("simulated:spc3,loss=1", "out of range"),
        ("simulated:nothing", "no such sensor"),
        ("replay", "no recording"),
        ("replay:a.h5,speed=-1", "speed above 0"),
    ],
)
def test_addresses_that_name_no_camera(address: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_camera(address)


def test_a_recording_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"), open_camera(f"replay:{tmp_path / 'a.h5'}"):
        pass
