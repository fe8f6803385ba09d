"""The training recipe: one YAML file, checked before anything starts."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from noise_model.config_files import checked_config, find_config, in_short, parsed_yaml, read_config
from noise_model.errors import InputError
from noise_model.files import at_home
from simulate.pairs import PairRecipe
from spadsr.networks.measurement import SCALES
from spadsr.networks.multi_resolution import MultiResolutionConfig
from spadsr.networks.registry import AnyNetworkConfig

_MANY = 10**9
_MOST_GROUPS = 8  # in each other, in an override
_BATCH = 32

_PATHS = ("start", "teacher", "simulated", "scenes.photos")  # a name is text, whatever it would be in YAML
_Place = Annotated[Path, AfterValidator(at_home)]


class SceneRecipe(BaseModel):
    """The scenes of a training run: photographs (if a folder is given) mixed with drawn ones, all kept in memory."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    photos: _Place | None = Field(default=None, description="folder of photographs")
    photo_share: float = Field(default=0.8, ge=0, le=1, description="of the scenes, where photographs are given")
    squared_share: float = Field(default=0.2, ge=0, le=1, description="squared display values, nearer to linear light")
    negative_share: float = Field(default=0.1, ge=0, le=1, description="photographs shown as their negatives")
    warped_share: float = Field(
        default=0.75, ge=0, le=1, description="photographs turned by any angle and shrunk along each axis"
    )
    zooms: tuple[Annotated[float, Field(ge=0.25, le=8)], ...] = Field(
        default=(0.7, 1.0, 1.4, 2.0, 2.83, 4.0),
        min_length=1,
        description="photographs are shrunk so many times; below 1 enlarged",
    )
    drawn: int = Field(default=800, gt=0, le=_MANY, description="drawn scenes")
    drawn_size: int = Field(default=320, ge=256, le=4096)


class Stage(BaseModel):
    """A part of a run, and what differs in it from the rest of the recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    share: float = Field(gt=0, le=_MANY, description="of all steps, over the sum of all stages' shares")
    native: int | None = None
    batch: int | None = None
    exposures: int | None = None
    scale_shares: dict[int, float] | None = None
    pairs: dict[str, Any] = Field(default={}, description="keys of `pairs` that differ")


class TrainingRecipe(BaseModel):
    """Everything that decides a training run."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    seed: int = Field(default=0, ge=0, lt=1 << 32)
    start: _Place | None = Field(default=None, description="weight file to begin with; `base` are the shipped ones")
    teacher: _Place | None = Field(
        default=None, description="weight file whose answers are learnt instead of the truth"
    )
    steps: int = Field(default=20_000, gt=0, le=_MANY)
    batch: int = Field(default=_BATCH, gt=0, le=1 << 16, description="captures a step")
    exposures: int = Field(
        default_factory=lambda above: int(above.get("batch", _BATCH)),
        gt=0,
        le=1 << 16,
        description="different ones in a batch, as many as captures unless said otherwise; processes share them out",
    )
    native: int = Field(default=32, ge=16, le=512, multiple_of=16, description="rows and columns of a training capture")
    learning_rate: float = Field(default=2e-3, gt=0, le=1e38)
    warm_up: int = Field(default=300, ge=0, le=_MANY, description="steps")
    constant: float = Field(default=0.0, ge=0, lt=1, description="share of the steps before the learning rate falls")
    weight_decay: float = Field(default=0.05, ge=0, le=100)
    clip: float = Field(default=1.0, gt=0, le=_MANY, description="largest gradient norm")
    ema: float = Field(default=0.998, ge=0, lt=1, description="decay of the averaged weights, which are the result")
    beta: float = Field(default=0.75, ge=0, le=1, description="1 weighs all pixels alike, 0 by their precision")
    scale_shares: dict[int, float] = Field(default={4: 0.84, 8: 0.08, 16: 0.08}, description="resolutions trained for")
    record_every: int = Field(default=250, gt=0, le=_MANY, description="steps between points of the curves")
    checkpoint_seconds: float = Field(default=60, ge=0, le=_MANY, description="between checkpoints")
    held_out: float = Field(
        default=0.05,
        gt=0,
        le=0.5,
        description="share of the scenes never trained on: curves and intervals are of these",
    )
    interval_batches: int = Field(
        default=200, gt=0, le=_MANY, description="held out, for each scale: they set the intervals"
    )
    bfloat16: bool = True
    workers: int | None = Field(
        default=None, ge=0, le=256, description="processes that make captures ahead; null: as many as keep a GPU busy"
    )
    compiled: bool = Field(default=False, description="torch.compile, worth it on a GPU")
    simulated: _Place | None = Field(default=None, description="folder of a simulated set to train from instead")
    network: AnyNetworkConfig = MultiResolutionConfig()
    scenes: SceneRecipe = SceneRecipe()
    pairs: PairRecipe = PairRecipe()
    stages: tuple[Stage, ...] = Field(
        default=(), max_length=100, description="one after the other; none: all steps are alike"
    )

    @field_validator("exposures")
    @classmethod
    def _divides_batch(cls, exposures: int, info: ValidationInfo) -> int:
        if info.data.get("batch", exposures) % exposures:
            raise ValueError(f"a batch of {info.data['batch']} cannot be shared out evenly; set both")
        return exposures

    @field_validator("scale_shares")
    @classmethod
    def _of_known_scales(cls, shares: dict[int, float]) -> dict[int, float]:
        if (
            not shares
            or not set(shares) <= set(SCALES)
            or not 0 < min(shares.values()) <= max(shares.values()) <= _MANY
        ):
            raise ValueError(f"expected shares above 0 of the scales {', '.join(map(str, SCALES))}")
        return shares

    @field_validator("stages")
    @classmethod
    def _that_can_be(cls, stages: tuple[Stage, ...], info: ValidationInfo) -> tuple[Stage, ...]:
        if len(info.data) == len(cls.model_fields) - 1:  # all else is right
            for stage in stages:
                _settled(cls(**info.data), stage)
        return stages

    def of_step(self, step: int) -> "TrainingRecipe":
        """The recipe of a step, with the values of its stage."""
        place = (step + 0.5) / self.steps * sum(stage.share for stage in self.stages)
        for stage in self.stages:
            if (place := place - stage.share) < 0:
                return _settled(self, stage)
        return _settled(self, self.stages[-1]) if self.stages else self

    def of_stages(self) -> list["TrainingRecipe"]:
        """The common recipe, by which intervals are measured, and those of all stages."""
        return [self, *(_settled(self, stage) for stage in self.stages)]

    def kept(self) -> dict[str, Any]:
        """The recipe as plain data, with whole names of folders: a run goes on from wherever it is called."""
        said = self.model_dump(mode="json")
        if self.scenes.photos is not None:
            said["scenes"]["photos"] = str(self.scenes.photos.absolute())
        if self.simulated is not None:
            said["simulated"] = str(self.simulated.absolute())
        return said


