"""Colour a film: the work behind `tintlab film`, from finding the shots to the finished file.

`open_colouring` locks the film's state folder beside the output and finds its shots. `colour_shot` colours one,
in any process. It writes its results as parts, so that a second call resumes where the first was killed.
`finish_colouring` joins the parts and the sound.
"""

import dataclasses
import io
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tintlab.imaging import color
from tintlab.inference.guided import GuidedColours, coloured, coloured_deep
from tintlab.scoring import film_work
from tintlab.scoring.chunk import load_colorizer
from tintlab.scoring.film_carry import Carrier, Guide
from tintlab.scoring.film_file import Film, Frame, FrameReader, open_film
from tintlab.scoring.film_guides import read_guides
from tintlab.scoring.film_parts import check_output, join_parts, write_part
from tintlab.scoring.film_shots import Shot, find_shots
from tintlab.scoring.film_trace import read_comment
from tintlab.scoring.film_work import Colouring, FilmSettings, make_manifest, manifest_of
from tintlab.scoring.threads import cpus
from tintlab.system import console
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_path, file_sha256, read_json, write_bytes, write_json, write_text
from tintlab.system.locks import exclusive

_PLAN, _SETTINGS, _LOCK = "plan.json", "settings.json", "lock"


def colour_film(settings: FilmSettings, announce: Callable[[str], None] = print) -> str:
    """Colour a film in this process; what came of it, in a line.

    Raises:
        TintlabError: it can't be read or written.
    """
    began = time.monotonic()
    if done := find_finished(settings):
        return done
    with open_colouring(settings) as work:
        for word in work.words:
            announce(word)
        nothing: tuple[None, ...] = ()
        with console.progress(nothing, "frames", "colouring", work.frames_left) as bar:
            for shot in work.shots:
                colour_shot(work, shot, bar.update)
        return finish_colouring(work, time.monotonic() - began)


@contextmanager
def open_colouring(settings: FilmSettings) -> Iterator[Colouring]:
    """Lock a film's state, and find its shots.

    Raises:
        HeldError: the same output is being written.
        TintlabError: the film can't be read, or the output can't hold it.
    """
    film = open_film(settings.source)
    coding = dataclasses.replace(settings.coding, deep=film.bits > 8)
    settings = dataclasses.replace(settings, coding=coding)
    check_output(settings.output, coding, film)
    if settings.output.exists() and settings.output.samefile(settings.source):
        raise TintlabError(f"{settings.output} is the film itself: choose another name")
    sha256 = file_sha256(settings.source)
    described = {"comment": settings.comment(sha256)}
    with exclusive(settings.state / _LOCK, f"another colouring to {settings.output}"):
        recorded = settings.state / _SETTINGS
        words = []
        if recorded.exists() and read_json(recorded) != described:
            words.append("starting over, because the film, the model or an option is another one")
        if not recorded.exists() or words:
            for path in settings.state.iterdir():
                if path.name != _LOCK:
                    path.unlink()
            write_json(recorded, described)
        plan = settings.state / _PLAN
        if not plan.exists():
            write_json(plan, _plan(film))
        found = read_json(plan)
        shots = tuple(Shot(*one) for one in found["shots"])
        guides = read_guides(settings.guides, settings.like, (film.height, film.width), len(shots))
        words += found["words"]
        yield Colouring(settings, film, shots, found["timed"], sha256, guides, tuple(words))


def _plan(film: Film) -> dict[str, Any]:
    """Find the shots; a pass over the film."""
    reader = FrameReader(film)
    frames = console.progress(reader.read(), "frames", "finding the cuts", film.frames or None)
    shots = [dataclasses.astuple(shot) for shot in find_shots(frames)]
    count = sum(shot[2] for shot in shots)
    if not count:
        raise TintlabError(f"{film.path}: no frame of its video can be read")
    words = [f"{count} frames in {len(shots)} shots"]
    if reader.damaged:
        words.append(
            f"the film is damaged or cut short: {count} frames of its {film.frames or 'video'} can be read"
        )
    elif count < film.frames:
        words.append(f"the film is cut short: {count} of {film.frames} frames are there")
    if film.left_out:
        words.append(f"left out: {', '.join(film.left_out)}")
    return {"shots": shots, "timed": reader.is_timed, "words": words}


