"""What every camera is, and which there are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from noise_model.errors import InputError
from noise_model.sensor import Exposure


class CameraError(InputError):
    """A camera failed: the message is one line that says what it said and what to do."""


@dataclass(frozen=True)
class CameraSettings:
    """How images are to be taken, or are taken.

    Attributes:
        count_time: s, live exposure of one hardware frame (T).
        cycles: hardware frames the camera sums into one image (N).
        counter_bits: of the in-pixel counter; 1 is a binary array.
        dead_time: hold-off, s; 0 for a binary array.
        frame_time: s from the start of one image to the start of the next; asked for, None is as fast as the camera
            goes; applied, None is not known.
        corrected: the camera corrects counts for dead time (pile-up).
        background_subtracted: the camera subtracts a background.
        largest_count: an image can hold, where that is less than `cycles` and `counter_bits` allow; None: it is not.
    """

    count_time: float
    cycles: int = 1
    counter_bits: int = 1
    dead_time: float = 0.0
    frame_time: float | None = None
    corrected: bool = False
    background_subtracted: bool = False
    largest_count: int | None = None

    @property
    def exposure(self) -> Exposure:
        """N and T."""
        return Exposure(self.count_time, self.cycles)

    @property
    def saturation_value(self) -> int:
        """The largest count an image can hold."""
        return self.largest_count or self.cycles * ((1 << self.counter_bits) - 1)


@dataclass(frozen=True)
class Block:
    """Consecutive images, none lost between them.

    Attributes:
        counts: (n, H, W), n > 0, uint8, uint16 or uint32, native orientation; of one type throughout a run. The
            receiver owns it.
        first: index of the first image since the start, lost images counted.
        period: s from the start of one image to the start of the next.
        host_time: s, `time.monotonic()` when the block arrived.
        lost: images lost just before this block.
        lost_known: False where the camera cannot tell; `lost` is then the least it can have been.
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
        """Index after the last image."""
        return self.first + len(self.counts)


@dataclass(frozen=True)
class CameraStatistics:
    """Of the run in progress, or of the last one.

    Attributes:
        images: handed over.
        lost: before those, as far as known.
        lost_known: False once a block's loss was not known.
        saturated: share of counts at the saturation value.
    """

    images: int = 0
    lost: int = 0
    lost_known: bool = True
    saturated: float = 0.0

    def after(self, block: Block) -> "CameraStatistics":
        """These and one more block."""
        images = self.images + len(block.counts)
        saturated = (self.saturated * self.images + block.saturated * len(block.counts)) / images
        return CameraStatistics(images, self.lost + block.lost, self.lost_known and block.lost_known, saturated)


class Camera(Protocol):
    """A camera: a context manager, opened on entry and released on exit.

    It can be entered again after an exit, a failed one included: that is how a lost camera is reached again.
    `configure` comes before `blocks`; `blocks` may be called again once it has ended, and counts from 0 again.
    """

    @property
    def name(self) -> str:
        """As in `cameras`."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, known once opened."""

    @property
    def pixel_mask(self) -> NDArray[np.uint32] | None:
        """(H, W), NXdetector bits, where the camera knows."""

    @property
    def waits(self) -> bool:
        """Whether it waits for a receiver that is late, and loses nothing by it."""

    def __enter__(self) -> Self:
        """Opens it. Raises CameraError if it cannot be reached."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Releases it; safe after any failure, and twice."""

    def configure(self, settings: CameraSettings) -> CameraSettings:
        """Applies `settings` and returns what was applied: the nearest the camera has.

        Raises:
            CameraError: a setting that it cannot come near, or that it refused.
        """

    def blocks(self) -> Iterator[Block]:
        """Starts, and hands images over until `stop` or the camera's end. Closing the iterator stops as well.

        Raises:
            CameraError: the camera failed; blocks handed over before stay valid.
        """

    def stop(self) -> None:
        """Ends `blocks` soon; from any thread, any number of times."""

    def statistics(self) -> CameraStatistics:
        """Of the run in progress, or the last one."""

    def identity(self) -> dict[str, str]:
        """`description`, `serial_number`, `firmware`, `software`, as far as there are; and remarks for the file."""


class Driver(Protocol):
    """A module of this package with a camera.

    Attributes:
        ADDRESS: how it is addressed, e.g. "replay:CAPTURE,speed=1,loop=0".
        OPTIONS: names and usual values of its options, all of them numbers.
    """

    ADDRESS: str
    OPTIONS: Mapping[str, float]

    def availability(self) -> tuple[bool, str]:
        """Whether it is usable here without a `what`, and why not or what is needed; quick, touching no camera."""

    def connect(self, what: str, **options: float) -> Camera:
        """The camera of an address `name:what,option=value`, not opened yet; `what` may be empty.

        Raises:
            CameraError: `what` or an option is not possible.
        """


def smallest_dtype(saturation_value: int) -> np.dtype[np.unsignedinteger]:
    """The smallest of uint8, uint16 and uint32 that holds every count."""
    return np.dtype(np.uint8 if saturation_value < 1 << 8 else np.uint16 if saturation_value < 1 << 16 else np.uint32)


def saturated_share(counts: NDArray[np.unsignedinteger], saturation_value: int) -> float:
    """Share of counts at the saturation value."""
    return float(np.count_nonzero(counts == saturation_value)) / counts.size
