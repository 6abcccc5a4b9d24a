"""The settings of a scoring: its model, and how that is used, from the user's options and the model's values."""

import functools
import hashlib
import importlib.metadata
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tintlab.imaging.encoding import QUALITY, Format
from tintlab.imaging.provenance import Provenance
from tintlab.inference import noise_vectors
from tintlab.inference.colorizer import Settings
from tintlab.inference.engines import TORCH, EngineChoice, choose, is_installed
from tintlab.registry import models
from tintlab.scoring.hint_lists import HintLists, digest_lists, read_hint_lists
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json
from tintlab.system.params import load_params
from tintlab.tracking.store import TrackingUnavailableError

Depth = Literal[8, 16]

DEFAULT_MAX_MEGAPIXELS = 200.0
"""Where there is no params.yaml: archives are scored in any folder."""


@dataclass(frozen=True)
class ScoreSettings:
    """The model and the settings that colour photographs; can be sent to another process.

    Attributes:
        output: the folder of the coloured photographs.
        model_folder: see `Colorizer.load`.
        model: as in `models:/tintlab/3`; `base`; or `local`, a folder.
        model_version: its number in the registry.
        weights_sha256: of the generator's weights.
        training: the fingerprint of the training that made it, or empty.
        run_id: of that training in MLflow.
        working_size: see `colorizer.working_shape`.
        saturation: factor on the predicted ab.
        flip_average: see `colorizer.Settings`.
        file_format: of the coloured files.
        quality: of JPEG and WebP.
        depth: bits a channel.
        max_megapixels: see `photos.read_photo`.
        seed: of the noise vectors; see `noise_vectors.draw`.
        variants: files a photograph, each with a noise vector of its own; 0 is one file, without noise.
        workers: photographs at a time; 0 is one a CPU, and one that waits for the disk.
        engine: what runs the network, and in which precision.
        store: URL of OUTPUT in a store, for which `output` stands on this machine; empty for a folder.
        source_store: URL of the folder that the photographs are read from; empty where they are files.
        shared_files: name and sha256 of each of the model's files that `store` has a copy of; see `shared_model`.
        descan: whether the fading of prints is evened out first; see `imaging.descan`.
        hints: of photographs by their names; see `hint_lists`. Other ones decide only what becomes of these.
    """

    output: Path
    model_folder: Path
    model: str
    model_version: int | None
    weights_sha256: str
    training: str
    run_id: str | None
    working_size: int
    saturation: float
    flip_average: bool = False
    file_format: Format = "png"
    quality: int = QUALITY
    depth: Depth = 8
    max_megapixels: float = 200.0
    workers: int = 0
    seed: int = 0
    variants: int = 0
    engine: EngineChoice = TORCH
    descan: bool = False
    hints: HintLists = field(default_factory=dict)
    store: str = ""
    source_store: str = ""
    shared_files: tuple[tuple[str, str], ...] = ()

    def place(self) -> str:
        """Where the coloured photographs go, as the user named it."""
        return self.store or str(self.output)

    def file(self, target: Path) -> str:
        """A coloured file as the user would name it; `target` is its path below OUTPUT."""
        return f"{self.store}/{target.as_posix()}" if self.store else str(self.output / target)

    def uses_store(self) -> bool:
        """Whether photographs come from a store, or go to one."""
        return bool(self.store or self.source_store)

    def model_line(self) -> str:
        """Which model colours, in a line."""
        name = str(self.model_folder) if self.model == "local" else self.model
        return f"coloured by {name} (weights {self.weights_sha256[:16]})"

    def deciding(self) -> dict[str, Any]:
        """All that decides what a photograph becomes: where it differs, photographs are coloured again."""
        return {
            "weights_sha256": self.weights_sha256,
            "flip_average": self.flip_average,
            "working_size": self.working_size,
            "saturation": self.saturation,
            "format": self.file_format,
            "quality": None if self.file_format == "png" else self.quality,
            "depth": self.depth,
            # None is also what a scoring of before there was noise says.
            "seed": self.seed if self.variants else None,
            "variants": self.variants or None,
            "engine": self.engine.text(),
            "descan": self.descan or None,
        }

    def digest(self) -> str:
        """A short hash of everything in `deciding`."""
        text = json.dumps(self.deciding(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def provenance(self, source_sha256: str, variant: int = 0, page: int = 0) -> Provenance:
        """The origin that a coloured file records; 0 is no variant, and the page of a file that has one."""
        return Provenance(
            software=f"tintlab {_version()}",
            model=self.model,
            model_version="" if self.model_version is None else str(self.model_version),
            weights_sha256=self.weights_sha256,
            training=self.training,
            run_id=self.run_id or "",
            working_size=str(self.working_size),
            saturation=f"{self.saturation:g}",
            seed=str(self.seed) if variant else "",
            variant=str(variant) if variant else "",
            source_sha256=source_sha256,
            source_page=str(page) if page else "",
            engine=self.engine.text(),
        )


@dataclass(frozen=True)
class Options:
    """The user's options.

    Attributes:
        file_format: see `ScoreSettings`, as for all of these; None is the model's own value.
        hints: a file, see `hint_lists.read_hint_lists`.
        engine: see `engines.choose`, as for `precision`. Left open, an archive keeps the engine it began with.
    """

    file_format: Format = "png"
    quality: int = QUALITY
    depth: int = 8
    saturation: float | None = None
    working_size: int | None = None
    workers: int = 0
    seed: int = 0
    variants: int = 0
    engine: str = "auto"
    precision: str = "auto"
    descan: bool = False
    hints: Path | None = None


def settings_for(output: Path, spec: str | None, options: Options, store: str = "") -> ScoreSettings:
    """Resolve a model, once for a whole scoring.

    Args:
        output: the folder of the coloured photographs.
        spec: see `models.locate`; None is this project's champion, or `base` where there is none.
        options: replace what the model's config says.
        store: see `ScoreSettings`.

    Raises:
        TintlabError: there is no such model, MLflow can't be reached, or an option fits no other.
    """
    if options.depth not in (8, 16):
        raise TintlabError(f"--depth {options.depth}: give 8 or 16 bits a channel")
    if options.depth == 16 and options.file_format != "png":
        raise TintlabError(f"{options.file_format} has 8 bits a channel: for --depth 16 use --format png")
    located = _locate_model(output, spec)
    config = read_json(located.folder / paths.MODEL_CONFIG)
    used = Settings.of_config(config, located.folder)
    if options.variants:
        noise_vectors.draw(options.seed, "0", 0, int(config.get("z_dim", 0)))  # refused before it starts
    if options.hints and not config.get("hints"):
        raise TintlabError("this model takes no colour hints: choose another model, or leave --hints out")
    return ScoreSettings(
        output=output,
        model_folder=located.folder,
        model=located.name,
        model_version=located.version,
        weights_sha256=located.weights_sha256,
        training=str(config.get("fingerprint", "")),
        run_id=located.run_id,
        working_size=options.working_size or used.working_size,
        saturation=used.saturation if options.saturation is None else options.saturation,
        flip_average=used.flip_average,
        file_format=options.file_format,
        quality=options.quality,
        depth=16 if options.depth == 16 else 8,
        max_megapixels=load_max_megapixels(),
        workers=options.workers,
        seed=options.seed,
        variants=options.variants,
        descan=options.descan,
        hints=read_hint_lists(options.hints) if options.hints else {},
        engine=_choose_engine(output, options, located.weights_sha256, str(config.get("generator"))),
        store=store,
    )


def _choose_engine(output: Path, options: Options, weights_sha256: str, generator: str) -> EngineChoice:
    """The engine for this machine, or that of an earlier run to `output` if the user leaves it open."""
    chosen = choose(options.engine, options.precision, generator)
    before = recorded_settings(output)
    if options.engine == options.precision == "auto" and before.get("weights_sha256") == weights_sha256:
        name, precision = before["engine"].split()
        if name == "torch" or is_installed(name):
            return EngineChoice(name, precision)
    return chosen


def _locate_model(output: Path, spec: str | None) -> models.LocatedModel:
    """The model; that of an earlier run to `output` where MLflow, which knows what an alias means, is away."""
    try:
        return models.locate(spec or models.default_spec())
    except TrackingUnavailableError:
        known = recorded_settings(output)
        if not known or (spec and known["model"] != spec):
            raise
        folder, weights = Path(known["model_folder"]), known["weights_sha256"]
        if models.hash_folder(folder)[paths.WEIGHTS] != weights:
            raise
        uri = known["model"] if known["model_version"] else str(folder)
        return models.LocatedModel(folder, weights, known["model_version"], known["run_id"], uri)


def describe(settings: ScoreSettings) -> dict[str, Any]:
    """What the output folder keeps of its last scoring, for `recorded_settings`."""
    model = {name: getattr(settings, name) for name in ("model", "model_version", "run_id")}
    beside = {"model_folder": str(settings.model_folder.absolute()), "hints": digest_lists(settings.hints)}
    return model | beside | settings.deciding()


def recorded_settings(output: Path) -> dict[str, Any]:
    """The description (see `describe`) of the last scoring to a folder; empty for a new one."""
    from tintlab.scoring.manifest import SETTINGS, STATE  # pandas comes with it, which few callers need

    path = output / STATE / SETTINGS
    # Folders of before there was a choice do not say that torch ran the network.
    return {"engine": TORCH.text()} | read_json(path) if path.exists() else {}


def load_max_megapixels() -> float:
    """The limit of params.yaml, or the default where there is none."""
    return load_params().photos.max_megapixels if paths.PARAMS.exists() else DEFAULT_MAX_MEGAPIXELS


def list_changes(settings: ScoreSettings) -> list[str]:
    """The deciding settings that differ from the last scoring to this folder; none for a new one."""
    before, now = recorded_settings(settings.output), settings.deciding()
    if not before:
        return []
    changed = [name for name, value in now.items() if before.get(name) != value]
    if "weights_sha256" in changed:
        return [f"the model is another one ({before.get('model')}, now {settings.model})"]
    return [f"{name} was {before.get(name)} and is {now[name]}" for name in changed]


@functools.cache
def _version() -> str:
    return importlib.metadata.version("tintlab")  # reads files, a millisecond
