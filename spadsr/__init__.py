"""From single-photon counts to pictures: restore, calibrate, simulate and read recordings of SPAD arrays.

    import spadsr
    capture = spadsr.open("capture.h5")
    picture = spadsr.restore(capture, sum=64, scale=4)

Names are loaded when they are first used: `import spadsr` alone loads nothing else.
"""

from typing import TYPE_CHECKING

__all__ = [
    "Exposure",
    "InputError",
    "Sensor",
    "__version__",
    "calibrate",
    "load",
    "open",
    "open_camera",
    "read_result",
    "restore",
    "restore_all",
    "simulate",
]

if TYPE_CHECKING:
    from hardware.cameras.registry import open_camera
    from hardware.captures.capture import open_capture as open
    from noise_model.errors import InputError
    from noise_model.sensor import Exposure, Sensor
    from spadsr.api import calibrate, restore, restore_all, simulate
    from spadsr.restoration.result_file import read_result
    from spadsr.restoration.weights import load_restorer as load

    __version__: str
else:
    #: Where each name of the face is, and what it is called there.
    _PLACES = {
        "Exposure": ("noise_model.sensor", "Exposure"),
        "InputError": ("noise_model.errors", "InputError"),
        "Sensor": ("noise_model.sensor", "Sensor"),
        "calibrate": ("spadsr.api", "calibrate"),
        "load": ("spadsr.restoration.weights", "load_restorer"),
        "open": ("hardware.captures.capture", "open_capture"),
        "open_camera": ("hardware.cameras.registry", "open_camera"),
        "read_result": ("spadsr.restoration.result_file", "read_result"),
        "restore": ("spadsr.api", "restore"),
        "restore_all": ("spadsr.api", "restore_all"),
        "simulate": ("spadsr.api", "simulate"),
    }

    def __getattr__(name: str) -> object:
        from importlib import import_module, metadata

        from spadsr.namesakes import refuse_namesakes

        if name == "__version__":
            return metadata.version(__name__)
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        refuse_namesakes()
        module, there = _PLACES[name]
        globals()[name] = getattr(import_module(module), there)  # so that the next use is a plain look-up
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
