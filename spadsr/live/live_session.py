"""One live view: a camera, its newest sum as recorded and as restored, and its recordings."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from hardware.camera import Camera
from hardware.recording.order import Order
from hardware.recording.recording import Recording
from hardware.recording.session import Session
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Sensor
from spadsr.live.corrections import Average, Averaging, Corrections
from spadsr.live.display import Display
from spadsr.live.message import Kind, Message
from spadsr.live.newest import Newest, Sum, most_images
from spadsr.live.recordings import Folder, Playback
from spadsr.live.restorer import Answer, RestoringOrder
from spadsr.live.restoring import Restoring
from spadsr.networks.measurement import SCALES
from spadsr.provenance import versions
from spadsr.restoration.weights import SHIPPED, USUAL, load_restorer

#: s: how long a dark is taken for, how long images are waited for beyond that, and how often it is looked.
DARK_TIME, PATIENCE, LOOK_PERIOD = 1.0, 5.0, 0.1
#: s that a camera and a disk may take at the end; what is written by then is readable.
FAREWELL = 3.0
#: The most rows and columns of a restored picture: no screen shows more.
LARGEST_SIDE = 4096
#: The name of no network: only what is recorded is shown.
NO_NETWORK = "none"


@dataclass(frozen=True)
class LiveOptions:
    """What a live view is started with.

    Attributes:
        folder: where recordings go.
        images: consecutive images that are added up.
        scale: resolution of the restored picture over that of the sensor.
        weights: a weight file or the name of shipped weights; None takes the usual ones.
        device: cpu or cuda.
        sensor: file or preset of the sensor that takes the images.
        command: how the user asked for it, for the recordings.
    """

    folder: Path
    images: int = 1
    scale: int = 4
    weights: Path | None = None
    device: str = "cpu"
    sensor: str | None = None
    command: str = ""


class LiveSession:
    """A camera, all that is shown of it, and what can be done with it.

    Args:
        camera: open.
        settings: asked of it first.
        publish: called with every image for the pages, from several threads.
        forget: called with a kind of image that is no longer current.

    Attributes:
        session: the camera's.
        frame_time: s between images that was asked for; None for as fast as it goes.
        images: consecutive images that are added up.
        scale: resolution of the restored picture over that of the sensor.
        weights: a weight file, the name of shipped weights, or NO_NETWORK.
        networks: what `weights` can be.
        dark, average: what was taken to subtract, and to find hot pixels; None until then.
        subtract, mask: whether they are used.
        answer: the last restored sum; None where there is none by the last order.
        failure: why nothing is restored; empty if nothing went wrong.
        recording: the last one; None until there is one.

    Raises:
        InputError: the camera refuses the settings, or the sensor or the weights cannot be used.
    """

    def __init__(
        self,
        camera: Camera,
        settings: Settings,
        options: LiveOptions,
        publish: Callable[[Message], None],
        forget: Callable[[Kind], None],
    ) -> None:
        self.camera, self.options, self._forget = camera, options, forget
        self._sensor = None if options.sensor is None else Sensor.load(options.sensor)
        self.folder = Folder(options.folder)
        self.weights = str(options.weights or USUAL)
        self.networks = list(dict.fromkeys([self.weights, *SHIPPED, NO_NETWORK]))
        if self.weights != NO_NETWORK:
            load_restorer(self.weights, options.device)  # what is wrong with it is said at once
        self.scale = _checked_scale(options.scale, camera.shape)
        self.session, self.frame_time = Session(camera, settings, reconnect=True), settings.frame_time
        self.images = self._checked_images(options.images)
        self.restoring = Restoring(self._restored, self._restoring_failed)
        self.display = Display(publish, self.restoring.offer)
        self._newest = Newest(self.display.show)
        self.dark: Average | None = None
        self.average: Average | None = None
        self.subtract = self.mask = False
        self.answer: Answer | None = None
        self.failure = ""
        self.recording: Recording | None = None
        self._snapshots: dict[str, bytes] = {}

    def start(self) -> None:
        """Starts the camera, the display and the restoring."""
        self.session.attach(self._newest)
        self._newest.sum_of(self.images)
        self._order()
        self.display.start()
        self.session.start()

    def close(self) -> None:
        """Ends everything; a recording under way is closed."""
        self.session.stop(FAREWELL)
        if self.recording is not None:
            self.recording.wait(FAREWELL)
        self.restoring.stop()
        self.display.close()

    # The camera

    def expose(self, **asked: Any) -> None:
        """Applies those of the settings that the camera offers. Raises InputError where it refuses."""
        known = {name: value for name, value in asked.items() if name in self.camera.choices()}
        wanted = {"frame_time": None, "largest_count": None, **known}
        self.session.apply(replace(self.session.applied, **wanted))
        self.frame_time = wanted["frame_time"]
        self.images = min(self.images, most_images(self.session.applied))
        self._newest.sum_of(self.images)
        self._order()

    def sum_of(self, images: int) -> None:
        """Adds up that many consecutive images."""
        self.images = self._checked_images(images)
        self._newest.sum_of(self.images)
        self.display.sum_of(self.images)

    def _checked_images(self, images: int) -> int:
        most = most_images(self.session.applied)
        if not (isinstance(images, int) and 1 <= images <= most):
            raise InputError(f"{images} images: expected 1 to {most}, so that sums fit into 32 bits", "sum")
        return images

    # Restoring

    def restore(self, scale: int | None = None, weights: str | None = None) -> None:
        """Restores to that scale, with those weights."""
        if weights is not None and weights not in self.networks:
            raise InputError(f"{weights[:40]!r}: no such network here")
        self.scale = self.scale if scale is None else _checked_scale(scale, self.camera.shape)
        self.weights = weights or self.weights
        self._order()

    def restart(self) -> None:
        """Restores again after a failure."""
        self._order()

    def _order(self) -> None:
        """Shows and restores with what is known of the sensor now, from the next image on."""
        dark = self.dark.rate if self.subtract and self.dark is not None else None
        hot = self.average.hot if self.mask and self.average is not None else None
        self.display.corrections = Corrections(self._sensor, self.camera.pixel_mask, dark, hot)
        self.failure, self.answer = "", None
        self._forget(Kind.RESTORED)
        if self.weights == NO_NETWORK:
            self.restoring.stop()
        else:
            self.restoring.order(
                RestoringOrder(self.scale, self.weights, self.options.device, self.display.corrections)
            )

    def _restored(self, answer: Answer) -> None:
        """Takes an answer of the process that restores, in the thread that serves it."""
        self.answer = answer
        self.display.restored(answer)

    def _restoring_failed(self, line: str) -> None:
        self.failure, self.answer = line, None
        self._forget(Kind.RESTORED)

    # Corrections

    def correct(self, subtract: bool | None = None, mask: bool | None = None) -> None:
        """Subtracts the dark, and masks the hot pixels that were found, or does so no longer."""
        if subtract and self.dark is None:
            raise InputError("there is no dark yet; close the shutter and take one")
        if mask and self.average is None:
            raise InputError("no hot pixels were looked for yet; find them first, best in the dark")
        self.subtract = self.subtract if subtract is None else bool(subtract)
        self.mask = self.mask if mask is None else bool(mask)
        self._order()

    def take_dark(self) -> None:
        """Measures what each pixel counts now, and subtracts it from now on."""
        self.dark, self.subtract = self._averaged(), True
        self._order()

    def find_hot(self) -> None:
        """Masks the pixels that now count far more than their neighbours."""
        self.average, self.mask = self._averaged(), True
        self._order()

    def _averaged(self) -> Average:
        averaging = Averaging(DARK_TIME)
        self.session.attach(averaging)
        try:
            end = time.monotonic() + DARK_TIME + PATIENCE
            while not averaging.done.wait(LOOK_PERIOD):
                if not self.session.running or time.monotonic() > end:
                    raise InputError("no images come from the camera; start it first")
            return averaging.result()
        finally:
            self.session.detach(averaging)

    # Recordings

    def record(self, name: str = "", seconds: float | None = None, kind: int = 0) -> dict[str, Any]:
        """Records from the next image on: 0 a scene, 1 a flat, 2 a dark; returns the name of the file."""
        if kind not in (0, 1, 2):
            raise InputError(f"kind {kind}: expected 0 (scene), 1 (flat) or 2 (dark)")
        if seconds is not None and not 0 < float(seconds) < 1e6:
            raise InputError(f"{seconds} s: expected more than 0")
        if not self.session.running:
            raise InputError("the camera is stopped; start it first")
        path = self.folder.new(str(name))
        notes = {"command": self.options.command, "versions": json.dumps(versions())}
        order = Order(path, self.session.applied, seconds=seconds, image_key=kind, notes=notes)
        self.recording = self.session.record(order)
        return {"name": path.name}

    def end_recording(self) -> None:
        """Ends the recording; the camera runs on."""
        recording = self.session.end_recording()
        if recording is not None:
            recording.outcome()

    def play(self, name: str = "") -> None:
        """Shows a recording from its start on in place of the camera; the camera again where no name is given."""
        playback = Playback(self.folder.existing(name), self.images) if name else None
        if playback is not None and playback.shape != self.camera.shape:
            playback.close()
            raise InputError(f"{name}: of another camera ({playback.shape[0]} x {playback.shape[1]} pixels)")
        self.display.play(playback)
        self.answer = None
        for kind in Kind:
            self._forget(kind)

    def seek(self, image: int) -> None:
        """Shows that sum of the recording, and stops there."""
        self.display.seek(int(image))

    def resume(self) -> None:
        """Plays the recording on."""
        self.display.resume()

    # Snapshots

    def take_snapshot(self) -> dict[str, Any]:
        """Restores the sum that was restored last once more, for a file with all that a result holds."""
        if self.answer is None:
            raise InputError("nothing is restored yet; there is only the picture")
        of = self.answer.of
        name = f"live-{time.strftime('%Y%m%d-%H%M%S')}-{of.last}.sr.h5"
        self._snapshots = {name: self._result(of, name, self.answer.warnings)}  # the newest only
        return {"name": name}

    def _result(self, of: Sum, name: str, warnings: tuple[str, ...]) -> bytes:
        sensor, _ = self.display.corrections.sensor_of(of)
        restorer = load_restorer(self.weights, self.options.device)
        counts = torch.from_numpy(of.counts[None].astype(np.int64))
        model = ForwardModel(sensor, of.settings.exposure)
        restored = restorer.restore(counts, model, self.scale, self.options.command)
        notes = {
            "start_time": datetime.fromtimestamp(of.host_time, UTC).isoformat(timespec="milliseconds"),
            "camera": self.camera.name,
            "remark": f"Restored by a network: {restorer.name}",
        }
        restored = replace(restored, notes=notes, warnings=warnings, source="live view")
        with TemporaryDirectory() as folder:
            path = Path(folder) / name
            restored.save(path)
            return path.read_bytes()

    def snapshot(self, name: str) -> bytes:
        """The bytes of a snapshot that was taken. Raises InputError where there is none of that name."""
        if name not in self._snapshots:
            raise InputError("no such snapshot; take it again")
        return self._snapshots[name]


def _checked_scale(scale: int, shape: tuple[int, int]) -> int:
    possible = [each for each in SCALES if each * max(shape) <= LARGEST_SIDE or each == 1]
    if scale not in possible:
        of = f"{shape[0]} x {shape[1]} pixels"
        raise InputError(f"scale {scale}: expected {' or '.join(map(str, possible))} for {of}", "scale")
    return scale
