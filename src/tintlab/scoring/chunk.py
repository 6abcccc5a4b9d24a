"""Colour a list of photographs: write their coloured files, with their origin, and their rows of the manifest.

Each worker, a thread, takes one photograph from its file to its coloured file: while one waits for the disk
or decodes, others are in the network or encode, and nothing is handed over. The network sees one photograph
at a time: batches of several were no faster on CPUs (docs/decisions.md), and would tie photographs together.
"""

import contextlib
import errno
import functools
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tintlab.imaging import descan, statistics
from tintlab.imaging.color import Float
from tintlab.imaging.encoding import EncodingError, encode
from tintlab.imaging.photos import PhotoError, megapixels_of, read_photo
from tintlab.inference import noise_vectors
from tintlab.inference.colorizer import Canvas, Colorizer, Settings
from tintlab.inference.engines import EngineChoice
from tintlab.inference.guided import GuidedColours, coloured, coloured_deep
from tintlab.inference.hints import Hint, describe_hints
from tintlab.inference.working_size import reduced, working_shape
from tintlab.scoring import mirror
from tintlab.scoring.hint_lists import note_hints, take_hints
from tintlab.scoring.manifest import Record, open_part, read_records
from tintlab.scoring.plan import PlannedPhoto
from tintlab.scoring.settings import ScoreSettings
from tintlab.scoring.targets import as_text, files_of
from tintlab.scoring.threads import Budget, cpus, one_thread_each, run_in_threads
from tintlab.scoring.transfer import (
    MEGABYTES_AT_ONCE,
    Original,
    SavedFile,
    SavedFiles,
    local_original,
    save,
    size_and_time,
    take_original,
)
from tintlab.sources.store_faults import StoreError
from tintlab.sources.stored_file import StoredFile
from tintlab.system import console
from tintlab.system.files import file_sha256
from tintlab.system.memory import keep_freed_memory

MEGAPIXELS_AT_ONCE = 60.0
"""Photographs of so many megapixels together are in memory at a time, or one that is larger."""

_FEW = 50  # coloured files that a store is asked for one by one
_WAITING_FOR_STORE = 6  # workers beyond the CPUs: requests take longer than disks
_SUMMARY_SIZE = 224  # see `statistics.summarize`

# Faults that the next photograph would meet, too: the run stops, and resumes when there is room again.
_STOPS_ALL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENODEV}


@dataclass(frozen=True)
class ChunkSummary:
    """The results of the photographs of a chunk, from this call and from earlier ones.

    Attributes:
        coloured: how many.
        quarantined: how many can't be used.
        seconds: that it took now.
    """

    coloured: int
    quarantined: int
    seconds: float


def score_chunk(
    photos: Iterable[PlannedPhoto], settings: ScoreSettings, part_name: str, show_progress: bool = False
) -> ChunkSummary:
    """Colour photographs; a row each goes to the part of the manifest that bears this name.

    Called again after it was killed, it goes on: only photographs that were in flight are coloured twice.

    Args:
        photos: each in one chunk only.
        settings: the same for all chunks of an output.
        part_name: of this chunk, and no other.
        show_progress: draw a bar.

    Raises:
        HeldError: this part is being scored already.
        TintlabError: the model can't be loaded.
        OSError: the disk is full or failing.
    """
    began = time.monotonic()
    wanted = list(photos)
    left = list_remaining(wanted, settings, part_name)
    outcomes = {"coloured": len(wanted) - len(left), "quarantined": 0}
    colorizer = load_colorizer(settings)
    keep_freed_memory()
    budget, in_memory = Budget(MEGAPIXELS_AT_ONCE), Budget(MEGABYTES_AT_ONCE)
    on_part = functools.partial(mirror.push_part, settings.store) if settings.store else lambda _: None
    with open_part(settings.output, part_name, on_part) as writer, one_thread_each():

        def work(photo: PlannedPhoto) -> Record:
            with take_original(photo, settings, in_memory) as original:
                megapixels = megapixels_of(original.content, settings.max_megapixels, photo.page)
                with budget.take(megapixels):
                    record = score_photo(photo, colorizer, settings, original)
            writer.add(record)
            return record

        records = run_in_threads(
            work, left, settings.workers or cpus() + (_WAITING_FOR_STORE if settings.uses_store() else 1)
        )
        with contextlib.closing(records):
            shown = console.progress(records, "photos", "colouring", len(left)) if show_progress else records
            for record in shown:
                outcomes[record.outcome] += 1
    return ChunkSummary(outcomes["coloured"], outcomes["quarantined"], time.monotonic() - began)


