"""Whole archives: `tintlab score` from its arguments to its last word.

`begun` holds the output folder for one scoring at a time, and knows what is left to do. Its photographs can be
given to `scoring.score_chunk` at once, or in chunks to several processes; `finished` then merges their parts
and compares what was seen with what the model was trained on.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tintlab.imaging.encoding import QUALITY, SUFFIXES, Format
from tintlab.inference import noise_vectors
from tintlab.inference.colorizer import Settings
from tintlab.registry import models
from tintlab.scoring import drift_report, plan
from tintlab.scoring.chunk import ScoreSettings, load_colorizer, remaining, score_chunk, score_photo
from tintlab.scoring.manifest import (
    MANIFEST,
    SETTINGS,
    STATE,
    Record,
    merge_parts,
    part_writer,
    parts_folder,
    read_records,
)
from tintlab.scoring.plan import Plan, PlannedPhoto, files_of
from tintlab.system import console, paths
from tintlab.system.console import printable
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json, write_json
from tintlab.system.locks import exclusive
from tintlab.system.params import load_params
from tintlab.tracking.store import TrackingUnavailableError

DEFAULT_MAX_MEGAPIXELS = 200.0
"""Where there is no params.yaml: archives are scored in any folder."""

_LOCK = "lock"
_PART, _SKIPPED_PART = "photos", "skipped"
_SHOWN = 10


@dataclass(frozen=True)
class Options:
    """What the user may ask for.

    Attributes:
        file_format: see `scoring.ScoreSettings`, as for all of these; None is the model's own value.
    """

    file_format: Format = "png"
    quality: int = QUALITY
    depth: int = 8
    saturation: float | None = None
    working_size: int | None = None
    workers: int = 0
    seed: int = 0
    variants: int = 0


@dataclass(frozen=True)
class Begun:
    """A scoring that is under way.

    Attributes:
        settings: for `scoring.score_chunk`.
        plan: all photographs of the archive.
        left: those that are still to be done.
        words: what the user should know before it starts.
    """

    settings: ScoreSettings
    plan: Plan
    left: tuple[PlannedPhoto, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Finished:
    """What came of a scoring, also of its earlier runs.

    Attributes:
        coloured: how many photographs.
        quarantined: their names and the reasons.
        words: what the user should know at the end.
    """

    coloured: int
    quarantined: dict[str, str]
    words: tuple[str, ...]

    def line(self) -> str:
        """How many, in a line."""
        bad = len(self.quarantined)
        return f"{_counted(self.coloured, 'photograph')} coloured, {_counted(bad, 'file')} can't be used"

    @property
    def status(self) -> int:
        """Exit status: 0 all photographs are coloured, 2 some are not, 1 none is."""
        if not self.coloured:
            return 1
        return 2 if self.quarantined else 0


def score(source: str | Path, settings: ScoreSettings, announce: Callable[[str], None] = print) -> Finished:
    """Colour an archive in this process; see `begun`.

    Args:
        source: see `plan.plan`.
        settings: see `settings_for`.
        announce: told what the user should know before it starts.
    """
    with begun(source, settings) as work:
        for word in work.words:
            announce(word)
        if work.left:
            score_chunk(work.left, settings, _PART, show_progress=True)
        return finished(work)


def preview(source: str | Path, settings: ScoreSettings) -> str:
    """What `score` would do, in lines; nothing is written."""
    found = looked_at(source, settings)
    shown = [
        f"{printable(photo.name)} -> {settings.output / files_of(photo.target, settings.variants)[0]}"
        + (f" and {settings.variants - 1} more variants" if settings.variants > 1 else "")
        for photo in found.left[:_SHOWN]
    ]
    if len(found.left) > _SHOWN:
        shown.append(f"and {len(found.left) - _SHOWN} more")
    return "\n".join(
        [
            *found.words,
            f"{_counted(len(found.left), 'photograph')} would be coloured with {settings.model_folder} "
            f"(weights {settings.weights_sha256[:16]}), {_counted(len(found.plan.skipped), 'file')} skipped",
            *shown,
        ]
    )


def colorize(photos: Iterable[Path], settings: ScoreSettings) -> Finished:
    """Colour a few photographs to NAME-coloured.png, without a manifest.

    Raises:
        TintlabError: two photographs of one name would overwrite each other.
    """
    suffix = SUFFIXES[settings.file_format]
    planned = [PlannedPhoto(path, str(path), Path(f"{path.stem}-coloured{suffix}")) for path in photos]
    names = Counter(photo.target for photo in planned)
    for photo in planned:
        if names[photo.target] > 1:
            raise TintlabError(
                f"{photo.source} and another photo would both become {photo.target}: give them apart"
            )
    colorizer = load_colorizer(settings)
    shown = console.progress(planned, "photos", "colouring", len(planned))
    records = [score_photo(photo, colorizer, settings) for photo in shown]
    bad = {record.input: record.reason for record in records if record.outcome == "quarantined"}
    return Finished(len(records) - len(bad), bad, ())


def settings_for(output: Path, spec: str | None, options: Options) -> ScoreSettings:
    """Resolve a model, once for a whole scoring.

    Args:
        output: the folder of the coloured photographs.
        spec: see `models.locate`; None is the champion, or the pipeline's model where there is none.
        options: replace what the model's config says.

    Raises:
        TintlabError: there is no such model, MLflow can't be reached, or an option fits no other.
    """
    if options.depth not in (8, 16):
        raise TintlabError(f"--depth {options.depth}: give 8 or 16 bits a channel")
    if options.depth == 16 and options.file_format != "png":
        raise TintlabError(f"{options.file_format} has 8 bits a channel: for --depth 16 use --format png")
    located = _located(output, spec)
    config = read_json(located.folder / paths.MODEL_CONFIG)
    used = Settings.of_config(config, located.folder)
    if options.variants:
        noise_vectors.draw(options.seed, "0", 0, int(config.get("z_dim", 0)))  # refused before it starts
    return ScoreSettings(
        output=output,
        model_folder=located.folder,
        model="local" if located.version is None else located.uri,
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
        max_megapixels=max_megapixels(),
        workers=options.workers,
        seed=options.seed,
        variants=options.variants,
    )


def _located(output: Path, spec: str | None) -> models.LocatedModel:
    """The model; that of an earlier run to `output` where MLflow, which knows what an alias means, is away."""
    try:
        return models.locate(spec or models.default_spec())
    except TrackingUnavailableError:
        known = _recorded(output)
        if not known or (spec and known["model"] != spec):
            raise
        folder, weights = Path(known["model_folder"]), known["weights_sha256"]
        if models.local_hashes(folder)[paths.WEIGHTS] != weights:
            raise
        uri = known["model"] if known["model_version"] else str(folder)
        return models.LocatedModel(folder, weights, known["model_version"], known["run_id"], uri)


def _described(settings: ScoreSettings) -> dict[str, Any]:
    model = {name: getattr(settings, name) for name in ("model", "model_version", "run_id")}
    return model | {"model_folder": str(settings.model_folder.absolute())} | settings.deciding()


def _recorded(output: Path) -> dict[str, Any]:
    """What `_described` said of the last scoring to a folder; empty for a new one."""
    path = output / STATE / SETTINGS
    return read_json(path) if path.exists() else {}


def max_megapixels() -> float:
    """The limit of params.yaml, or the default where there is none."""
    return load_params().photos.max_megapixels if paths.PARAMS.exists() else DEFAULT_MAX_MEGAPIXELS


def looked_at(source: str | Path, settings: ScoreSettings) -> Begun:
    """What `begun` would do; nothing is written."""
    return _begun(_planned(source, settings), settings)


def _planned(source: str | Path, settings: ScoreSettings) -> Plan:
    planned = plan.plan(source, settings.output, SUFFIXES[settings.file_format], settings.variants)
    if not planned.photos:
        raise TintlabError(f"there are no photographs in {source}")
    return planned


def _begun(plan: Plan, settings: ScoreSettings) -> Begun:
    changes = _changes(settings)
    left = plan.photos if changes else tuple(remaining(plan.photos, settings))
    words = [f"starting anew, for {' and '.join(changes)}"] if changes else []
    if 0 < len(left) < len(plan.photos):
        words.append(f"going on: {len(plan.photos) - len(left)} of {len(plan.photos)} photographs are done")
    return Begun(settings, plan, left, tuple(words))


@contextmanager
def begun(source: str | Path, settings: ScoreSettings) -> Iterator[Begun]:
    """Hold the output folder, and find out what is left to do.

    Another model or another parameter than the last time starts anew: the earlier manifest goes, and coloured
    files are replaced one by one.

    Args:
        source: see `plan.plan`.
        settings: see `settings_for`.

    Raises:
        HeldError: another scoring of this folder is under way.
        TintlabError: there are no photographs.
    """
    plan = _planned(source, settings)  # what is refused leaves nothing behind
    state = settings.output / STATE
    with exclusive(state / _LOCK, f"another scoring to {settings.output}"):
        found = _begun(plan, settings)
        if _changes(settings):
            for path in parts_folder(settings.output).glob("*"):
                path.unlink()
        write_json(state / SETTINGS, _described(settings))
        _note_skipped(settings.output, found.plan.skipped)
        yield found


def finished(work: Begun) -> Finished:
    """Merge the parts; tell the drift of all that was seen, here and in MLflow."""
    manifest = merge_parts(work.settings.output)
    names = {photo.name for photo in work.plan.photos}
    rows = manifest[manifest["input"].isin(names)]
    bad = rows[rows["outcome"] == "quarantined"]
    coloured = rows[rows["outcome"] == "coloured"]
    return Finished(
        len(coloured),
        dict(zip(bad["input"], bad["reason"], strict=True)),
        _drift_words(work.settings, rows) if len(coloured) else (),
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _note_skipped(output: Path, names: Iterable[str]) -> None:
    known = set(read_records(output, _SKIPPED_PART)["input"])
    with part_writer(output, _SKIPPED_PART) as writer:
        for name in names:
            if name not in known:
                writer.add(Record(name, "skipped", "no photograph by its suffix"))


def _changes(settings: ScoreSettings) -> list[str]:
    """What decides the result and differs from the last scoring to this folder; nothing for a new one."""
    before, now = _recorded(settings.output), settings.deciding()
    if not before:
        return []
    changed = [name for name, value in now.items() if before.get(name) != value]
    if "weights_sha256" in changed:
        return [f"the model is another one ({before.get('model')}, now {settings.model})"]
    return [f"{name} was {before.get(name)} and is {now[name]}" for name in changed]


def _drift_words(settings: ScoreSettings, rows: pd.DataFrame) -> tuple[str, ...]:
    """The verdict, and where it is recorded; a fault is a word too, for the photographs are done."""
    rules = load_params().drift if paths.PARAMS.exists() else None
    try:
        report = drift_report.examine(rows, drift_report.reference_of(settings.model_folder), rules)
        tags = drift_report.manifest_tags(rows)
        return report.line(), drift_report.log_report(report, settings.output / MANIFEST, tags)
    except TintlabError as error:
        return (f"drift: not told: {error}",)
