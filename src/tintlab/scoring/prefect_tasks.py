"""Prefect tasks that colour the chunks of an archive and the shots of a film.

They are here and not among the flows, because a cluster's machines import a task by its module's name, and they
have only this package.
"""

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import replace

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from tintlab.scoring import mirror
from tintlab.scoring.chunk import ChunkSummary, score_chunk
from tintlab.scoring.film import colour_shot
from tintlab.scoring.film_work import Colouring
from tintlab.scoring.plan import PlannedPhoto
from tintlab.scoring.settings import ScoreSettings
from tintlab.scoring.shared_model import fetch_model
from tintlab.system.errors import TintlabError


def colour_chunk(photos: Sequence[PlannedPhoto], settings: ScoreSettings, part_name: str) -> ChunkSummary:
    """Colour a chunk on a machine that may share only a store with the one that planned it.

    Raises:
        TintlabError: the model's copy in the store is damaged; see also `chunk.score_chunk`.
    """
    if settings.store:
        settings = replace(settings, output=mirror.pull(settings.store))
    if settings.shared_files:
        settings = replace(settings, model_folder=fetch_model(settings))
    return score_chunk(photos, settings, part_name)


# No retries: Dask gives the task of a dead worker to another one, which resumes it.
_colour = task(name="colour", task_run_name="{part_name}", cache_policy=NO_CACHE)(colour_chunk)
_colour_shot = task(name="colour-shot", task_run_name="shot-{shot.number:05d}", cache_policy=NO_CACHE)(
    colour_shot
)


@flow(validate_parameters=False)
def colour_all(photos: Sequence[PlannedPhoto], settings: ScoreSettings, chunk_size: int) -> None:
    """Colour photographs, a task a chunk, by the task runner that it is given.

    Raises:
        TintlabError: the task runner is Dask's, and its scheduler is gone.
    """
    futures = [
        _colour.submit(chunk, settings, part_name(begin, chunk))
        for begin in range(0, len(photos), chunk_size)
        if (chunk := list(photos[begin : begin + chunk_size]))
    ]
    try:
        for future in futures:
            future.result()
    except CancelledError:
        raise TintlabError(
            "the connection to Dask's scheduler was lost: run this again, and it goes on where it was"
        ) from None


@flow(validate_parameters=False)
def colour_shots(work: Colouring) -> None:
    """Colour a film's shots, a task each, by the task runner that it is given."""
    began, left = time.monotonic(), work.frames_left
    todo = [shot for shot in work.shots if work.frames_left_of(shot)]
    futures = [(shot, _colour_shot.submit(work, shot)) for shot in todo]
    for shot, future in futures:
        future.result()
        now, seconds = work.frames_left, time.monotonic() - began
        rate = (left - now) / seconds
        get_run_logger().info(
            "shot %d is done; %d of %d frames, %.1f a second, about %.0f s left",
            *(shot.number, work.frames - now, work.frames, rate, now / max(rate, 1e-9)),
        )


def part_name(begin: int, chunk: Sequence[PlannedPhoto]) -> str:
    """Where a chunk begins, and a hash of its photographs: a later run may cut the archive in other chunks."""
    names = "\0".join(photo.name for photo in chunk)
    return f"chunk-{begin:07d}-{hashlib.sha256(names.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"
