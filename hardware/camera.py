"""The camera contract: the methods that every camera has, and the blocks of images it hands over."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from hardware.settings import Settings
from noise_model.errors import InputError


class CameraError(InputError):
    """A camera failed: one line that says what it reported and what to do."""


@dataclass(frozen=True)
class Block:
    """Consecutive images of a camera, with none lost between them.

    Attributes:
        counts: (n, H, W), n > 0, uint8, uint16 or uint32 (one of them throughout a run), native orientation. The
            receiver owns the array: the camera never writes to it again.
        first: index of the first image since the start, counting lost images as well.
        period: s from the start of one image to the start of the next.
        host_time: s, `time.monotonic()` when the block arrived.
        lost: images lost just before this block.
        lost_known: False where the camera cannot tell; `lost` is then the smallest number possible.
        saturated: share of counts at the saturation value, 0 to 1.
    """

    counts: NDArray[np.unsignedinteger]
    first: int
    period: float
    host_time: float
    lost: int
    lost_known: bool
    saturated: float

    @property
    def stop(self) -> int:
        """Index of the last image, plus 1."""
        return self.first + len(self.counts)


@dataclass(frozen=True)
class Offer:
    """What a camera offers for one of its settings: a range, or a list.

    Attributes:
        low, high: the smallest and the largest value, in the unit of the setting.
        values: all values, where there are few; empty for a range.
    """

    low: float
    high: float
    values: tuple[float, ...] = ()


class Camera(Protocol):
    """A camera: a context manager, opened on entry and released on exit.

    It can be entered again after an exit, even after a failure: that is how a lost camera is reconnected.
    `configure` comes before `blocks`; `blocks` may be called again once it has ended, and counts from 0 again.
    """

    @property
    def name(self) -> str:
        """Name in addresses and in the list of cameras."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, known once opened."""

    @property
    def pixel_mask(self) -> NDArray[np.uint32] | None:
        """(H, W), NXdetector bits; None where the camera does not know which pixels are bad."""

    @property
    def waits(self) -> bool:
        """Whether the camera waits for a receiver that is late, so that no image is lost by it."""

    def __enter__(self) -> Self:
        """Opens the camera. Raises CameraError if it cannot be reached."""

    def __exit__(self, *error: object) -> None:
        """Releases the camera; safe after any failure, and twice."""

    def configure(self, settings: Settings) -> Settings:
        """Applies the nearest settings that the camera has, and returns those.

        Raises:
            CameraError: a setting that it cannot come near, or that it refused.
        """

    def blocks(self) -> Iterator[Block]:
        """Starts the camera and hands over its images until `stop` or the end; closing the iterator stops as well.

        Raises:
            CameraError: the camera failed; blocks handed over before stay valid.
        """

    def stop(self) -> None:
        """Ends `blocks` soon; from any thread, any number of times."""

    def choices(self) -> dict[str, Offer]:
        """What `configure` can be asked for, by the name of the setting; a setting that is not there cannot be chosen.

        It is known once the camera is opened. Settings can exclude each other: what `configure` returns is what holds.
        """

    def identity(self) -> dict[str, str]:
        """Texts for the file: `description`, `serial_number`, `firmware`, `software` as far as known, and remarks."""


def smallest_dtype(saturation_value: int) -> np.dtype[np.unsignedinteger]:
    """The smallest of uint8, uint16 and uint32 that holds every count."""
    return np.dtype(np.uint8 if saturation_value < 1 << 8 else np.uint16 if saturation_value < 1 << 16 else np.uint32)


def saturated_share(counts: NDArray[np.unsignedinteger], saturation_value: int) -> float:
    """Share of counts at the saturation value."""
    return float(np.count_nonzero(counts == saturation_value)) / counts.size
