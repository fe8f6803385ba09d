"""Passing single images from a recorder to another process, through shared memory."""

from ctypes import c_uint32, c_uint64
from multiprocessing.context import SpawnContext

import numpy as np
from numpy.typing import NDArray

_ASKED, _PUT, _NUMBER, _DONE = range(4)


class Mailbox:
    """Shared memory for one image, which the recorder puts there only when the other process asked for it.

    Neither side ever waits for the other or holds a lock, so that either may be slow, stopped or killed. Each word of
    the shared memory is written by one side only.

    Attributes:
        shape: rows and columns.
    """

    def __init__(self, context: SpawnContext, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._words = context.RawArray(c_uint64, 4)
        self._pixels = context.RawArray(c_uint32, shape[0] * shape[1])

    # The recorder's side

    @property
    def wanted(self) -> bool:
        """Whether an image was asked for that was not put there yet."""
        return bool(self._words[_ASKED] != self._words[_PUT])

    def put(self, counts: NDArray[np.unsignedinteger], number: int) -> None:
        """Puts the image that was asked for, (H, W), and its number."""
        self._image[:] = counts
        self._words[_NUMBER] = number
        self._words[_PUT] += 1

    @property
    def done(self) -> int:
        """Number of images that the other process has finished with."""
        return int(self._words[_DONE])

    # The other side

    def ask(self) -> None:
        """Asks for another image."""
        self._words[_ASKED] += 1

    def take(self) -> tuple[NDArray[np.uint32], int] | None:
        """Copies the image that was asked for, (H, W), and its number; None if it is not there yet."""
        if self._words[_PUT] == self._words[_DONE]:
            return None
        return self._image.copy(), int(self._words[_NUMBER])

    def finish(self) -> None:
        """Notes that the image taken is finished with."""
        self._words[_DONE] += 1

    @property
    def _image(self) -> NDArray[np.uint32]:
        words: NDArray[np.uint32] = np.ctypeslib.as_array(self._pixels)
        return words.reshape(self.shape)
