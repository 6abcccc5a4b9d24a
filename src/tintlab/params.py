"""params.yaml as typed, validated, immutable objects. This module is its only reader."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from tintlab import paths, program
from tintlab.errors import TintlabError

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Section(BaseModel):
    """A section of params.yaml: unknown keys are errors, values never change and are never converted.

    A quoted number is an error, for DVC and MLflow would record the text.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class SourceParams(Section):
    """A folder or an archive (zip, tar, tar.gz, …) of photographs."""

    path: Annotated[str, Field(min_length=1)]
    """Where it lies; relative paths start at the repository."""
    sha256: Sha256 | None = None
    """What an archive must hash to, where that is known."""


class PhotosParams(Section):
    """Limits that hold wherever a photograph is opened."""

    max_megapixels: Positive
    """Larger pictures are refused by their header, before they are decoded."""


class FetchParams(Section):
    """Which photographs take part."""

    starter: bool
    """Use the photographs that come with the repository."""
    sources: Annotated[tuple[SourceParams, ...], Field(strict=False)]
    """More folders and archives, besides data/inbox/; run `tintlab sources refresh` after a change."""
    limit: Count | None
    """Keep this many photographs: those of the smallest salted hashes, so that a larger limit only adds."""
    salt: str
    """Changes which photographs a limit keeps."""


class SplitParams(Section):
    """How photographs are divided."""

    test: Share
    """Share of the photographs that only judge."""
    val: Share
    """Share of the photographs that choose the best weights."""
    salt: str
    """Changes who goes where; never change it while you compare models."""
    twin_distance: Annotated[int, Field(ge=0, le=64)]
    """Photographs whose 64-bit perceptual hashes differ in at most this many bits are near-duplicates."""

    @model_validator(mode="after")
    def _leaves_photos_to_train(self) -> Self:
        if self.test + self.val >= 1:
            raise ValueError("test and val leave no photographs to train on: make their sum less than 1")
        return self


class ValidateParams(Section):
    """What a photograph, and the whole set, must be like."""

    min_side: Count
    """Pixels of the short side, at least."""
    max_aspect: Annotated[float, Field(ge=1)]
    """Long side over short side, at most."""
    min_colourfulness: NonNegative
    """Hasler-Süsstrunk colourfulness, at least; greyer photographs teach grey."""
    min_contrast: Annotated[float, Field(ge=0, le=100)]
    """Span of L* between its 1st and 99th percentile, at least; less is a blank picture."""
    min_train: Count
    """Accepted photographs of the train split, at least."""
    min_val: Count
    """Accepted photographs of the val split, at least."""
    min_test: Count
    """Accepted photographs of the test split, at least."""
    max_quarantined: Share
    """Share of all photographs that may be quarantined before the set as a whole is in doubt."""
    max_cast: Positive
    """The middle of a photograph's a* and b* range may on average lie this far from 0; more is a colour cast
    of the whole collection, such as sepia."""


class ConvertParams(Section):
    """The squares that training reads."""

    size: Annotated[int, Field(ge=16)]
    """Side of a square in pixels: the short side of a photograph is reduced to it."""
    max_squares: Count
    """A wide or tall photograph gives up to this many overlapping squares."""


