"""The recordings of a live view: their names inside one folder, and playing them back."""

import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from hardware.captures.capture import Capture, open_capture
from noise_model.errors import InputError
from spadsr.live.newest import Sum

#: Names that a page may give: plain ones, so that no path leads out of the folder, and any system can store them.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")
#: Recordings that a page lists, at most.
MOST_NAMES = 50
#: What the names of files that are no recordings end with: those under way, and results.
_ENDINGS = (".", ".part", ".sr")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


@dataclass(frozen=True)
class Folder:
    """The folder that recordings go to.

    Attributes:
        path: the folder.
    """

    path: Path

    def new(self, name: str) -> Path:
        """The file of a new recording; named by date and time where no name is given.

        Raises:
            InputError: not a plain name, or taken.
        """
        path = self._inside(name or datetime.now().strftime("%Y-%m-%d %H-%M-%S"))
        if path.exists():
            raise InputError(f"{path.name}: is there already; choose another name")
        return path

    def existing(self, name: str) -> Path:
        """The file of a recording. Raises InputError where there is none of that name."""
        path = self._inside(name)
        if not path.is_file():
            raise InputError(f"{path.name}: no such recording")
        return path

    def names(self) -> list[str]:
        """Names of the finished recordings, the newest first."""
        times = {}
        for path in self.path.glob("*.h5"):
            if not path.stem.endswith(_ENDINGS):
                with suppress(OSError):  # it has just gone
                    times[path.name] = path.stat().st_mtime
        return sorted(times, key=times.__getitem__, reverse=True)[:MOST_NAMES]

    def room(self) -> int:
        """Free bytes of the disk; 0 where the folder is gone."""
        try:
            return shutil.disk_usage(self.path).free
        except OSError:
            return 0

    def _inside(self, name: str) -> Path:
        stem = name.removesuffix(".h5").strip()
        if not _NAME.fullmatch(stem) or stem.endswith(_ENDINGS) or stem.partition(".")[0].lower() in _RESERVED:
            raise InputError(f"{name[:40]!r}: not a name; use letters, digits, spaces, dots, - and _")
        return self.path / f"{stem}.h5"


class Playback:
    """A recording that is played back: sums of consecutive images, darks and flats as well, one after the other.

    Attributes:
        name: of the recording.
        images: how many sums it has.
        image: the sum to be shown next.
        playing: whether the next follows by itself.

    Raises:
        InputError: it cannot be read, or is no recording of plain images.
    """

    def __init__(self, path: Path, images: int) -> None:
        self.name, self._capture = path.name, replace(open_capture(path), image_key=None)
        try:
            self._capture.require_plain()
            self.sum_of(images)
        except InputError:
            self.close()
            raise
        self.playing = True

    def sum_of(self, images: int) -> None:
        """Plays sums of that many images, from the first on."""
        self._images = min(images, self._capture.shape[0])
        self._summed: Capture = self._capture.summed(self._images)
        self.images, self.image = self._summed.shape[0], 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._capture.shape[1], self._capture.shape[2]

    def seek(self, image: int) -> None:
        """Shows that sum next, and stops there."""
        self.image, self.playing = min(max(image, 0), self.images - 1), False

    def resume(self) -> None:
        """Plays on; at the end, from the start."""
        self.image, self.playing = (0 if self.image == self.images - 1 else self.image), True

    def read(self) -> Sum:
        """The sum to be shown, and goes on to the next if it is playing."""
        counts = np.asarray(self._summed.read(self.image, self.image + 1)[0], np.uint32)
        last = (self.image + 1) * self._images - 1
        if self.playing:
            self.playing = self.image + 1 < self.images
            self.image += self.playing
        return Sum(counts, last, time.time(), self._summed.settings, self._images, live=False)

    def close(self) -> None:
        """Closes the recording."""
        self._capture.close()
