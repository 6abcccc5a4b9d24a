"""params.yaml as typed, validated, immutable objects. This module is its only reader."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tintlab import paths
from tintlab.errors import TintlabError

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Section(BaseModel):
    """A section of params.yaml: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SourceParams(Section):
    """A folder or an archive (zip, tar, tar.gz, …) of photographs."""

    path: str
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
    sources: tuple[SourceParams, ...]
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
    """The conditional GAN and its training."""

    generator: Literal["unet"]
    """Architecture of the generator."""
    size: Annotated[int, Field(ge=32, multiple_of=32)]
    """Side in pixels of the crops that the networks see."""
    channels: Count
    """Width of the generator's outermost layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)]
    """Dropout in the generator's inner up-blocks: pix2pix's noise."""
    discriminator_channels: Count
    """Width of the discriminator's first layer."""
    epochs: Count
    """The training's length; after each epoch the validation photographs are judged."""
    iterations_per_epoch: Count
    """Generator steps an epoch; the data is cycled."""
    batch_size: Count
    """Crops a step."""
    lambda_l1: NonNegative
    """Weight of the L1 loss beside the GAN loss."""
    learning_rate: Positive
    """Adam's rate for both networks."""
    betas: tuple[Share, Share]
    """Adam's decay rates."""
    display_every: Count
    """Iterations between two lines of losses and two sample grids."""
    checkpoint_every: Count
    """Iterations between two checkpoints, from which an interrupted training continues."""
    workers: Natural
    """Processes that prepare batches; 0 prepares them in the training process. Changes no result."""
    seed: Natural
    """Seed of every random number."""
    threads: Count
    """CPU threads; results are reproducible for the same number only."""
    device: Literal["auto", "cpu", "cuda", "mps"]
    """`auto` takes the first GPU, else the CPU."""


class EvaluateParams(Section):
    """How a trained generator is judged."""

    working_size: Annotated[int, Field(ge=32)]
    """The network sees a photograph reduced to about working_size² pixels, in its own proportions."""
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
        if self.train.size > self.convert.size:
            raise ValueError(
                f"train.size {self.train.size} is larger than convert.size {self.convert.size}: "
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
        content = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise TintlabError(f"{path} is missing: run this in the repository's folder") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise TintlabError(f"{path} is not readable YAML: {error}") from None
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
    faults = error.errors(include_url=False)
    fault = faults[0]
    where = ".".join(str(part) for part in fault["loc"]) or "the file"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    match fault["type"]:
        case "extra_forbidden":
            return f"unknown key {where!r}{_suggestion(fault['loc'])}{more}"
        case "missing":
            return f"{where} is missing{more}"
        case _:
            message = fault["msg"].removeprefix("Value error, ")
            found = fault["input"]
            got = f", got {found!r}" if isinstance(found, str | int | float | None) else ""
            return f"{where}: {message}{got}{more}"


def _suggestion(location: tuple[str | int, ...]) -> str:
    section: type[BaseModel] = Params
    for part in location[:-1]:
        named = {field.alias or name: field for name, field in section.model_fields.items()}
        annotation = named[str(part)].annotation if str(part) in named else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return ""
        section = annotation
    known = [field.alias or name for name, field in section.model_fields.items()]
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f": did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
