"""Other modules that answer to the name of one of our packages, such as a `hardware.py` in the working folder."""

import sys
from importlib.util import find_spec
from pathlib import Path

_PACKAGES = ("noise_model", "hardware", "simulate")


def refuse_namesakes() -> None:
    """Looks whether Python finds our packages under their names.

    Raises:
        ImportError: it finds another module; the message is one line that says which file, and what to do.
    """
    for name in _PACKAGES:
        ours, found = Path(__file__).parents[1] / name, _place(name)
        if found is None:
            raise ImportError(f"the package {name!r}, a part of spadsr, is missing; install spadsr again")
        if not (found.exists() and found.samefile(ours / "__init__.py")):
            raise ImportError(
                f"{found}: another module named {name!r} hides a part of spadsr; rename that file, or start Python in"
                " another folder"
            )


def _place(name: str) -> Path | None:
    """The file that `import name` loads, or has loaded; the folder of a package without `__init__.py`."""
    spec = getattr(sys.modules.get(name), "__spec__", None) or find_spec(name)
    if spec is None:
        return None
    return Path(spec.origin or next(iter(spec.submodule_search_locations or [name])))
