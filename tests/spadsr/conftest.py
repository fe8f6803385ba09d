"""A network too small to be good, and captures for it."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from spadsr.cli.app import main
from spadsr.restoration.intervals import Intervals
from spadsr.restoration.weights import save_weights

# What tests of this folder share, and the scripts of the guides.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "docs")]

from command import Said  # noqa: E402
from small_network import random_network  # noqa: E402


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weight file of a small random network."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(path, random_network(), Intervals(), {"steps": 0, "note": "random"})
    return path


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Path]:
    """recorded(images, rows, columns, name="capture.h5", ...) writes a capture of random counts."""

    def write(images: int, rows: int, columns: int, name: str = "capture.h5", bits: int = 1) -> Path:
        cycles, dead_time = (16, 0.0) if bits == 1 else (1, 50e-9)
        counts = np.random.default_rng(0).binomial(16, 0.2, (images, rows, columns)).astype(np.uint8)
        path, settings = tmp_path / name, Settings(10.4e-6, cycles, bits, dead_time)
        with CaptureWriter(path, (rows, columns), np.uint8, settings) as writer:
            writer.append(counts)
        return path

    return write


@pytest.fixture
def spadsr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """spadsr(*arguments) runs the command in this process."""

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["/somewhere/spadsr", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return Said(int(end.value.code or 0), *capsys.readouterr())

    return call
