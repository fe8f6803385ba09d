"""The vendor's library of the MPD SPC3: finding it, calling it, and what its status codes mean.

Only calls whose form is the same in SDK 1.1.6, 2.2.2B and that of 2023 are declared; gate, synchronisation and
image-buffer calls are not.
"""

import ctypes
import os
import sys
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_short, c_uint8, c_uint16, c_uint32, c_void_p
from pathlib import Path
from typing import Any

from hardware.camera import CameraError
from hardware.cameras.spc3.shared_library import is_cut

#: The environment variable that says where the library is.
VARIABLE = "SPADSR_SPC3_LIBRARY"

#: The status that is no error: no data since the last call.
EMPTY = -8

_STATUS = {
    -1: "no camera found; connect it by USB, switch it on and close other programs that use it",
    -3: "the camera does not power up; check its supply, then unplug and replug it",
    -5: "no communication with the camera; check the USB cable, then unplug and replug it",
    -6: "a setting is out of bounds",
    -7: "a library that the SDK needs is missing; install the SDK as a whole",
    EMPTY: "no data yet",
    -9: "the SDK could not get memory; close other programs",
    -10: "the SDK was given a null pointer",
    -11: "not possible in the present state of the camera",
    -12: "the SDK cannot create a file",
    -13: "the SDK cannot read a file",
    -14: "firmware and SDK do not match; install the SDK that came with the camera",
    -15: "the supply voltage is wrong; use the supply that came with the camera",
    -16: "too much light: the protection has tripped; lower the light, then unplug and replug the camera",
    -17: "correlation failed",
    -18: "the memory of the camera is full and frames are lost, nobody can say how many; sum more frames into one image"
    " (cycles), or write to a faster disk",
}

_HANDLE = c_void_p
_CALLS: dict[str, tuple[Any, ...]] = {
    "SPC3_Constr": (POINTER(_HANDLE), c_int, c_char_p),
    "SPC3_Destr": (_HANDLE,),
    "SPC3_Set_Camera_Par": (_HANDLE, c_uint16, c_uint32, c_uint16, c_uint16, c_int, c_int, c_int),
    "SPC3_Set_DeadTime": (_HANDLE, c_uint16),
    "SPC3_Get_DeadTime": (_HANDLE, c_uint16, POINTER(c_uint16)),
    "SPC3_Set_DeadTime_Correction": (_HANDLE, c_int),
    "SPC3_Set_Background_Subtraction": (_HANDLE, c_int),
    "SPC3_Apply_settings": (_HANDLE,),
    "SPC3_Is16Bit": (_HANDLE, POINTER(c_short)),
    "SPC3_GetVersion": (_HANDLE, POINTER(c_double), POINTER(c_double), c_char_p),
    "SPC3_GetSerial": (_HANDLE, c_char_p, c_char_p),
    "SPC3_Set_Live_Mode_ON": (_HANDLE,),
    "SPC3_Set_Live_Mode_OFF": (_HANDLE,),
    "SPC3_Get_Live_Img": (_HANDLE, c_void_p),
    "SPC3_Prepare_Snap": (_HANDLE,),
    "SPC3_Get_Snap": (_HANDLE,),
    "SPC3_Get_Img_Position": (_HANDLE, c_void_p, c_uint32, c_uint16),
    "SPC3_Start_ContAcq_in_Memory": (_HANDLE,),
    "SPC3_Stop_ContAcq_in_Memory": (_HANDLE,),
    "SPC3_Get_Memory_Buffer": (_HANDLE, POINTER(c_double), POINTER(POINTER(c_uint8))),
}


class Library:
    """The vendor's library, loaded, and the camera that it has open.

    Raises:
        CameraError: not found or not loadable; the message says where it looked.
    """

    def __init__(self, path: str) -> None:
        self.path = _path_of(path)
        self._handle = _HANDLE()
        try:
            if Path(self.path).is_file() and is_cut(Path(self.path)):
                raise OSError("the file is cut off: copy it again")
            self._functions = ctypes.CDLL(self.path)
            for name, arguments in _CALLS.items():
                function = getattr(self._functions, name)
                function.argtypes, function.restype = arguments, c_int
        except (OSError, AttributeError) as error:
            raise CameraError(_not_loaded(path, error)) from error

    def open(self) -> None:
        """Opens the first camera, in advanced mode.

        A handle from a constructor that failed is never used: it may not be null, and yet is void.

        Raises:
            CameraError: there is no camera, or it does not start.
        """
        handle = _HANDLE()
        checked("SPC3_Constr", self._functions.SPC3_Constr(byref(handle), 1, b""))
        self._handle = handle

    def close(self) -> None:
        """Releases the camera, once only: the library crashes if it is told to twice."""
        handle, self._handle = self._handle, _HANDLE()
        if handle:
            self._functions.SPC3_Destr(handle)

    def status(self, name: str, *arguments: Any) -> int:
        """Calls a function of the open camera and returns its status.

        Raises:
            CameraError: no camera is open.
        """
        if not self._handle:
            raise CameraError("SPC3: not opened; enter the camera first (with camera: ...)")
        return int(getattr(self._functions, name)(self._handle, *arguments))

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a function of the open camera.

        Raises:
            CameraError: it did not return 0.
        """
        checked(name, self.status(name, *arguments))

    def end(self, name: str) -> None:
        """Calls a function that ends something, if a camera is open, and ignores its status: it may be over already."""
        if self._handle:
            self.status(name)

    def identity(self) -> dict[str, str]:
        """Serial numbers and versions of the open camera."""
        unit, serial, custom = (ctypes.create_string_buffer(256) for _ in range(3))
        firmware, software = c_double(), c_double()
        self.call("SPC3_GetSerial", unit, serial)
        self.call("SPC3_GetVersion", byref(firmware), byref(software), custom)
        return {
            "description": f"MPD SPC3 {_text(unit)}".strip(),
            "serial_number": _text(serial),
            "firmware": f"{firmware.value:g} {_text(custom)}".strip(),
            "software": f"SPC3 SDK {software.value:g} ({self.path})",
        }


def checked(name: str, status: int) -> None:
    """Raises CameraError unless `status` is 0."""
    if status != 0:
        meaning = _STATUS.get(status, "a status that the SDK's manual does not name; unplug and replug the camera")
        raise CameraError(f"SPC3: {meaning} ({name} returned {status})")


def library_name() -> str:
    """Name of the library's file on this system."""
    return "SPC3_SDK.dll" if sys.platform == "win32" else "libSPC3.so"


def _path_of(path: str) -> str:
    return path or os.environ.get(VARIABLE, "") or library_name()


def _not_loaded(path: str, error: Exception) -> str:
    where = [
        f"the address of the camera ({path or 'names none'})",
        f"{VARIABLE} ({os.environ.get(VARIABLE) or 'not set'})",
        f"the places where this system keeps libraries ({library_name()})",
    ]
    looked = 0 if path else 1 if os.environ.get(VARIABLE) else 2
    before = "" if looked == 0 else f"; before: {', '.join(where[:looked])}"
    return (
        f"SPC3: library {_path_of(path)} not usable ({error}); looked in {where[looked]}{before}; install MPD's SPC3"
        f" SDK and name its library, as spc3:LIBRARY or in {VARIABLE}"
    )


def _text(buffer: ctypes.Array[Any]) -> str:
    return bytes(buffer.value).decode("latin-1").strip()
