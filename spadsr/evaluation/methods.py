"""Methods that can be evaluated: baselines, networks that others trained, and our own."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch

from noise_model.arrays import Counts, Picture
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from spadsr.evaluation.baselines import BASELINES, Baseline
from spadsr.evaluation.pretrained_peers import ENLARGERS, enlarged_by
from spadsr.restoration.restorer import Restorer


@dataclass(frozen=True)
class Answer:
    """The answer of a method to counts: a rate, and its uncertainty if there is one.

    Attributes:
        rate: (s H, s W), counts/s per native pixel area.
        uncertainty: standard uncertainty of the rate; None where the method gives none.
        coverage_factor: how many uncertainties cover 95 % of the pixels.
    """

    rate: Picture
    uncertainty: Picture | None = None
    coverage_factor: float = math.nan


#: counts (H, W), how they were taken, scale -> answer.
Method: TypeAlias = Callable[[Counts, ForwardModel, int], Answer]


def methods_named(
    names: Sequence[str], networks: Mapping[str, Restorer], argument: str = "methods"
) -> dict[str, Method]:
    """Methods by name: baselines, or one of the networks.

    Args:
        argument: the caller's argument with the names, for errors.

    Raises:
        InputError: no such method.
    """
    baselines = {**BASELINES, **{name: enlarged_by(name) for name in ENLARGERS}}
    known: dict[str, Method] = {name: partial(_without_uncertainty, each) for name, each in baselines.items()}
    known |= {name: partial(_restored, restorer) for name, restorer in networks.items()}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"{unknown[0]}: no such method; choose from {', '.join(known)}", argument)
    return {name: known[name] for name in names}


def _without_uncertainty(baseline: Baseline, counts: Counts, model: ForwardModel, scale: int) -> Answer:
    return Answer(baseline(counts, model, scale))


def _restored(restorer: Restorer, counts: Counts, model: ForwardModel, scale: int) -> Answer:
    image = torch.from_numpy(np.asarray(counts))[None]
    rate, uncertainty, factor = (part[0].cpu().numpy() for part in restorer.answer(image, model, scale))
    return Answer(rate, uncertainty, float(factor))