def score_photo(
    photo: PlannedPhoto, colorizer: Colorizer, settings: ScoreSettings, original: Original | None = None
) -> Record:
    """Take one photograph from its file to its coloured file, which appears whole or not at all.

    Args:
        photo: which one, and what it becomes.
        colorizer: see `load_colorizer`.
        settings: how it is coloured.
        original: as `take_original` gives it; None for a file on disk.

    Raises:
        OSError: the disk is full or failing.
        StoreError: a store refuses, or stays away.
    """
    began = time.monotonic()
    original = original or local_original(photo.source)
    record = Record(
        photo.name,
        "quarantined",
        page=photo.page,
        input_bytes=original.size,
        input_mtime_ns=original.mtime_ns,
        input_etag=original.etag or None,
        model_version=settings.model_version,
        weights_sha256=settings.weights_sha256,
        engine=settings.engine.text(),
    )
    try:
        record = _colour(record, photo, original, colorizer, settings)
    except StoreError:
        raise
    except (PhotoError, EncodingError) as error:
        record = replace(record, reason=str(error))
    except OSError as error:
        if error.errno in _STOPS_ALL:
            raise
        record = replace(record, reason=f"can't be written: {error.strerror or error}")
    except Exception as error:  # no fault of a single photograph may stop a night's work
        reason = console.printable(console.one_line(error))[:200]
        record = replace(record, reason=f"can't be coloured: {type(error).__name__}: {reason}")
    return replace(record, seconds=round(time.monotonic() - began, 4))


def list_remaining(
    photos: Iterable[PlannedPhoto], settings: ScoreSettings, part_name: str = ""
) -> list[PlannedPhoto]:
    """The photographs that are still to be done, by all parts of the manifest or those of one name.

    Done is one whose coloured file is there with the recorded size, and whose source has not changed since.
    One that was quarantined is tried again.
    """
    rows = read_records(settings.output, part_name)
    known = rows[rows["outcome"] == "coloured"].set_index(["input", "page"]).to_dict("index")
    saved = SavedFiles(settings, many=len(known) > _FEW)

    def is_done(photo: PlannedPhoto) -> bool:
        row = known.get((photo.name, photo.page))
        return row is not None and _is_done(photo, row, settings, saved)

    return [photo for photo in photos if not is_done(photo)]


def _is_done(
    photo: PlannedPhoto, row: Mapping[Hashable, Any], settings: ScoreSettings, saved: SavedFiles
) -> bool:
    first, *others = files_of(photo.target, settings.variants)
    if (row["hints"] if isinstance(row["hints"], str) else "") != note_hints(settings.hints, photo):
        return False
    if row["output"] != as_text(first) or saved.size(first) != row["output_bytes"]:
        return False
    if any(saved.size(other) is None for other in others):
        return False
    if photo.stored is not None:
        return _is_same(photo.stored, row)
    size, changed = size_and_time(photo.source)
    if size != row["input_bytes"]:
        return False
    # A copy of the archive has other times.
    return bool(changed == row["input_mtime_ns"] or _hash(photo.source) == row["input_sha256"])


def _is_same(stored: StoredFile, row: Mapping[Hashable, Any]) -> bool:
    """Whether a store still has the content that a row is about: by its ETag, else by size and time."""
    if stored.size is not None and stored.size != row["input_bytes"]:
        return False
    if stored.etag and isinstance(row["input_etag"], str):
        return bool(stored.etag == row["input_etag"])
    return stored.mtime_ns is not None and bool(stored.mtime_ns == row["input_mtime_ns"])


