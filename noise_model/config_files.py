"""Configuration: YAML that a user gives by its path, or a shipped file by its name, and JSON kept in files, in limits.

What is read is small and not nested deeply, so that hostile text costs neither time nor memory. Models say the range of
every number, and sizes are checked before anything of that size is made.
"""

import difflib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from noise_model.errors import InputError
from noise_model.files import at_home

_Model = TypeVar("_Model", bound=BaseModel)

_LARGEST = 1 << 17  # characters of a file: a hundred times an ordinary one
_DEEPEST = 32  # groups in groups
_MOST = 1 << 16  # values, aliases written out
_LONGEST_NUMBER = 40  # characters
_SHOWN, _SHOWN_REASON = 60, 200  # characters of what was found, and of what is wrong with it

#: Pixels of the largest array. The largest SPAD array built has 3.2 million.
LARGEST_ARRAY = 1 << 24

#: The shortest time that is taken for an exposure or a dead time: shorter than any gate; and the longest, s.
SHORTEST, LONGEST = 1e-12, 1e6


def _of_possible_size(shape: tuple[int, int]) -> tuple[int, int]:
    if math.prod(shape) > LARGEST_ARRAY:
        raise ValueError(f"expected {LARGEST_ARRAY} pixels at most")
    return shape


def _nothing_or_possible(seconds: float) -> float:
    if 0 < seconds < SHORTEST:
        raise ValueError(f"expected 0, or {SHORTEST:g} and more")
    return seconds


_Side = Annotated[int, Field(ge=1, le=LARGEST_ARRAY)]

#: Rows and columns of an array.
Shape = Annotated[tuple[_Side, _Side], AfterValidator(_of_possible_size)]

#: Exposures, s; and dead times, which may be 0.
Seconds = Annotated[float, Field(ge=SHORTEST, le=LONGEST)]
SecondsOrNone = Annotated[float, Field(ge=0, le=LONGEST), AfterValidator(_nothing_or_possible)]

#: Seeds of random numbers.
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]


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
    path, shipped = at_home(name), shipped_configs() / folder
    if path.is_file():
        return path
    if path.parent == Path() and (shipped / f"{path.name}.yaml").is_file():
        return shipped / f"{path.name}.yaml"
    names = ", ".join(sorted(each.stem for each in shipped.glob("*.yaml")))
    raise InputError(f"{path}: no such {kind} file; give a {kind} YAML or a shipped one ({names})")


def read_config(path: Path, kind: str) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises:
        InputError: it cannot be read, is not YAML, is beyond the limits of this module, or holds something else.
    """
    try:
        with path.open("rb") as file:
            values = parsed_yaml(file.read(_LARGEST + 1).decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such {kind}; check the name") from error
    except (OSError, ValueError) as error:
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
        raise InputError(f"{where}: not a {kind}: {first_reason(error, model)}") from error


def first_reason(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """The first key or value that a model does not take, what is expected of it, and what was found, in one line.

    Args:
        model: to name, for a key that it does not have, the one most like it.
    """
    first = error.errors(include_url=False)[0]
    place = ".".join(in_short(part) for part in first["loc"])
    if model is not None and first["type"] == "extra_forbidden":
        like = difflib.get_close_matches(str(first["loc"][-1]), _keys(model), n=1)
        return f"{place}: no such key" + (f"; did you mean {like[0]}?" if like else "")
    expected = in_short(first["msg"].removeprefix("Value error, "), _SHOWN_REASON)
    return f"{place}: {expected} (found {in_short(repr(str(first['input'])))})"


def _keys(model: type[BaseModel]) -> set[str]:
    """Those of a model, and of all models in it."""
    schema = model.model_json_schema()
    return {name for each in (schema, *schema.get("$defs", {}).values()) for name in each.get("properties", {})}


def parsed_yaml(text: str) -> Any:
    """What YAML says, within the limits of this module: plain values, lists and groups of them.

    Raises:
        ValueError: it is no YAML, or goes beyond a limit.
    """
    _check_length(text)
    try:
        return yaml.load(text, _LimitedLoader)  # derives the safe one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", in line {mark.line + 1}" if mark else ""
        raise ValueError(f"{in_short(error.problem or error.context or 'no YAML', _SHOWN_REASON)}{line}") from error
    except yaml.YAMLError as error:
        raise ValueError(in_short(str(error), _SHOWN_REASON)) from error
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:  # over tags that contradict their value
        raise ValueError(f"a value is not of the type that its tag says ({type(error).__name__})") from error


def parsed_json(text: str) -> Any:
    """What JSON says, within the limits of this module.

    Raises:
        ValueError: it is no JSON, or goes beyond a limit.
    """
    _check_length(text)
    depth = 0
    for part in text:
        depth += (part in "[{") - (part in "]}")  # those in strings count too: nothing of ours is near the limit
        if depth > _DEEPEST:
            raise ValueError(_TOO_DEEP)
    return json.loads(text, parse_int=_integer)


_TOO_DEEP = f"nested more than {_DEEPEST} deep"


def _check_length(text: str) -> None:
    if len(text) > _LARGEST:
        raise ValueError(f"longer than {_LARGEST} characters")


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits)} characters; expected {_LONGEST_NUMBER} at most")
    return int(digits)


def in_short(value: object, most: int = _SHOWN) -> str:
    """The beginning of a value as text, on one line, for messages."""
    text = " ".join(str(value).split())
    return text if len(text) <= most else text[:most] + "..."


class _LimitedLoader(yaml.SafeLoader):
    """Reads YAML of limited size and depth, its aliases written out, with numbers of limited length.

    A date is text: nothing here is one, and there are impossible ones.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012  # as the class above has it
        first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.values, self.depth, self.deepest = 0, 0, 0
        self.named: dict[str, tuple[int, int]] = {}  # values below an anchor, and how deep they go

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """A value and all below it. Raises YAMLError beyond a limit."""
        alias = self.check_event(yaml.AliasEvent)
        name = self.peek_event().anchor  # type: ignore[no-untyped-call]
        if alias and name in self.anchors and name not in self.named:
            raise yaml.YAMLError(f"*{name} stands inside of &{name}")
        more, height = self.named.get(name, (0, 0)) if alias else (0, 0)
        before, around = self.values, self.deepest
        self.depth += 1
        self.values += 1 + more
        self.deepest = self.depth + height
        if self.deepest > _DEEPEST:
            raise yaml.YAMLError(_TOO_DEEP)
        if self.values > _MOST:
            raise yaml.YAMLError(f"more than {_MOST} values")
        node: yaml.Node | None = super().compose_node(parent, index)
        if name and not alias:
            self.named[name] = self.values - before, self.deepest - self.depth
        self.deepest = max(around, self.deepest)
        self.depth -= 1
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        """The text of a value. Raises YAMLError where it is a number too long to be one."""
        text: str = super().construct_scalar(node)
        if node.tag.endswith((":int", ":float")) and len(text) > _LONGEST_NUMBER:
            raise yaml.YAMLError(f"a number of {len(text)} characters; expected {_LONGEST_NUMBER} at most")
        return text
