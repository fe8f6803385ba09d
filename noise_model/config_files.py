"""Configuration files: YAML that a user gives by its path, or a shipped file by its name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from noise_model.errors import InputError

_Model = TypeVar("_Model", bound=BaseModel)


def shipped_configs() -> Path:
    """The folder with the shipped sensors and recipes: beside this package once installed, else in the checkout."""
    installed = Path(__file__).parent / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "configs"


def find_config(name: str | Path, folder: str, kind: str) -> Path:
    """The configuration file of that path, else the shipped one of that name in `folder`.

    Args:
        kind: what such a file holds, for messages: "sensor".

    Raises:
        InputError: there is neither.
    """
    path, shipped = Path(name), shipped_configs() / folder
    if path.is_file():
        return path
    if path.parent == Path() and (shipped / f"{path.name}.yaml").is_file():
        return shipped / f"{path.name}.yaml"
    names = ", ".join(sorted(each.stem for each in shipped.glob("*.yaml")))
    raise InputError(f"{path}: no such {kind} file; give a {kind} YAML or a shipped one ({names})")


def read_config(path: Path, kind: str) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises:
        InputError: it cannot be read, is not YAML, or holds something else.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not a readable YAML file ({str(error).splitlines()[0]})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a {kind}: expected keys and values, found {type(values).__name__}")
    return values


def checked_config(model: type[_Model], values: Mapping[str, Any], where: str | Path, kind: str) -> _Model:
    """The values of a configuration file, checked by a pydantic model.

    Args:
        where: the file that they come from, for messages.

    Raises:
        InputError: the first key or value that the model does not take.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        found = f"(found {str(first['input'])[:60]!r})"
        raise InputError(f"{where}: not a {kind}: {place}: {first['msg']} {found}") from error