def _colour(
    record: Record, photo: PlannedPhoto, original: Original, colorizer: Colorizer, settings: ScoreSettings
) -> Record:
    if original.fault:
        raise PhotoError(original.fault)
    decoded = read_photo(original.content, settings.max_megapixels, photo.page)
    lightness, metadata, notes, form = decoded.lightness(), decoded.metadata, decoded.notes, decoded.form
    record = replace(
        record,
        descan=descan.even_out(lightness).text() if settings.descan else "",
        hints=note_hints(settings.hints, photo),
        width=decoded.width,
        height=decoded.height,
        more_pages=decoded.more_pages,
        input_sha256=original.sha256(),
    )
    del decoded  # large scans: each array goes as soon as it can
    small = reduced(lightness, working_shape(lightness.shape, settings.working_size))
    # What the network sees has all that a summary looks at, unless it sees very little.
    seen = small if settings.working_size >= _SUMMARY_SIZE else lightness
    figures = statistics.summarize(seen) | {"megapixels": lightness.size / 1e6}
    files = files_of(photo.target, settings.variants)
    hints = take_hints(settings.hints, photo, lightness.shape)
    variants = _predict(colorizer, small, lightness.shape, _draw_noise(record, colorizer, settings), hints)
    saved, left_out = dict[int, SavedFile](), list[str]()
    # The first file is written last: where it is, all are.
    for index in reversed(range(len(files))):
        colours = GuidedColours(variants[index], small, lightness.shape)
        pixels = (coloured_deep if settings.depth == 16 else coloured)(lightness, colours)
        del colours
        if index == 0:
            del lightness, seen
        origin = replace(
            settings.provenance(record.input_sha256, index + 1 if settings.variants else 0, photo.page),
            descan=record.descan,
            hints=describe_hints(hints),
            source_form=form,
        )
        pieces, left_out = encode(pixels, settings.file_format, metadata, origin, settings.quality)
        del pixels
        saved[index] = save(settings, files[index], pieces, f"{_identify(record)} {record.hints}".strip())
    return replace(
        record,
        outcome="coloured",
        notes="; ".join([*notes, *left_out]),
        output=as_text(files[0]),
        output_sha256=saved[0].sha256,
        output_bytes=saved[0].size,
        more_sha256=" ".join(saved[index].sha256 for index in range(1, len(files))),
        figures=figures,
    )


def _predict(
    colorizer: Colorizer, small: Float, shape: tuple[int, ...], noise: Float | None, hints: Sequence[Hint]
) -> Float:
    """ab `(k, h, w, 2)` at working size: once for each noise vector."""
    if not hints:
        return colorizer.predict_variants(small, noise)
    canvas = Canvas(colorizer, small, shape)
    return np.stack([canvas.working_ab(z, hints) for z in ([None] if noise is None else noise)])


def _draw_noise(record: Record, colorizer: Colorizer, settings: ScoreSettings) -> Float | None:
    if not settings.variants:
        return None
    return noise_vectors.draw(settings.seed, _identify(record), settings.variants, colorizer.z_dim)


def _identify(record: Record) -> str:
    """The photograph by its content: a file's sha256, and its page where there are several."""
    return f"{record.input_sha256}{record.page:04x}" if record.page else record.input_sha256


def _hash(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise PhotoError(f"can't be opened: {error.strerror}") from error


@functools.lru_cache(maxsize=1)
def _load(folder: Path, weights_sha256: str, engine: EngineChoice, workers: int) -> Colorizer:
    # The sum is only a key: the caller that located the model has verified it.
    return Colorizer.load(folder, engine, workers)


def load_colorizer(settings: ScoreSettings) -> Colorizer:
    """The model that these settings name; kept for the next chunk.

    Raises:
        TintlabError: it can't be loaded.
    """
    # More threads in the network than CPUs would only wait for each other.
    workers = min(settings.workers or cpus(), cpus())
    loaded = _load(settings.model_folder, settings.weights_sha256, settings.engine, workers)
    return loaded.with_settings(
        Settings(
            working_size=settings.working_size,
            saturation=settings.saturation,
            flip_average=settings.flip_average,
        )
    )
