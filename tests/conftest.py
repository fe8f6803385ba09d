"""What all tests share."""

from pathlib import Path

import pytest
from hypothesis import settings

# The same examples every time, and no stopwatch: a loaded machine is no failure.
settings.register_profile("spadsr", deadline=None, derandomize=True)
settings.load_profile("spadsr")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The data folder beside the checkout; tests that need it are skipped where there is none."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no data folder {folder}")
    return folder
