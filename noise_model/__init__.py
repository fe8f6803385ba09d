"""Model of a single-photon sensor: its maps and numbers, the counts that light leads to, and calibration.

Names are loaded when they are first used: `import noise_model` alone loads no torch.
"""

from typing import TYPE_CHECKING

__all__ = ["Exposure", "ForwardModel", "InputError", "Sensor"]

if TYPE_CHECKING:
    from noise_model.errors import InputError
    from noise_model.forward_model import ForwardModel
    from noise_model.sensor import Exposure, Sensor
else:
    _MODULES = {"Exposure": "sensor", "ForwardModel": "forward_model", "InputError": "errors", "Sensor": "sensor"}

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
