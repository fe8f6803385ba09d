"""Every camera of this package does what cameras have to; addresses name them, and list them.

A camera is tested by adding how it is made to `CAMERAS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from spc3_emulator import reset

from hardware.camera import Block, Camera
from hardware.cameras.registry import cameras, open_camera
from hardware.recording.session import Session
from hardware.settings import Settings
from hardware.testing import CameraContract
from noise_model.errors import InputError


@dataclass(frozen=True)
class Made:
    """A camera, and what to ask of it. It has images for eight blocks and more."""

    camera: Camera
    settings: Settings


Factory = Callable[[pytest.FixtureRequest], Made]


def simulated(request: pytest.FixtureRequest) -> Made:
    asked = Settings(10.4e-6, counter_bits=8, dead_time=50e-9, frame_time=1e-4)
    return Made(open_camera("simulated:spc3,seed=3"), asked)


def simulated_sums(request: pytest.FixtureRequest) -> Made:
    return Made(open_camera("simulated:spc3,loss=0.3"), Settings(1e-6, cycles=300, counter_bits=9))


def replay(request: pytest.FixtureRequest) -> Made:
    save, random = request.getfixturevalue("save"), np.random.default_rng(0)
    counts = random.integers(0, 9, (700, 6, 5)).astype(np.uint16)
    return Made(open_camera(f"replay:{save('a.h5', counts, frame_time=1e-4)},loop=1"), Settings(1e-6))


def replay_as_fast_as_it_reads(request: pytest.FixtureRequest) -> Made:
    save = request.getfixturevalue("save")
    return Made(open_camera(f"replay:{save('a.npy', np.eye(7, dtype=np.uint8)[None])},speed=inf,loop=1"), SETTINGS)


def spc3(request: pytest.FixtureRequest, mode: str = "") -> Made:
    library = request.getfixturevalue("spc3_library")
    reset(library)
    return Made(open_camera(f"spc3:{library}{mode}"), Settings(1e-6, cycles=20, dead_time=54e-9))


def spc3_snaps(request: pytest.FixtureRequest) -> Made:
    return spc3(request, ",snap=100")


def spc3_live(request: pytest.FixtureRequest) -> Made:
    return spc3(request, ",live=1")


def spad512(request: pytest.FixtureRequest) -> Made:
    request.getfixturevalue("monkeypatch").setattr("hardware.cameras.spad512.link.QUIET", 0.05)
    port = request.getfixturevalue("spad512_port")
    return Made(open_camera(f"spad512:,port={port},frames=3"), Settings(10e-6, cycles=255))


SETTINGS = Settings(1e-5, counter_bits=8)
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


class TestCameras(CameraContract):
    """The cameras of this package."""

    @pytest.fixture(params=CAMERAS, ids=lambda factory: factory.__name__)
    def made(self, request: pytest.FixtureRequest) -> Made:
        factory: Factory = request.param
        return factory(request)

    @pytest.fixture
    def camera(self, made: Made) -> Camera:
        return made.camera

    @pytest.fixture
    def settings(self, made: Made) -> Settings:
        return made.settings

    def test_a_running_camera_takes_settings(self, made: Made) -> None:
        with made.camera as camera:
            session, seen = Session(camera, made.settings), Seen()
            session.attach(seen)
            session.start()
            for _ in range(2):
                assert seen.images.wait(60), session.tally
                seen.images.clear()
                assert session.apply(made.settings) == session.applied
            assert seen.images.wait(60), session.tally
            session.stop()
            assert session.tally.failure == ""


class Seen:
    """An onlooker that notes that images came."""

    def __init__(self) -> None:
        self.images = Event()

    def begin(self, applied: Settings) -> None: ...

    def see(self, block: Block) -> None:
        self.images.set()


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


def test_names_of_files_may_have_commas(tmp_path: Path) -> None:
    folder = tmp_path / "2026-05-04, 12 mW"
    folder.mkdir()
    np.save(folder / "a.npy", np.eye(7, dtype=np.uint8)[None])
    np.save(folder / "a,loop=1.npy", np.eye(5, dtype=np.uint8)[None])
    sizes = {"a.npy": 7, "a.npy,speed=inf,loop=1": 7, "a,loop=1.npy": 5, "a,loop=1.npy,speed=2": 5}
    for address, size in sizes.items():
        with open_camera(f"replay:{folder}/{address}") as camera:
            assert camera.shape == (size, size)
    with pytest.raises(InputError, match=r"12 mW/b\.npy: no such file"), open_camera(f"replay:{folder}/b.npy,speed=2"):
        pass
    with pytest.raises(InputError, match="no option 'sped'"):
        open_camera(f"replay:{tmp_path}/a.npy,loop=1,sped=2")


def test_a_recording_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"), open_camera(f"replay:{tmp_path / 'a.h5'}"):
        pass