def colour_shot(work: Colouring, shot: Shot, advance: Callable[[int], object] = int) -> None:
    """Colour a shot, from where an earlier call was killed.

    Args:
        work: see `open_colouring`; also in another process.
        shot: one of its shots.
        advance: called with the number of frames that are done.
    """
    settings = work.settings
    done = len(work.parts(shot)) * film_work.SEGMENT
    if done >= shot.frames:
        return
    colorizer = load_colorizer(settings.score)
    state = dict(np.load(work.state_path(shot, done // film_work.SEGMENT - 1))) if done else None
    carrier = Carrier(colorizer, work.guides.get(shot.number, Guide()), state)
    # The colours look ahead; a second reader is slower than to keep frames, and needs no memory.
    ahead = carrier.colours(frame.lightness for frame in _frames(work, shot, done))
    coloured = zip(_frames(work, shot, done), ahead, strict=False)
    with ThreadPoolExecutor(cpus()) as pool:
        for begin in range(done, shot.frames, film_work.SEGMENT):
            count = min(film_work.SEGMENT, shot.frames - begin)
            pixels = _pixels(islice(coloured, count), pool, settings.coding.takes_deep, advance)
            # The part appears last: where it is, the state after it is too.
            part = work.part_path(shot, begin // film_work.SEGMENT)
            with atomic_path(part) as temporary:
                written = write_part(temporary, work.film, settings.coding, pixels)
                if written != count:
                    raise TintlabError(f"{work.film.path}: shot {shot.number} has fewer frames than before")
                _write_state(work.state_path(shot, begin // film_work.SEGMENT), carrier)


def _frames(work: Colouring, shot: Shot, done: int) -> Iterator[Frame]:
    """A shot's frames but for the first ones that are done."""
    reader = FrameReader(work.film)
    frames = reader.read(shot.start, done) if work.is_timed else reader.read(None, shot.first + done)
    return islice(frames, shot.frames - done)


def _write_state(path: Path, carrier: Carrier) -> None:
    file = io.BytesIO()
    np.savez(file, **carrier.state())  # type: ignore[arg-type]
    write_bytes(path, file.getvalue())


def _pixels(
    frames: Iterable[tuple[Frame, tuple[color.Float, color.Float]]],
    pool: ThreadPoolExecutor,
    deep: bool,
    advance: Callable[[int], object],
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Coloured frames in turn: the colours in this thread, the full size in others, a few frames ahead."""
    join = coloured_deep if deep else coloured

    def at_full_size(frame: Frame, ab: color.Float, small: color.Float) -> NDArray[Any]:
        return join(frame.lightness, GuidedColours(ab, small, frame.lightness.shape))

    ahead: deque[tuple[int, Future[NDArray[Any]]]] = deque()
    for frame, colours in frames:
        ahead.append((frame.pts, pool.submit(at_full_size, frame, *colours)))
        if len(ahead) > cpus():
            yield _result(ahead)
            advance(1)
    while ahead:
        yield _result(ahead)
        advance(1)


def _result(ahead: "deque[tuple[int, Future[NDArray[Any]]]]") -> tuple[int, NDArray[Any]]:
    pts, future = ahead.popleft()
    return pts, future.result()


def finish_colouring(work: Colouring, seconds: float = 0.0) -> str:
    """Join the parts and the sound, write the manifest, remove the state; what came of it, in a line.

    Raises:
        TintlabError: a shot is not done, or the output can't be written.
    """
    settings = work.settings
    parts = [work.parts(shot) for shot in work.shots]
    for shot in work.shots:
        if work.frames_left_of(shot):
            raise TintlabError(f"shot {shot.number} is not done: call this again")
    comment = settings.comment(work.source_sha256)
    join_parts(
        settings.output, work.film, settings.coding, [part for done in parts for part in done], comment
    )
    write_text(manifest_of(settings.output), make_manifest(work))
    shutil.rmtree(settings.state)
    rate = f", {work.frames / seconds:.1f} frames a second" if seconds > 0 else ""
    return f"{settings.output}: {work.frames} frames in {len(work.shots)} shots coloured{rate}"


def find_finished(settings: FilmSettings) -> str:
    """A line where the output is there and says that it was made in this way; else empty.

    Raises:
        TintlabError: the film can't be read.
    """
    if settings.state.exists() or not manifest_of(settings.output).exists() or not settings.output.exists():
        return ""
    try:
        said = read_comment(settings.output)
    except TintlabError:
        return ""
    if said != settings.comment(file_sha256(settings.source)):
        return ""
    return f"{settings.output}: is done already, from the same film by the same model and options"
