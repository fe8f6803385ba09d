"""All experiments, by name."""

from collections.abc import Mapping

from noise_model.errors import InputError
from spadsr.experiments.experiment import Experiment
from spadsr.experiments.flow import FLOW
from spadsr.experiments.fpm import FPM
from spadsr.experiments.left_out import LEFT_OUT
from spadsr.experiments.nuclei import NUCLEI
from spadsr.experiments.particles import PARTICLES
from spadsr.experiments.rotation import ROTATION

EXPERIMENTS: Mapping[str, Experiment] = {each.name: each for each in (LEFT_OUT, NUCLEI, FLOW, PARTICLES, ROTATION, FPM)}


def experiment_named(name: str) -> Experiment:
    """An experiment by its name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in EXPERIMENTS:
        raise InputError(f"{name}: no such experiment; choose from {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