class TrainParams(Section):
    """The conditional GAN and its training; docs/recipe.md has the measurements behind the defaults."""

    generator: Literal["pretrained_unet", "unet"]
    """A decoder on a frozen ImageNet encoder, or the pix2pix U-Net from scratch."""
    size: Annotated[int, Field(ge=32, multiple_of=32)]
    """Side in pixels of what the networks see while training."""
    channels: Annotated[int, Field(ge=2, multiple_of=2)]
    """Width of the generator: of its outermost layer (unet), or of its decoder at a quarter of the size."""
    dropout: BelowOne
    """Dropout in the generator's inner up-blocks: pix2pix's noise."""
    context_dropout: BelowOne
    """Dropout of the pooled features that tell the decoder what the whole picture shows (pretrained_unet)."""
    discriminator_channels: Count
    """Width of the discriminator's first layer."""
    discriminator_norm: Literal["batch", "instance"]
    """The discriminator's normalisation."""
    epochs: Count
    """The training's length; after each epoch the validation photographs are judged."""
    iterations_per_epoch: Count
    """Generator steps an epoch; the data is cycled."""
    l1_epochs: Natural
    """Epochs of L1 alone at the start, before the GAN joins."""
    gan_warmup: Natural
    """Iterations over which the GAN loss then gains its full weight."""
    batch_size: Count
    """Crops a step."""
    crop: Annotated[tuple[Count, Count], Field(strict=False)]
    """Smallest and largest side, in pixels of the squares, of the random crops that are brought to `size`."""
    contrast: BelowOne
    """L* of a crop is stretched about 50 by a random factor in 1 ± this."""
    brightness: Annotated[float, Field(ge=0, le=50)]
    """L* of a crop is shifted by a random amount in ± this."""
    lambda_l1: NonNegative
    """Weight of the L1 loss beside the GAN loss."""
    lambda_perceptual: NonNegative
    """Weight of the perceptual loss; 0 leaves it out."""
    l1_learning_rate: Positive
    """The generator's rate in the L1 phase, at its highest."""
    learning_rate: Positive
    """The generator's rate beside the GAN."""
    decay: Share
    """Share of the GAN phase, at its end, in which that rate falls to 0."""
    discriminator_learning_rate: Positive
    """The discriminator's rate."""
    betas: Annotated[tuple[BelowOne, BelowOne], Field(strict=False)]
    """Adam's decay rates beside the GAN."""
    weight_decay: NonNegative
    """AdamW's weight decay, of the generator."""
    ema_decay: BelowOne
    """The generator that is kept is an exponential moving average of the one that trains; 0 keeps that itself."""
    working_size: Annotated[int, Field(ge=32)]
    """In use, the network sees a photograph reduced to about working_size² pixels, in its own proportions."""
    flip_average: bool
    """In use, average with the mirrored photograph's colours."""
    saturation: Positive
    """In use, factor on the predicted colours."""
    display_every: Count
    """Iterations between two lines of losses and two sample grids."""
    checkpoint_every: Count
    """Iterations between two checkpoints, from which an interrupted training continues."""
    workers: Natural
    """Processes that prepare batches; 0 prepares them in the training process. Changes no result."""
    seed: Seed
    """Seed of every random number."""
    threads: Count
    """CPU threads; results are reproducible for the same number only."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """`auto` takes the first GPU, else the CPU."""

    @model_validator(mode="after")
    def _crops_and_phases_are_possible(self) -> Self:
        if self.crop[0] > self.crop[1]:
            raise ValueError(f"crop {list(self.crop)}: the smallest side comes first")
        if self.l1_epochs > self.epochs:
            raise ValueError(f"l1_epochs {self.l1_epochs} is more than epochs {self.epochs}")
        return self


class EvaluateParams(Section):
    """How a trained generator is judged."""

    working_size: Annotated[int, Field(ge=32)] | None
    """In place of the model's own working_size."""
    threads: Count
    """CPU threads."""


class Params(Section):
    """All of params.yaml."""

    photos: PhotosParams
    fetch: FetchParams
    split: SplitParams
    validate_: ValidateParams = Field(alias="validate")
    convert: ConvertParams
    train: TrainParams
    evaluate: EvaluateParams

    @model_validator(mode="after")
    def _crops_fit_squares(self) -> Self:
        largest = max(self.train.crop[1], self.train.size)
        if largest > self.convert.size:
            raise ValueError(
                f"train.crop and train.size reach {largest} px, convert.size is {self.convert.size}: "
                "crops can't be larger than the squares they are cut from"
            )
        return self


def load_params(path: Path = paths.PARAMS) -> Params:
    """Read and check params.yaml.

    Raises:
        TintlabError: the file is missing, is no YAML, or has an unknown, missing or wrong value; the
            message names the key.
    """
    try:
        content = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise TintlabError(f"{path} is missing: run this in the repository's folder") from None
    except MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise TintlabError(f"{path} is not readable YAML{line}: {error.problem}") from None
    except (YAMLError, ValueError) as error:
        raise TintlabError(f"{path} is not readable YAML: {program.one_line(error)}") from None
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise TintlabError(f"{path}: {_first_fault(error)}") from None


def flatten(section: BaseModel) -> dict[str, Any]:
    """Every parameter as `section.key: value`, the way experiment trackers list them."""
    flat: dict[str, Any] = {}

    def visit(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                visit(f"{prefix}.{key}" if prefix else key, inner)
        else:
            flat[prefix] = value

    visit("", section.model_dump(by_alias=True, mode="json"))
    return flat


def _first_fault(error: ValidationError) -> str:
    # A misspelt key is also a missing one: the misspelling says more.
    faults = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
    fault = faults[0]
    where = ".".join(str(part) for part in fault["loc"])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    match fault["type"]:
        case "extra_forbidden":
            return f"unknown key {where!r}{_suggestion(fault['loc'])}{more}"
        case "missing":
            return f"{where} is missing{more}"
        case "model_type":
            return f"{where or 'the file'} must be a section of keys, got {fault['input']!r:.60}{more}"
        case "value_error":
            message = fault["msg"].removeprefix("Value error, ")
            return f"{where}: {message}{more}" if where else f"{message}{more}"
        case _:
            return f"{where}: {fault['msg']}, got {fault['input']!r:.60}{more}"


def _suggestion(location: tuple[str | int, ...]) -> str:
    section: type[BaseModel] = Params
    for part in location[:-1]:
        if isinstance(part, int):  # which item of a list; all are alike
            continue
        named = {field.alias or name: field.annotation for name, field in section.model_fields.items()}
        kinds = [named[part], *get_args(named[part])]
        section = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    known = [field.alias or name for name, field in section.model_fields.items()]
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f": did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
