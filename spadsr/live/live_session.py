"""One live view: a camera, its newest sum as recorded and as restored, its recordings, and the orders of the page."""

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.camera import Camera, smallest_dtype
from hardware.captures.in_memory import capture_in_memory
from hardware.recording.order import Order
from hardware.recording.recording import Recording
from hardware.recording.session import Session
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Sensor
from spadsr.live.corrections import Average, Averaging, corrected_sensor
from spadsr.live.display import Corrections, Display
from spadsr.live.frequency import Frequency
from spadsr.live.message import Kind, Message
from spadsr.live.newest import Newest, most_images
from spadsr.live.recordings import Folder, Playback
from spadsr.live.restoring import Answer, Restoring, RestoringOrder
from spadsr.networks.measurement import SCALES
from spadsr.provenance import versions
from spadsr.restoration.chosen_sensor import sensor_of
from spadsr.restoration.weights import SHIPPED, USUAL

#: s: how long a dark is taken for, and how long images are waited for beyond that.
DARK_TIME, PATIENCE = 1.0, 5.0
#: The settings that a page shows.
SETTINGS = ("count_time", "cycles", "counter_bits", "dead_time", "frame_time")
#: The name of no network: only what is recorded is shown.
NO_NETWORK = "none"
#: The bit of NXdetector's pixel mask for noisy pixels.
NOISY = np.uint32(1 << 4)
#: Share of saturated pixels from which on the page says so.
TELLING = 1e-3


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
    """A camera, all that is shown of it, and what pages order.

    Args:
        camera: open.
        settings: asked of it first.
        publish: called with every image for the pages, from several threads.
        forget: called with a kind of image that is no longer current.

    Raises:
        InputError: the camera refuses the settings, or the sensor is not there.
    """

    def __init__(
        self,
        camera: Camera,
        settings: Settings,
        options: LiveOptions,
        publish: Callable[[Message], None],
        forget: Callable[[Kind], None],
    ) -> None:
        self._camera, self._options, self._forget = camera, options, forget
        self._sensor = None if options.sensor is None else Sensor.load(options.sensor)
        self._folder = Folder(options.folder)
        self._session = Session(camera, settings, reconnect=True)
        self._restoring = Restoring(self._restored, self._restoring_failed)
        self._display = Display(publish, self._restoring.offer)
        self._newest = Newest(self._display.show)
        self._images = self._checked_images(options.images)
        self._scale, self._weights = _checked_scale(options.scale), str(options.weights or USUAL)
        self._dark: Average | None = None
        self._hot: Average | None = None
        self._subtract = self._mask = False
        self._answer: Answer | None = None
        self._restoring_failure = ""
        self._recording: Recording | None = None
        self._snapshots: dict[str, bytes] = {}
        self._acquired_rate, self._restored_rate = Frequency(), Frequency()

    def start(self) -> None:
        """Starts the camera, the display and the restoring."""
        self._session.attach(self._newest)
        self._newest.sum_of(self._images)
        self._correct_all()
        self._display.start()
        self._session.start()

    def close(self) -> None:
        """Ends everything; a recording under way is closed."""
        self._session.stop()
        if self._recording is not None:
            self._recording.wait()
        self._restoring.stop()
        self._display.close()

    # Restoring

    def _restored(self, answer: Answer) -> None:
        """Takes an answer of the process that restores, in the thread that serves it."""
        self._answer = answer
        self._display.restored(answer)

    def _restoring_failed(self, line: str) -> None:
        self._restoring_failure = line
        self._forget(Kind.RESTORED)

    def _correct_all(self) -> None:
        """Shows and restores with what is known of the sensor now, from the next image on."""
        dark = self._dark.rate() if self._subtract and self._dark is not None else None
        hot = self._hot.hot() if self._mask and self._hot is not None else None
        self._display.corrections = Corrections(self._sensor, dark, hot)
        self._restoring.stop()
        self._restoring_failure, self._answer = "", None
        self._forget(Kind.RESTORED)
        if self._weights != NO_NETWORK:
            self._restoring.start(
                RestoringOrder(
                    self._scale, Path(self._weights), self._options.device, self._known_sensor(), self._pixel_mask(hot)
                )
            )

    def _known_sensor(self) -> Sensor | None:
        """The sensor to restore with: None where nothing is known of it."""
        dark = self._display.corrections.dark
        if self._sensor is None and dark is None:
            return None
        return corrected_sensor(self._sensor, self._session.applied, self._camera.shape, dark)

    def _pixel_mask(self, hot: NDArray[np.bool_] | None) -> NDArray[np.uint32] | None:
        own = self._camera.pixel_mask
        if hot is None:
            return own
        noisy = np.where(hot, NOISY, np.uint32(0))
        return noisy if own is None else own | noisy

    # What the page orders

    def command(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Carries out one order of the page that controls; returns what it should know.

        Raises:
            InputError: there is no such order, it cannot be carried out, or an argument is not as expected.
        """
        orders: dict[str, Callable[..., dict[str, Any] | None]] = {
            "start": self._start,
            "stop": self._stop,
            "expose": self._expose,
            "sum": self._sum,
            "restore": self._restore,
            "restart": self._restart,
            "correct": self._correct,
            "dark": self._take_dark,
            "find_hot": self._find_hot,
            "record": self._record,
            "end": self._end,
            "play": self._play,
            "seek": self._seek,
            "snapshot": self._snapshot,
        }
        if name not in orders:
            raise InputError(f"{name[:40]!r}: no such order")
        try:
            return orders[name](**arguments) or {}
        except InputError:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{name}: {error}") from error

    def _start(self) -> None:
        self._session.start()

    def _stop(self) -> None:
        self._session.stop()

    def _expose(self, **asked: Any) -> None:
        known = {name: value for name, value in asked.items() if name in self._camera.choices()}
        self._session.apply(replace(self._session.applied, largest_count=None, frame_time=None, **known))
        self._images = min(self._images, most_images(self._session.applied))
        self._newest.sum_of(self._images)
        self._correct_all()

    def _sum(self, images: int) -> None:
        self._images = self._checked_images(images)
        self._newest.sum_of(self._images)
        self._display.sum_of(self._images)

    def _checked_images(self, images: int) -> int:
        most = most_images(self._session.applied)
        if not (isinstance(images, int) and 1 <= images <= most):
            raise InputError(f"{images} images: expected 1 to {most}, so that sums fit into 32 bits", "sum")
        return images

    def _restore(self, scale: int | None = None, weights: str | None = None) -> None:
        if weights is not None and weights not in self._networks():
            raise InputError(f"{weights[:40]!r}: no such network here")
        self._scale = self._scale if scale is None else _checked_scale(scale)
        self._weights = weights or self._weights
        self._correct_all()

    def _networks(self) -> list[str]:
        own = [] if self._options.weights is None else [str(self._options.weights)]
        return list(dict.fromkeys([*own, *SHIPPED, NO_NETWORK]))

    def _restart(self) -> None:
        self._correct_all()

    def _correct(self, subtract: bool | None = None, mask: bool | None = None) -> None:
        if subtract and self._dark is None:
            raise InputError("there is no dark yet; close the shutter and take one")
        if mask and self._hot is None:
            raise InputError("no hot pixels were looked for yet; find them first, best in the dark")
        self._subtract = self._subtract if subtract is None else bool(subtract)
        self._mask = self._mask if mask is None else bool(mask)
        self._correct_all()

    def _average(self) -> Average:
        averaging = Averaging(DARK_TIME)
        self._session.attach(averaging)
        try:
            return averaging.result(DARK_TIME + PATIENCE)
        finally:
            self._session.detach(averaging)

    def _take_dark(self) -> None:
        self._dark, self._subtract = self._average(), True
        self._correct_all()

    def _find_hot(self) -> None:
        self._hot, self._mask = self._average(), True
        self._correct_all()

    def _record(self, name: str = "", seconds: float | None = None, kind: int = 0) -> dict[str, Any]:
        if kind not in (0, 1, 2):
            raise InputError(f"kind {kind}: expected 0 (scene), 1 (flat) or 2 (dark)")
        if seconds is not None and not 0 < float(seconds) < 1e6:
            raise InputError(f"{seconds} s: expected more than 0")
        if not self._session.running:
            raise InputError("the camera is stopped; start it first")
        path = self._folder.new(str(name))
        notes = {"command": self._options.command, "versions": json.dumps(versions())}
        order = Order(path, self._session.applied, seconds=seconds, image_key=kind, notes=notes)
        self._recording = self._session.record(order)
        return {"name": path.name}

    def _end(self) -> None:
        recording = self._session.end_recording()
        if recording is not None:
            recording.outcome()

    def _play(self, name: str = "") -> None:
        playback = Playback(self._folder.existing(name), self._images) if name else None
        if playback is not None and playback.shape != self._camera.shape:
            playback.close()
            raise InputError(f"{name}: of another camera ({playback.shape[0]} x {playback.shape[1]} pixels)")
        self._display.play(playback)
        for kind in Kind:
            self._forget(kind)

    def _seek(self, image: int) -> None:
        self._display.seek(int(image))

    def _snapshot(self) -> dict[str, Any]:
        """Restores the sum that was restored last once more, for a file with all that a result holds."""
        from spadsr.restoration.weights import load_restorer

        answer = self._answer
        if answer is None:
            raise InputError("nothing is restored yet; there is only the picture")
        of = answer.of
        capture = capture_in_memory(
            Path("live"), of.counts[None], of.settings, self._pixel_mask(self._display.corrections.hot)
        )
        sensor, _ = sensor_of(capture, self._known_sensor())
        model = ForwardModel(sensor, of.settings.exposure)
        restorer = load_restorer(self._weights, self._options.device)
        counts = torch.from_numpy(of.counts[None].astype(np.int64))
        restored = restorer.restore(counts, model, self._scale, self._options.command)
        name = f"live-{time.strftime('%Y%m%d-%H%M%S')}-{of.last}.sr.h5"
        with TemporaryDirectory() as folder:
            restored.save(Path(folder) / name)
            self._snapshots = {name: (Path(folder) / name).read_bytes()}  # the newest only
        return {"name": name}

    def snapshot(self, name: str) -> bytes:
        """The bytes of a snapshot that a page has ordered. Raises InputError where there is none of that name."""
        if name not in self._snapshots:
            raise InputError("no such snapshot; take it again")
        return self._snapshots[name]

    # What the pages are told

    def state(self) -> dict[str, Any]:
        """All that a page shows besides images, as plain data."""
        tally, settings, camera = self._session.tally, self._session.applied, self._camera
        playback, offers = self._display.playback, camera.choices()
        shown = {name: getattr(settings, name) for name in SETTINGS}
        return {
            "camera": {"name": camera.name, "shape": list(camera.shape), "running": self._session.running},
            "settings": {**shown, "saturation_value": settings.saturation_value},
            "choices": {name: vars(offers[name]) if name in offers else None for name in SETTINGS},
            "display": self._display_state(),
            "acquired": {
                "images": tally.images,
                "lost": tally.lost,
                "unknown": tally.unknown,
                "rate": self._acquired_rate.of(tally.images),
            },
            "restored": {
                "images": self._restoring.images,
                "skipped": tally.images - self._restoring.images,
                "rate": self._restored_rate.of(self._restoring.pictures),
                "milliseconds": self._answer.milliseconds if self._answer else 0,
            },
            "recording": self._recording_state(),
            "recordings": self._folder.names(),
            "playback": playback and {"name": playback.name, "images": playback.images, "image": playback.image},
            "bytes_per_second": math.prod(camera.shape) * smallest_dtype(settings.saturation_value).itemsize
            * self._acquired_rate.last,
            "disk": shutil.disk_usage(self._folder.path).free,
            "banners": list(self._banners()),
        }  # fmt: skip

    def _display_state(self) -> dict[str, Any]:
        return {
            "images": self._images,
            "scale": self._scale,
            "network": self._weights,
            "networks": self._networks(),
            "restoring": self._weights != NO_NETWORK and not self._restoring_failure,
            "subtract": self._subtract,
            "mask": self._mask,
            "dark_images": self._dark.images if self._dark else 0,
            "masked": int(self._hot.hot().sum()) if self._hot else 0,
        }

    def _recording_state(self) -> dict[str, Any] | None:
        if self._recording is None:
            return None
        progress = self._recording.progress()
        name, running = self._recording.order.path.name, self._recording.running
        return {"name": name, "running": running, "images": progress.images, "lost": progress.lost}

    def _banners(self) -> Iterator[dict[str, Any]]:
        """What a user must not miss: lines, those that something is wrong marked, with an order that may mend it."""
        tally = self._session.tally
        if tally.gone:
            yield {"bad": True, "line": f"the camera is gone: {tally.gone}; it is tried again"}
        if tally.failure:
            yield {"bad": True, "line": tally.failure, "action": {"name": "start", "text": "Start again"}}
        if self._restoring_failure:
            yield {"bad": True, "line": self._restoring_failure, "action": {"name": "restart", "text": "Restart"}}
        if self._recording is not None and (failure := self._recording.progress().failure):
            yield {"bad": True, "line": f"recording {self._recording.order.path.name}: {failure}"}
        if self._display.saturated > TELLING:
            yield {"line": f"{self._display.saturated:.1%} of the pixels are saturated: their rates are a lower limit"}
        if self._weights != NO_NETWORK and self._known_sensor() is None:
            yield {"line": "no calibrated sensor was given: the network takes all pixels for equal"}
        yield from ({"line": line} for line in (self._answer.warnings if self._answer else ()))


def _checked_scale(scale: int) -> int:
    if scale not in SCALES:
        raise InputError(f"scale {scale}: expected one of {', '.join(map(str, SCALES))}", "scale")
    return scale
