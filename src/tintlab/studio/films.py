"""The films that pages have open: in a temporary folder, bounded, and gone an hour after their last use.

The folder is made for the first film, and goes when the server ends. One that a killed server left goes when
another server has its first film.
"""

import io
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image

from tintlab.imaging.color import lightness_to_grey, to_bytes
from tintlab.scoring.film_file import Film, Frame, FrameReader, open_film
from tintlab.scoring.film_shots import Shot, find_shots
from tintlab.scoring.film_work import FilmSettings
from tintlab.studio.film_job import FilmJob
from tintlab.studio.limits import Limits
from tintlab.studio.problems import Problem
from tintlab.system.files import temporary_folder

SOURCE = "source"
"""The film's name in its folder: nothing that a client sends is part of a path."""


@dataclass
class HeldFilm:
    """A film of a page.

    Attributes:
        folder: of the film and what is made of it.
        used: when, on the monotonic clock.
        film: what its header says; None while it is being sent.
        shots: in turn.
        job: its colouring, or None.
    """

    folder: Path
    used: float
    film: Film | None = None
    shots: tuple[Shot, ...] = ()
    job: FilmJob | None = None


class Films:
    """Films by their ids; can be used from several threads.

    Args:
        limits: see `Limits`.
        clock: in seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._held: dict[str, HeldFilm] = {}
        self._lock = threading.RLock()
        self._folder: Path | None = None
        self._ours = ExitStack()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="film")

    def __len__(self) -> int:
        return len(self._held)

    def reserve(self) -> tuple[str, Path]:
        """Make room for a film: its id, and the file that it goes to.

        Raises:
            Problem: there is none, as all others were used within the hour.
        """
        with self._lock:
            self.sweep()
            if len(self) >= self._limits.held_films:
                raise Problem(507, "too many films are open: remove one from the list, or wait for an hour")
            film_id = secrets.token_urlsafe(16)
            folder = self._root() / secrets.token_hex(8)
            folder.mkdir()
            self._held[film_id] = HeldFilm(folder, self._clock())
            return film_id, folder / SOURCE

    def open(self, film_id: str) -> HeldFilm:
        """Look at a film that was sent, and find its shots.

        Raises:
            TintlabError: it can't be read.
            Problem: it is too long.
        """
        held = self.find(film_id)
        film = open_film(held.folder / SOURCE)
        self._check_length(film.frames, float(film.frames / film.rate) if film.rate else 0.0)
        reader = FrameReader(film)
        held.shots = tuple(find_shots(self._counted(reader.read(), film)))
        if not held.shots:
            raise Problem(422, "no frame of this film can be read")
        held.film = film
        return held

    def key_frames(self, held: HeldFilm) -> Iterator[bytes]:
        """The first frame of each of the first shots, as PNG."""
        assert held.film is not None
        for shot in held.shots[: self._limits.film_shots]:
            frame = next(FrameReader(held.film).read(shot.start), None)
            if frame is not None:
                file = io.BytesIO()
                grey = to_bytes(lightness_to_grey(frame.lightness))
                Image.fromarray(grey).save(file, "PNG", compress_level=1)
                yield file.getvalue()

    def find(self, film_id: str) -> HeldFilm:
        """A film.

        Raises:
            Problem: there is none of that id.
        """
        with self._lock:
            held = self._held.get(film_id)
            if held is None:
                raise Problem(404, "this film is not open any more: add it to the list once more")
            held.used = self._clock()
            return held

    def colour(self, film_id: str, settings: FilmSettings) -> FilmJob:
        """Begin to colour a film; one at a time, the others wait.

        Raises:
            Problem: there is none of that id, or it is being coloured.
        """
        with self._lock:
            held = self.find(film_id)
            if held.job and held.job.is_busy:
                raise Problem(409, "this film is being coloured: wait for it, or cancel it")
            held.job = FilmJob(settings, sum(shot.frames for shot in held.shots))
            self._worker.submit(held.job.run)
            return held.job

    def remove(self, film_id: str) -> None:
        """Forget a film, and cancel its colouring.

        Raises:
            Problem: there is none of that id.
        """
        with self._lock:
            held = self.find(film_id)
            del self._held[film_id]
        _remove(held)

    def sweep(self) -> int:
        """Forget what was not used for an hour and is not being coloured; how many."""
        with self._lock:
            oldest = self._clock() - self._limits.held_seconds
            old = [
                film_id
                for film_id, held in self._held.items()
                if held.used < oldest and not (held.job and held.job.is_busy)
            ]
            for film_id in old:
                _remove(self._held.pop(film_id))
            return len(old)

    def close(self) -> None:
        """Cancel what is under way, and remove the folder."""
        for held in self._held.values():
            if held.job:
                held.job.cancel()
        self._worker.shutdown(wait=True, cancel_futures=True)
        self._ours.close()

    def _root(self) -> Path:
        if self._folder is None:
            self._folder = self._ours.enter_context(temporary_folder("tintlab-studio-films"))
        return self._folder

    def _counted(self, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
        yield from islice(frames, self._limits.film_frames)
        if next(frames, None) is not None:
            self._check_length(self._limits.film_frames + 1, 0.0)

    def _check_length(self, frames: int, seconds: float) -> None:
        limits = self._limits
        if frames > limits.film_frames or seconds > limits.film_seconds:
            raise Problem(
                422,
                f"the film is too long: the studio takes {limits.film_frames} frames and "
                f"{limits.film_seconds / 60:g} minutes, `tintlab film` takes any length",
            )


def _remove(held: HeldFilm) -> None:
    if held.job:
        held.job.cancel()
        held.job.wait()
    shutil.rmtree(held.folder, ignore_errors=True)
