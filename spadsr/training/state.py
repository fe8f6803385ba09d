"""All that changes during training, and its checkpoints."""

import io
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from noise_model.config_files import in_short
from noise_model.errors import InputError
from noise_model.files import whole_file
from spadsr.networks.network import Network
from spadsr.networks.registry import build
from spadsr.training.curves import History
from spadsr.training.optimizer import Optimizer
from spadsr.training.recipe import TrainingRecipe
from spadsr.training.teacher import weights_of

_LARGEST_TABLE = 1 << 26  # bytes of what names the tensors, with the curves
_LONGEST_REASON = 100  # characters


@dataclass
class TrainingState:
    """All that changes during training: enough to go on to the same next step.

    What a step sees follows from its number.

    Attributes:
        network: what is trained.
        averaged: its weights averaged over the last steps, which are the result.
        step, samples: steps done, and captures seen in them.
        history: the points of the curves.
        origin: checksum and provenance of the weights that training began with; empty where these were random.
    """

    network: Network
    averaged: AveragedModel
    optimizer: Optimizer
    step: int = 0
    samples: int = 0
    history: History = field(default_factory=list)
    origin: dict[str, Any] = field(default_factory=dict)

    def begin_with(self, weights: Path) -> None:
        """Takes the parameters of a weight file.

        Raises:
            InputError: no such file, not a weight file, or one of another network.
        """
        restorer = weights_of("start", weights)
        theirs, ours = restorer.network.config.model_dump(), self.network.config.model_dump()
        other = {name: value for name, value in theirs.items() if ours.get(name) != value}
        if theirs.keys() != ours.keys() or other:
            raise InputError(
                f"{weights}: weights of a network with {_listed(other)}, the recipe's has "
                f"{_listed({name: ours.get(name) for name in other})}; set network.KEY to what the weights have"
            )
        self.network.load_state_dict(restorer.network.state_dict())
        self.origin = {"checksum": restorer.checksum, **restorer.provenance}

    def save(self, path: Path) -> None:
        """Writes a checkpoint, whole or not at all."""
        content = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "samples": self.samples,
            "history": self.history,
            "origin": self.origin,
        }
        packed = io.BytesIO()  # what goes wrong on the disk is then an OSError, with its reason
        torch.save(content, packed)
        with whole_file(path) as partial:
            partial.write_bytes(packed.getbuffer())

    def load(self, path: Path) -> None:
        """Goes back to what `save` wrote. Raises InputError where that is missing, damaged or of another network."""
        try:
            _check_packing(path)
            content = torch.load(path, map_location=next(self.network.parameters()).device, weights_only=True)
            passed = _Passed.model_validate({name: content[name] for name in _Passed.model_fields})
        except FileNotFoundError as error:
            raise InputError(f"{path}: no checkpoint to resume from; start without resuming", "resume") from error
        except Exception as error:  # over damaged bytes, nearly every one there is
            raise InputError(
                f"{path}: damaged, or no checkpoint ({_in_words(error)}); train into another folder", "output"
            ) from error
        try:
            self.network.load_state_dict(content["network"])
            self.averaged.load_state_dict(content["averaged"])
            self.optimizer.load_state_dict(content["optimizer"])
        except Exception as error:
            raise InputError(
                f"{path}: not of the network that the recipe has now ({_in_words(error)}); leave network= as the run "
                "began with it, or train into another folder",
                "output",
            ) from error
        self.step, self.samples, self.history, self.origin = (value for _, value in passed)


class _Passed(BaseModel):
    """The plain values of a checkpoint."""

    model_config = ConfigDict(strict=True)

    step: int = Field(ge=0, lt=1 << 63)
    samples: int = Field(ge=0, lt=1 << 63)
    history: list[dict[str, float]]
    origin: dict[str, Any]


def _check_packing(path: Path) -> None:
    """Raises ValueError for a file whose content is larger than itself, or is not packed as PyTorch packs it."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size > entry.compress_size for entry in entries):
        raise ValueError("it is compressed")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ValueError("it promises more than it holds")
    if any(entry.file_size > _LARGEST_TABLE for entry in entries if entry.filename.endswith(".pkl")):
        raise ValueError("its table is too long")


def new_state(recipe: TrainingRecipe, device: torch.device) -> TrainingState:
    """The state before the first step: a network with random weights by the recipe's seed."""
    torch.manual_seed(recipe.seed)  # the initial weights; every later draw has a seed of its own
    network = build(recipe.network).to(device)
    network = network.to(memory_format=torch.channels_last)
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))  # type: ignore[no-untyped-call]
    optimizer = Optimizer(network, network.hidden(), recipe.learning_rate, recipe.weight_decay)
    return TrainingState(network, averaged, optimizer)


def _in_words(error: Exception) -> str:
    return in_short(error, _LONGEST_REASON) or type(error).__name__


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
