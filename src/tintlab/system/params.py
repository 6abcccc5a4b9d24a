"""Read params.yaml as typed, validated, immutable objects; `load_params` is the entry point."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from tintlab.system import paths, urls
from tintlab.system.decision_params import DriftParams, PromotionParams, WatchParams
from tintlab.system.errors import TintlabError
from tintlab.system.sections import (
    BelowOne,
    Count,
    Natural,
    NonNegative,
    Positive,
    Section,
    Seed,
    Sha256,
    Share,
    first_fault,
    read_yaml,
)


class SourceParams(Section):
    """A folder or an archive (zip, tar, tar.gz, …) of photographs."""

    path: Annotated[str, Field(min_length=1)]
    """Its path, relative to the repository; or the URL of an archive: http, https, s3 or gs."""
    sha256: Sha256 | None = None
    """Expected hash of an archive, if known."""
    follow_links: bool = False
    """Enter the linked folders of a folder. Each file is taken once, and circular links are harmless."""

    @model_validator(mode="after")
    def _url_is_fit_to_be_tracked(self) -> Self:
        if urls.is_url(self.path) and (fault := urls.fault_of(self.path)):
            raise ValueError(fault)
        return self


class PhotosParams(Section):
    """Limits for opening any photograph."""

    max_megapixels: Positive
    """Larger pictures are refused before they are decoded, by their header."""


class FetchParams(Section):
    """The sources of photographs."""

    starter: bool
    """Use the starter photographs of the repository."""
    sources: Annotated[tuple[SourceParams, ...], Field(strict=False)]
    """More folders and archives, besides data/inbox/; run `tintlab sources refresh` after a change."""
    limit: Count | None
    """Keep at most this many photographs, those with the smallest salted hashes. So a larger limit keeps the
    same photographs and adds others."""
    salt: str
    """Selects other photographs for a limit."""
    max_files: Count
    """Most entries of an archive; an archive with more is refused."""
    max_gigabytes: Positive
    """Largest size of an unpacked archive, and of a download."""
    max_ratio: Annotated[float, Field(ge=1)]
    """Highest ratio of unpacked to packed size above 0.1 GB; archive bombs reach thousands."""


class SplitParams(Section):
    """The split into train, val and test."""

    test: Share
    """Share of the photographs that only judge models."""
    val: Share
    """Share of the photographs that choose the best weights."""
    salt: str
    """Gives another split. Never change it between models that you compare."""
    twin_distance: Annotated[int, Field(ge=0, le=64)]
    """Photographs whose 64-bit perceptual hashes differ in at most this many bits are near-duplicates."""

    @model_validator(mode="after")
    def _leaves_photos_to_train(self) -> Self:
        if self.test + self.val >= 1:
            raise ValueError("test and val leave no photographs to train on: make their sum less than 1")
        return self


class ValidateParams(Section):
    """Limits for each photograph and for the whole set."""

    min_side: Count
    """Least number of pixels of the short side."""
    max_aspect: Annotated[float, Field(ge=1)]
    """Highest ratio of long to short side."""
    min_colourfulness: NonNegative
    """Least Hasler-Süsstrunk colourfulness; greyer photographs teach grey."""
    min_contrast: Annotated[float, Field(ge=0, le=100)]
    """Least span of L* between its 1st and 99th percentile; a blank picture has less."""
    min_train: Count
    """Least number of accepted photographs in the train split."""
    min_val: Count
    """Least number in the val split."""
    min_test: Count
    """Least number in the test split."""
    max_quarantined: Share
    """Highest share of quarantined photographs; with more, the whole set is in doubt."""
    max_cast: Positive
    """Largest distance from 0 of the photographs' mean middle a* and b*. More is a colour cast of the whole
    collection, such as sepia."""


class ConvertParams(Section):
    """The squares that training reads."""

    image_size: Annotated[int, Field(ge=16)]
    """Side of a square in pixels; the short side of a photograph is reduced to it."""
    max_squares: Count
    """Most overlapping squares from a wide or tall photograph."""
    shard_megabytes: Annotated[float, Field(gt=0)] = 1000
    """Largest size of a file of squares; a split with fewer is one file."""


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
    """Share of each batch that comes from the other categories, so that the network does not forget them."""
    category_power: Share
    """A category with n squares is drawn in proportion to n to this power: 1 draws every square equally often,
    0.5 draws large categories less, 0 draws every category equally often."""
    max_val_squares: Count | None
    """Validate on this many squares at most, drawn with the same shares of the categories; null: all."""
    z_dim: Annotated[int, Field(ge=0, le=512)]
    """Length of the noise vector, which chooses among the colourings that a photograph allows; 0 is none. The
    default colours are those of z = 0."""
    image_size: Annotated[int, Field(ge=32, multiple_of=32)]
    """Side in pixels of the pictures that the networks see while training."""
    channels: Annotated[int, Field(ge=2, multiple_of=2)]
    """Width of the generator: of its outermost layer (unet), or of its decoder at a quarter of the size."""
    dropout: BelowOne
    """Dropout in the generator's inner up-blocks: pix2pix's noise."""
    context_dropout: BelowOne
    """Dropout of the pooled features, which describe the whole picture to the decoder (pretrained_unet)."""
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
    """Epochs after the GAN phase in which only the layers for hints and palettes learn."""
    variety_epochs: Natural
    """Epochs at the end in which the noise learns the colours that a grey photograph leaves open; the colours
    without noise stay as they are."""
    gan_warmup: Natural
    """Iterations over which the GAN loss rises to its full weight, from the start of the GAN phase."""
    batch_size: Count
    """Crops a step."""
    crop: Annotated[tuple[Count, Count], Field(strict=False)]
    """Smallest and largest side of random crops, in pixels of the squares; crops are resized to `image_size`."""
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
    lambda_kernel: NonNegative
    """Weight of the loss that compares coloured pictures as a set with photographs; 0 leaves it out. With it,
    `val_score` counts that distance, too."""
    lambda_kl: NonNegative
    """Weight of the KL divergence, in nats, of a noise vector read off a true colouring from a random one."""
    lambda_latent: NonNegative
    """Weight of the error in recovering a random noise vector from the picture that was coloured with it."""
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
    """Decay of the exponential moving average of the generator, which is the one that is saved; 0 saves the
    generator itself."""
    working_size: Annotated[int, Field(ge=32)]
    """In use, the network sees a photograph reduced to about working_size² pixels, in its own proportions."""
    flip_average: bool
    """In use, average the colours of the photograph with those of its mirror image."""
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
    """Precision inside the networks. bf16 is faster on GPUs and on CPUs with avx512_bf16; `auto` takes it
    only on CUDA."""

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
    """Replaces the model's own working_size; null keeps it."""
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


def load_params(path: Path = paths.PARAMS, sections: Mapping[str, Mapping[str, Any]] | None = None) -> Params:
    """Read and check params.yaml.

    Args:
        path: of the file.
        sections: values that replace those of the file, by section and key, as a preset has them.

    Raises:
        TintlabError: the file is missing, is not YAML, or has an unknown, missing or wrong value. The message
            names the key.
    """
    try:
        content = read_yaml(path)
        for section, keys in (sections or {}).items():
            content[section] = dict(content.get(section) or {}) | dict(keys)
        return Params.model_validate(content)
    except ValidationError as error:
        raise TintlabError(f"{path}: {first_fault(error, Params)}") from None
