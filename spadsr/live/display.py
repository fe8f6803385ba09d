"""What the pages are shown: the newest sum of the camera or of a recording that is played back, as messages."""

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from spadsr.live.corrections import Corrections
from spadsr.live.message import Flag, Kind, Message, unit_for
from spadsr.live.newest import Sum
from spadsr.live.recordings import Playback
from spadsr.live.restorer import Answer

#: s between two images of a recording that is played back.
PLAYBACK_PERIOD = 0.05


class Display:
    """Turns sums into messages, in a thread of its own, so that neither the camera nor the pages wait.

    Args:
        publish: called with every message.
        offer: called with every sum that is shown, to be restored.

    Attributes:
        corrections: what is known of the sensor.
        saturated: share of the saturated pixels of the last sum.
        failure: why the last sum was shown without the user's sensor, or the recording ended; empty if neither.
        notes: what the user should know of the sensor that the last sum was shown with.
        playback: the recording that is played back; None while the camera is shown.
    """

    def __init__(self, publish: Callable[[Message], None], offer: Callable[[Sum], None]) -> None:
        self._publish, self._offer = publish, offer
        self._wake = threading.Condition()
        self._waiting: Sum | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.corrections, self.saturated, self.failure = Corrections(), 0.0, ""
        self.notes: list[str] = []
        self.playback: Playback | None = None

    def start(self) -> None:
        """Begins to show."""
        self._thread.start()

    def close(self) -> None:
        """Ends."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self.play(None)

    def show(self, newest: Sum) -> None:
        """Takes the newest sum of the camera; returns at once."""
        with self._wake:
            if self.playback is None:
                self._waiting = newest
                self._wake.notify()

    def play(self, playback: Playback | None) -> None:
        """Shows a recording in place of the camera, from its start on; None shows the camera again."""
        with self._wake:
            if self.playback is not None:
                self.playback.close()
            self.playback, self._waiting, self.failure = playback, None, ""
            self._wake.notify()

    def sum_of(self, images: int) -> None:
        """Shows sums of that many images of a recording that is played back."""
        with self._wake:
            if self.playback is not None:
                self.playback.sum_of(images)

    def seek(self, image: int) -> None:
        """Shows that sum of a recording that is played back, and stops there."""
        with self._wake:
            if self.playback is not None:
                self.playback.seek(image)
                self._waiting = self.playback.read()
                self._wake.notify()

    def resume(self) -> None:
        """Plays a recording on from where it was stopped; from its start if it was at its end."""
        with self._wake:
            if self.playback is not None:
                self.playback.resume()
                self._wake.notify()

    def restored(self, answer: Answer) -> None:
        """Shows a restored sum, unless the page has gone over from the camera to a recording, or back."""
        if answer.of.live == (self.playback is None):
            message = _message(Kind.RESTORED, answer.of, answer.rate, answer.uncertainty)
            self._publish(replace(message, milliseconds=answer.milliseconds))

    def _run(self) -> None:
        while True:
            try:
                newest = self._next()
            except (InputError, OSError) as error:  # of a recording that cannot be read on
                self.play(None)
                self.failure = str(error)
                continue
            if newest is None:
                return
            self._publish(self._recorded(newest))
            self._offer(newest)

    def _next(self) -> Sum | None:
        """The newest sum, waited for; None at the end."""
        with self._wake:
            while self._waiting is None and not self._closing:
                playing = self.playback is not None and self.playback.playing
                woken = self._wake.wait(PLAYBACK_PERIOD if playing else None)
                if not woken and self.playback is not None and self._waiting is None:
                    self._waiting = self.playback.read()
            newest, self._waiting = self._waiting, None
            return None if self._closing else newest

    def _recorded(self, newest: Sum) -> Message:
        known = self.corrections
        try:
            sensor, self.notes = known.sensor_of(newest)
            self.failure = ""
        except InputError as error:
            sensor, self.notes, self.failure = known.capture(newest).sensor, [], str(error)
        counts = torch.from_numpy(newest.counts.astype(np.float32))
        rate = ForwardModel(sensor, newest.settings.exposure).detection_rate(counts)[0].numpy()
        shown = rate if known.hot is None else np.where(known.hot, np.nan, rate)
        full = newest.counts >= newest.settings.saturation_value
        self.saturated = float(full.mean())
        return _message(Kind.RECORDED, newest, newest.counts, shown, Flag.SATURATED if full.any() else Flag.NONE)


def _message(
    kind: Kind, of: Sum, first: NDArray[np.generic], second: NDArray[np.floating], flag: Flag = Flag.NONE
) -> Message:
    settings = of.settings
    unit = unit_for(settings.saturation_value / (settings.cycles * settings.count_time))
    flags = flag | (Flag.NONE if of.live else Flag.PLAYBACK)
    return Message(kind, of.last, of.host_time, of.images, settings.cycles, unit, first, second, flags)
