"""Speed of restoring a recording from end to end: what reading, the network, checking and writing take of the time."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from torch import Tensor

from hardware.captures.capture import Capture
from noise_model.progress import Report, silent
from spadsr.restoration.recordings import Restoration
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.storage import Storage

_SECONDS, _LEAST_BLOCKS = 20.0, 4  # of a measurement


@dataclass(frozen=True)
class RecordingSpeed:
    """The speed of restoring a recording.

    Attributes:
        images: how many were restored.
        at_once: of them, in a block.
        reading, network, checking, writing: seconds of all of them.
    """

    images: int
    at_once: int
    reading: float
    network: float
    checking: float
    writing: float

    @property
    def seconds(self) -> float:
        """Of all steps."""
        return self.reading + self.network + self.checking + self.writing

    @property
    def frames_per_second(self) -> float:
        """Of all steps, one after the other."""
        return self.images / self.seconds

    @property
    def outside(self) -> float:
        """Share of the time that is not the network's."""
        return 1 - self.network / self.seconds


@dataclass(frozen=True)
class _Timed(Restorer):
    """A restorer that notes how long its network takes."""

    taken: list[float] = field(default_factory=list)

    def network_answer(self, *how: Any) -> tuple[Tensor, Tensor, Tensor]:
        began = perf_counter()
        answer = super().network_answer(*how)
        answer[0].cpu()  # waits for the device
        self.taken.append(perf_counter() - began)
        return answer


def bench_recording(
    capture: Capture, restorer: Restorer, scale: int, storage: Storage | None = None, progress: Report = silent
) -> RecordingSpeed:
    """Restores images of a recording (as summed) into a result that is thrown away, for twenty seconds or to its end.

    The first block is restored before, and does not count.

    Args:
        progress: called with the images done and their number.

    Raises:
        InputError: as `restore_capture`.
    """
    timed = _Timed(**vars(restorer))
    restoration = Restoration(capture, timed, scale, None, storage=storage)
    findings, size = restoration.findings(), restoration.block_size
    next(restoration.blocks())
    timed.taken.clear()
    reading = checking = writing = 0.0
    done = 0
    with TemporaryDirectory() as folder, restoration.writer(Path(folder) / "a.sr.h5") as writer:
        for start in range(0, capture.shape[0], size):
            stop = min(start + size, capture.shape[0])
            times = [perf_counter()]
            taken = restoration.takes.take(start, stop)
            times.append(perf_counter())
            block = replace(timed.restore(taken.counts, taken.model, scale), motion=taken.motion)
            findings.add(block)
            times.append(perf_counter())
            writer.append(*block.written)
            times.append(perf_counter())
            steps = [end - begin for begin, end in pairwise(times)]
            reading, checking, writing = reading + steps[0], checking + steps[1], writing + steps[2]
            done = stop
            progress(done, capture.shape[0])
            if reading + checking + writing > _SECONDS and start >= _LEAST_BLOCKS * size:
                break
    network = sum(timed.taken)
    return RecordingSpeed(done, size, reading, network, checking - network, writing)
