"""params.yaml as typed, validated, immutable objects. This module is its only reader."""

import difflib
import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from tintlab.system import console, paths, urls
from tintlab.system.errors import TintlabError
from tintlab.system.urls import redacted

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
    """Where it lies; relative paths start at the repository. Or an archive's URL: http, https, s3 or gs."""
    sha256: Sha256 | None = None
    """What an archive must hash to, where that is known."""

    @model_validator(mode="after")
    def _url_is_fit_to_be_tracked(self) -> Self:
        if urls.is_url(self.path) and (fault := urls.fault_of(self.path)):
            raise ValueError(fault)
        return self


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
    max_files: Count
    """An archive may hold this many entries; more is refused, and the archive with it."""
    max_gigabytes: Positive
    """An archive may hold this much when unpacked, and a download bring as much."""
    max_ratio: Annotated[float, Field(ge=1)]
    """An archive may unpack to this many times its size, if it is more than 0.1 GB: bombs reach thousands."""


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

    image_size: Annotated[int, Field(ge=16)]
    """Side of a square in pixels: the short side of a photograph is reduced to it."""
    max_squares: Count
    """A wide or tall photograph gives up to this many overlapping squares."""


class TrainParams(Section):
    """The conditional GAN and its training; docs/recipe.md has the measurements behind the defaults."""

    generator: Literal["pretrained_unet", "unet"]
    """A decoder on a frozen ImageNet encoder, or the pix2pix U-Net from scratch."""
    init_from: Annotated[str, Field(min_length=1)] | None
    """A model to start from: `models:/tintlab@champion`, `models:/tintlab/3`, a folder, or a .safetensors file
    with its config.json beside it; run `tintlab sources refresh` after a change."""
    frozen_epochs: Natural | None
    """Epochs at the start in which the encoder keeps the weights that it came with, ImageNet's or the parent's;
    null: all of them for a pretrained_unet, none for a unet."""
    focus: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None
    """Categories to train on; null: all."""
    rehearsal: BelowOne
    """Share of each batch that comes from the other categories, lest they are forgotten."""
    category_power: Share
    """A category with n squares is drawn in proportion to n to this power: 1 draws every square equally often,
    0.5 draws large categories less, 0 draws every category equally often."""
    max_val_squares: Count | None
    """Validate on this many squares at most, drawn with the same shares of the categories; null: all."""
    z_dim: Annotated[int, Field(ge=0, le=512)]
    """Length of the noise vector, which chooses among the colourings that a photograph allows; 0 is none. The
    default colours are those of z = 0."""
    image_size: Annotated[int, Field(ge=32, multiple_of=32)]
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
    hints: bool
    """The generator takes colour hints at points, and the palette of a reference picture (pretrained_unet)."""
    guidance_epochs: Natural
    """Epochs after the GAN in which all else is kept and the layers for hints and palettes learn."""
    variety_epochs: Natural
    """Epochs at the end in which all else is kept and the noise learns what photographs leave open."""
    gan_warmup: Natural
    """Iterations over which the GAN loss then gains its full weight."""
    batch_size: Count
    """Crops a step."""
    crop: Annotated[tuple[Count, Count], Field(strict=False)]
    """Smallest and largest side, in pixels of the squares, of random crops, brought to `image_size`."""
    contrast: BelowOne
    """L* of a crop is stretched about 50 by a random factor in 1 ± this."""
    brightness: Annotated[float, Field(ge=0, le=50)]
    """L* of a crop is shifted by a random amount in ± this."""
    lambda_l1: NonNegative
    """Weight of the L1 loss beside the GAN loss."""
    rebalancing: Share
    """Weigh each pixel's L1 error by how rare its true colour is: 0 not at all, 1 as Zhang et al. 2016 do."""
    lambda_perceptual: NonNegative
    """Weight of the perceptual loss; 0 leaves it out."""
    lambda_kl: NonNegative
    """Weight of each nat by which a noise vector read off a true colouring tells more than a random one."""
    lambda_latent: NonNegative
    """Weight of the error with which a random noise vector is read off what was painted with it."""
    l1_learning_rate: Positive
    """The generator's rate in the L1 phase, at its highest."""
    learning_rate: Positive
    """The generator's rate beside the GAN."""
    decay: Share
    """Share of the GAN phase, at its end, in which that rate falls to 0."""
    discriminator_learning_rate: Positive
    """The discriminator's rate."""
    noise_learning_rate: Positive
    """The rate of the noise's layers in the last phase, at its highest."""
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
    precision: Literal["auto", "fp32", "bf16"]
    """Numbers inside the networks: bf16 is faster on GPUs and on CPUs with avx512_bf16; `auto` takes it on
    CUDA alone."""

    @model_validator(mode="after")
    def _crops_and_phases_are_possible(self) -> Self:
        if self.crop[0] > self.crop[1]:
            raise ValueError(f"crop {list(self.crop)}: the smallest side comes first")
        if self.rehearsal and (self.focus is None or not self.rehearsed):
            need = "focus" if self.focus is None else "a larger batch_size to be a photograph of each batch"
            raise ValueError(f"rehearsal {self.rehearsal:g} needs {need}")
        if self.l1_epochs + self.guidance_epochs + self.variety_epochs > self.epochs:
            phases = f"{self.l1_epochs} + {self.guidance_epochs} + {self.variety_epochs}"
            raise ValueError(
                f"l1_epochs + guidance_epochs + variety_epochs, {phases}, are more than epochs {self.epochs}"
            )
        if self.hints and self.generator == "unet":
            raise ValueError("hints: a unet takes none: set hints to false")
        if self.guidance_epochs and not self.hints:
            raise ValueError("guidance_epochs needs hints: true")
        if self.z_dim and self.generator == "unet":
            raise ValueError("z_dim: a unet takes no noise vector, its noise is dropout: set z_dim to 0")
        if self.z_dim and self.batch_size < 2:
            raise ValueError(
                "z_dim needs a batch_size of 2 or more: half of a batch has the noise of its colours"
            )
        if bool(self.z_dim) != bool(self.variety_epochs):
            raise ValueError("z_dim and variety_epochs go together: both 0, or neither")
        return self

    @property
    def rehearsed(self) -> int:
        """Photographs of a batch that come from categories outside `focus`."""
        return min(round(self.rehearsal * self.batch_size), self.batch_size - 1)


