"""Comparison of methods on the same counts in one run: the quality, the time and the size of each."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from noise_model.arrays import Counts
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.progress import Report
from noise_model.sensor import Exposure, Sensor
from spadsr.bench.network_speed import gmac, parameters
from spadsr.evaluation.baselines import enlarge
from spadsr.evaluation.conditions import Condition
from spadsr.evaluation.evaluate import Evaluation, evaluate
from spadsr.evaluation.methods import Answer, Method, methods_named
from spadsr.restoration.restorer import Restorer

OURS = "spadsr"
OURS_ENLARGED = "spadsr x4 + bicubic"


@dataclass(frozen=True)
class Cost:
    """The cost of a method.

    Attributes:
        seconds: seconds for an image, median of this run.
        parameters, gmac: of a network; the latter at 64x32 x4, billions of multiplications.
    """

    seconds: float
    parameters: int | None = None
    gmac: float | None = None


@dataclass(frozen=True)
class Comparison:
    """An evaluation of several methods, and the cost of each."""

    evaluation: Evaluation
    costs: dict[str, Cost]


def compare(
    pictures: Path,
    conditions: Sequence[Condition],
    baselines: Sequence[str],
    networks: Mapping[str, Restorer],
    seed: int,
    limit: int | None,
    progress: Report,
    executor: Executor | None = None,
) -> Comparison:
    """Compares baselines, by their names, and networks on the same counts of all pictures; arguments as of `evaluate`.

    Above the highest scale of a network, its answer at that scale is enlarged bicubically. Where a scale above 4 is
    asked for, the answer of `spadsr` at x4, enlarged in the same way, is one more method.

    Raises:
        InputError: as `evaluate`, or a baseline that is not installed.
    """
    methods = methods_named([*baselines, *networks], networks, "baselines")
    for name, restorer in networks.items():
        methods[name] = up_to(max(restorer.network.scales), methods[name])
    if OURS in networks and max(condition.scale for condition in conditions) > 4:
        methods[OURS_ENLARGED] = up_to(4, methods[OURS])
    evaluation = evaluate(pictures, conditions, methods, seed, limit, progress, executor)
    seconds = {name: statistics.median(taken) for name, taken in evaluation.seconds.items()}
    costs = {name: Cost(seconds[name], *_size(networks.get(name))) for name in methods}
    return Comparison(evaluation, costs)


def up_to(highest: int, method: Method) -> Method:
    """The method, but above the scale `highest` its answer there, enlarged bicubically and without error bars."""
    return partial(_up_to, highest, method)


def _up_to(highest: int, method: Method, counts: Counts, model: ForwardModel, scale: int) -> Answer:
    answer = method(counts, model, min(scale, highest))
    return answer if scale <= highest else Answer(enlarge(answer.rate, scale // highest))


def distinct_names(files: Iterable[Path]) -> dict[str, Path]:
    """Weight files by name: the file's, or that of its folder where it is `weights.safetensors`, as training writes it.

    Raises:
        InputError: two of one name.
    """
    named: dict[str, Path] = {}
    for file in files:
        name = file.resolve().parent.name if file.stem == "weights" else file.stem
        if name in {*named, OURS, OURS_ENLARGED}:
            raise InputError(f"{file}: {name} is taken; rename the file")
        named[name] = file
    return named


def _size(restorer: Restorer | None) -> tuple[int, float] | tuple[()]:
    if restorer is None:
        return ()
    counts, sensor = torch.ones(1, 64, 32, dtype=torch.int64), Sensor.load("spc3").uniform((64, 32))
    model = ForwardModel(sensor, Exposure(1e-5))
    return parameters(restorer.network), gmac(lambda: restorer.answer(counts, model, 4))