def _settled(recipe: TrainingRecipe, stage: Stage) -> TrainingRecipe:
    """The recipe with a stage's values in place of the common ones."""
    own = stage.model_dump(exclude={"share", "pairs"}, exclude_none=True)
    pairs = recipe.pairs.model_dump() | stage.pairs
    return TrainingRecipe.model_validate(recipe.model_dump() | own | {"pairs": pairs, "stages": ()})


def load_recipe(path: str | Path | None, overrides: list[str]) -> TrainingRecipe:
    """The recipe of a file, a shipped one by its name, or the default, with `key=value` or `group.key=value` overrides.

    Raises:
        InputError: no such recipe, not YAML, or a key or value that no recipe has.
    """
    kind = "training recipe"
    values = {} if path is None else read_config(find_config(path, "train", kind), kind)
    recipe = checked_config(TrainingRecipe, values, path or "recipe", kind)
    if not overrides:
        return recipe
    for override in overrides:
        _set(values, override)
    return checked_config(TrainingRecipe, values, in_short(" ".join(overrides)), kind)


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    shown = in_short(override)
    if not equals or not key:
        raise InputError(f"{shown}: overrides are written key=value, e.g. steps=1000 or learning_rate=1e-3")
    *groups, last = key.split(".")
    if len(groups) > _MOST_GROUPS:
        raise InputError(f"{shown}: no such key; overrides are written key=value or group.key=value")
    for group in groups:
        values = values.setdefault(group, {})
        if not isinstance(values, dict):
            raise InputError(f"{shown}: {group} is a value, not a group of keys")
    if not text.strip():
        raise InputError(f"{shown}: no value; give one, or null for none")
    try:
        values[last] = text if key in _PATHS and text != "null" else parsed_yaml(text)
    except ValueError as error:
        raise InputError(f"{shown}: the value is not YAML ({error})") from error