class EvaluateParams(Section):
    """How a trained generator is judged."""

    working_size: Annotated[int, Field(ge=32)] | None
    """In place of the model's own working_size."""
    threads: Count
    """CPU threads."""


class ToleranceParams(Section):
    """How much worse than the champion a challenger may be at the worse end of a 95 % interval."""

    psnr: NonNegative
    """In dB."""
    delta_e00: NonNegative
    """In units of CIEDE2000; 1 is just visible."""
    ssim: NonNegative
    """In [0, 1]."""


class PromotionParams(Section):
    """When a challenger takes the champion's place; see docs/judgement.md."""

    min_gain: NonNegative
    """The interval of the gain in `judge_similarity` must lie above this."""
    tolerance: ToleranceParams
    """For the other figures of a photo."""
    colourfulness: Annotated[tuple[NonNegative, NonNegative], Field(strict=False)]
    """Least and greatest mean colourfulness, as a share of the true photographs'."""

    @model_validator(mode="after")
    def _band_is_a_band(self) -> Self:
        if self.colourfulness[0] > self.colourfulness[1]:
            raise ValueError(f"colourfulness {list(self.colourfulness)}: the least comes first")
        return self


class DriftParams(Section):
    """When scored photographs count as unlike those that the model was trained on."""

    threshold: Positive
    """Population stability index, less what chance adds to it, from which on a figure has drifted."""
    significance: Annotated[float, Field(gt=0, lt=1)]
    """Chance of a warning where nothing has drifted."""
    min_photos: Count
    """With fewer photographs nothing is told."""


class WatchParams(Section):
    """When what has come in is worth a retraining that nobody asked for."""

    min_new_photos: Count
    """Colour photographs that are new in data/inbox, at least."""


class Params(Section):
    """All of params.yaml."""

    photos: PhotosParams
    fetch: FetchParams
    split: SplitParams
    validate_: ValidateParams = Field(alias="validate")
    convert: ConvertParams
    train: TrainParams
    evaluate: EvaluateParams
    promotion: PromotionParams
    drift: DriftParams
    watch: WatchParams

    @model_validator(mode="after")
    def _crops_fit_squares(self) -> Self:
        largest = max(self.train.crop[1], self.train.image_size)
        if largest > self.convert.image_size:
            raise ValueError(
                f"train.crop and train.image_size reach {largest} px, convert.image_size is "
                f"{self.convert.image_size}: "
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
        raise TintlabError(f"{path} is not readable YAML: {console.one_line(error)}") from None
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
    where = redacted(".".join(str(part) for part in fault["loc"]))
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    match fault["type"]:
        case "extra_forbidden":
            return f"unknown key {where!r}{_suggestion(fault['loc'])}{more}"
        case "missing":
            return f"{where} is missing{more}"
        case "model_type":
            return f"{where or 'the file'} must be a section of keys, got {_shown(fault['input'])}{more}"
        case "value_error":
            message = fault["msg"].removeprefix("Value error, ")
            return f"{where}: {message}{more}" if where else f"{message}{more}"
        case _:
            return f"{where}: {fault['msg']}, got {_shown(fault['input'])}{more}"


def _shown(value: Any) -> str:
    # Not its whole repr: in a few bytes YAML can hold lists that refer to each other thousands of times.
    shortened = reprlib.Repr()
    shortened.maxstring = shortened.maxother = 10_000
    return redacted(shortened.repr(value))[:60]


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
