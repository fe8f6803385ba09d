"""What the pages are told four times a second, as plain data."""

import math
import time
from collections.abc import Iterator
from typing import Any

from hardware.camera import smallest_dtype
from spadsr.live.frequency import Frequency
from spadsr.live.live_session import NO_NETWORK, LiveSession

#: The settings that a page shows.
SETTINGS = ("count_time", "cycles", "counter_bits", "dead_time", "frame_time")
#: Share of saturated pixels from which on the page says so.
TELLING = 1e-3
#: s between two looks into the folder of recordings.
NAMES_PERIOD = 1.0


class State:
    """Looks at a live view again and again; from one thread at a time.

    Args:
        live: what is looked at.
    """

    def __init__(self, live: LiveSession) -> None:
        self._live = live
        self._acquired, self._restored = Frequency(), Frequency()
        self._names, self._looked = list[str](), -NAMES_PERIOD

    def now(self) -> dict[str, Any]:
        """All that a page shows besides images."""
        live = self._live
        tally, settings, camera = live.session.tally, live.session.applied, live.camera
        playback, offers = live.display.playback, camera.choices()
        image_bytes = math.prod(camera.shape) * smallest_dtype(settings.saturation_value).itemsize
        rate, restored = self._acquired.of(tally.images), live.restoring.images
        return {
            "camera": {"name": camera.name, "shape": list(camera.shape), "running": live.session.running},
            "settings": {
                **{name: getattr(settings, name) for name in SETTINGS},
                "saturation_value": settings.saturation_value,
                "asked_frame_time": live.frame_time,
            },
            "choices": {name: vars(offers[name]) if name in offers else None for name in SETTINGS},
            "display": _display(live),
            "acquired": {"images": tally.images, "lost": tally.lost, "unknown": tally.unknown, "rate": rate},
            "restored": {
                "images": restored,
                "skipped": max(0, tally.images - restored),
                "rate": self._restored.of(live.restoring.pictures),
                "milliseconds": live.answer.milliseconds if live.answer else 0,
            },
            "recording": _recording(live),
            "recordings": self._recordings(),
            "playback": playback
            and {
                "name": playback.name,
                "images": playback.images,
                "image": playback.image,
                "playing": playback.playing,
            },
            "bytes_per_second": rate * image_bytes,
            "disk": live.folder.room(),
            "banners": list(_banners(live)),
        }

    def _recordings(self) -> list[str]:
        """Names of the recordings, looked for now and then: there may be many, on a slow disk."""
        if (now := time.monotonic()) - self._looked >= NAMES_PERIOD:
            self._names, self._looked = self._live.folder.names(), now
        return self._names


def _display(live: LiveSession) -> dict[str, Any]:
    return {
        "images": live.images,
        "scale": live.scale,
        "network": live.weights,
        "networks": live.networks,
        "restoring": live.weights != NO_NETWORK and not live.failure,
        "subtract": live.subtract,
        "mask": live.mask,
        "dark_images": live.dark.images if live.dark else 0,
        "masked": int(live.average.hot.sum()) if live.average else 0,
    }


def _recording(live: LiveSession) -> dict[str, Any] | None:
    if live.recording is None:
        return None
    progress = live.recording.progress()
    return {
        "name": live.recording.order.path.name,
        "running": live.recording.running,
        "images": progress.images,
        "acquired": progress.acquired,
        "lost": progress.lost,
    }


def _banners(live: LiveSession) -> Iterator[dict[str, Any]]:
    """What a user must not miss: lines, those that something is wrong marked, with an order that may mend it."""
    tally = live.session.tally
    if tally.gone:
        yield {"bad": True, "line": f"the camera is gone, and is tried again: {tally.gone}"}
    if tally.failure:
        yield {"bad": True, "line": tally.failure, "action": {"name": "start", "text": "Start again"}}
    if live.failure:
        yield {"bad": True, "line": live.failure, "action": {"name": "restart", "text": "Restart"}}
    elif live.display.failure:
        yield {"bad": True, "line": live.display.failure}
    if live.recording is not None and (failure := live.recording.progress().failure):
        yield {"bad": True, "line": f"recording {live.recording.order.path.name}: {failure}"}
    if not live.folder.path.is_dir():
        yield {"bad": True, "line": f"{live.folder.path}: the folder for recordings is gone"}
    if live.display.saturated > TELLING:
        yield {"line": f"{live.display.saturated:.1%} of the pixels are saturated: their rates are a lower limit"}
    corrections = live.display.corrections
    if corrections.sensor is None and corrections.dark is None:
        yield {"line": "no calibrated sensor was given: all pixels are taken for equal, and free of dark counts"}
    yield from ({"line": line} for line in (live.answer.warnings if live.answer else live.display.notes))
