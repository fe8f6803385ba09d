"""The process that restores the newest image of a recording under way, again and again, into one picture."""

import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from hardware.captures.in_memory import capture_in_memory
from hardware.settings import Settings, in_seconds
from noise_model.errors import InputError
from noise_model.files import whole_file
from noise_model.forward_model import ForwardModel
from noise_model.interrupts import ignore_signals
from noise_model.sensor import Sensor
from spadsr.acquisition.live_mailbox import Mailbox
from spadsr.pictures.sheets import enlarged, rate_scale
from spadsr.restoration.chosen_sensor import sensor_of
from spadsr.restoration.weights import load_restorer

#: s from the start of one picture to the start of the next, at least; s between two looks at the mailbox.
PERIOD, PAUSE = 0.25, 0.005
#: The first message of the process if all is well.
READY = ""
#: The process runs at this lower priority, so that it takes only what others leave of the processors.
NICENESS = 10
#: Screen pixels: the longer side of a panel, at most; the gap between the two; the height of the line below.
_PANEL, _GAP, _LINE = 768, 8, 32


@dataclass(frozen=True)
class LiveOrder:
    """How a recording under way is to be restored.

    Attributes:
        recording: the capture file.
        images: consecutive images that are added up before restoring.
        scale: resolution of the picture over that of the sensor.
        weights: a weight file or the name of shipped weights; None takes the usual ones.
        device: cpu or cuda.
        sensor: sensor file or preset of the sensor that takes the images; None takes what the camera says.
    """

    recording: Path
    images: int = 1
    scale: int = 4
    weights: Path | None = None
    device: str = "cpu"
    sensor: str | None = None

    @property
    def picture(self) -> Path:
        """`<stem>.live.png` beside the recording."""
        return self.recording.with_suffix(".live.png")


def paint(order: LiveOrder, mailbox: Mailbox, mask: NDArray[np.uint32] | None, recorder: Connection) -> None:
    """Runs the process that restores live pictures, from its start to its end.

    It receives the settings of a single image, sends READY, and then sends what the user should know, or why it ends
    before it was told to. It uses one thread, at low priority. It ends when the recorder sends anything more, or dies.
    """
    ignore_signals()  # they are for the recorder to handle, which ends this process
    torch.set_num_threads(1)
    try:
        painter = _Painter(order, recorder.recv(), mailbox.shape, mask)
        mailbox.ask()
        if hasattr(os, "nice"):  # not on Windows
            os.nice(NICENESS)
        recorder.send(READY)
        _paint_newest(painter, mailbox, recorder)
    except (EOFError, BrokenPipeError):
        pass  # the recorder is gone
    except Exception as error:  # of whatever kind: a recording is under way
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        recorder.send(f"nothing is restored live: {reason}")


def _paint_newest(painter: "_Painter", mailbox: Mailbox, recorder: Connection) -> None:
    sent: set[str] = set()
    while True:
        while (taken := mailbox.take()) is None:
            if recorder.poll(PAUSE):
                return
        began = time.monotonic()
        for warning in painter.paint(*taken):
            if warning not in sent:
                recorder.send(warning)
                sent.add(warning)
        mailbox.finish()
        if recorder.poll(max(0.0, began + PERIOD - time.monotonic())):
            return
        mailbox.ask()


class _Painter:
    """A network, and what it needs to know of the camera. It restores an empty image first, which takes longest.

    Args:
        settings: how a single image is taken.

    Raises:
        InputError: the weights, the device, the sensor or the scale do not exist, or the sensor does not fit.
    """

    def __init__(
        self, order: LiveOrder, settings: Settings, shape: tuple[int, int], mask: NDArray[np.uint32] | None
    ) -> None:
        self._order, self._mask = order, mask
        self._settings = settings.summed(order.images)
        self._restorer = load_restorer(order.weights, order.device)
        self._sensor = None if order.sensor is None else Sensor.load(order.sensor)
        self._restored(np.zeros(shape, np.uint32))

    def paint(self, counts: NDArray[np.uint32], number: int) -> list[str]:
        """Restores (H, W) counts and writes the picture; returns what the user should know."""
        recorded, restored, exposure, warnings = self._restored(counts)
        drawn = picture(recorded, restored, f"to image {number:,}   N = {exposure}")
        with whole_file(self._order.picture) as partial:
            partial.write_bytes(cv2.imencode(".png", drawn)[1].tobytes())
        return warnings

    def _restored(self, counts: NDArray[np.uint32]) -> tuple[NDArray[np.float32], NDArray[np.float32], str, list[str]]:
        """Rates as recorded and as restored, the exposure in words, and warnings."""
        capture = capture_in_memory(self._order.recording, counts[None], self._settings, self._mask)
        exposure, (sensor, warnings) = capture.exposure, sensor_of(capture, self._sensor)
        image = torch.from_numpy(capture.read(0, 1).astype(np.int64))
        restored, *_ = self._restorer.answer(image, ForwardModel(sensor, exposure), self._order.scale)
        recorded, _ = ForwardModel(capture.sensor, exposure).detection_rate(image[0].float())
        said = f"{exposure.cycles:,} x {in_seconds(exposure.count_time)}"
        return recorded.numpy(), restored[0].cpu().numpy(), said, warnings


def picture(recorded: NDArray[np.float32], restored: NDArray[np.float32], line: str) -> NDArray[np.uint8]:
    """A grey picture (rows, columns): what was recorded beside what was restored, at one rate scale, and a line below.

    Args:
        recorded: (H, W), counts/s.
        restored: (s H, s W), counts/s.
        line: words below the picture, which the white level follows.
    """
    norm, zoom = rate_scale(restored), max(1, _PANEL // max(restored.shape))
    panels = [enlarged(recorded, zoom * restored.shape[0] // recorded.shape[0]), enlarged(restored, zoom)]
    grey = [np.asarray(255 * np.asarray(norm(panel)), np.uint8) for panel in panels]
    gap = np.full((len(grey[0]), _GAP), 255, np.uint8)
    drawn = np.hstack([grey[0], gap, grey[1]])
    below = np.full((_LINE, drawn.shape[1]), 255, np.uint8)
    words = f"{line}   white = {norm.vmax or 0:,.0f} counts/s"
    cv2.putText(below, words, (4, _LINE - 11), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 0, 1, cv2.LINE_AA)
    return np.vstack([drawn, below])
