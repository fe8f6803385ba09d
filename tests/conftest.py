"""What all tests share."""

import signal
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# The same examples every time, and no stopwatch: a loaded machine is no failure.
settings.register_profile("spadsr", deadline=None, derandomize=True)
settings.load_profile("spadsr")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small tensors only: more threads would be slower, and sums could depend on their number."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """What a background job starts would ignore Ctrl-C, and tests that send it would wait for ever."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The data folder beside the checkout; tests that need it are skipped where there is none."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no data folder {folder}")
    return folder
