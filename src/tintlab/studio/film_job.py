"""A film's colouring in the background: it can be followed and cancelled, and goes on where it was cancelled."""

import logging
import threading
import time
from pathlib import Path
from typing import Any, Literal

from tintlab.scoring.film import colour_shot, find_finished, finish_colouring, open_colouring
from tintlab.scoring.film_work import FilmSettings
from tintlab.system import console
from tintlab.system.errors import TintlabError

State = Literal["waiting", "colouring", "done", "failed", "cancelled"]

_log = logging.getLogger(__name__)


class _CancelledError(Exception):
    pass


class FilmJob:
    """One colouring.

    Args:
        settings: see `FilmSettings`.
        frames: how many the film has.
    """

    def __init__(self, settings: FilmSettings, frames: int) -> None:
        self._settings, self._frames = settings, frames
        self._state: State = "waiting"
        self._fault = ""
        self._done = self._already = 0
        self._began = 0.0
        self._cancelling = threading.Event()
        self._over = threading.Event()

    @property
    def is_busy(self) -> bool:
        """Whether it waits or runs."""
        return not self._over.is_set()

    @property
    def output(self) -> Path | None:
        """The coloured film, when it is done."""
        return self._settings.output if self._state == "done" else None

    def cancel(self) -> None:
        """Ask it to end."""
        self._cancelling.set()
        if self._state == "waiting":
            self._state = "cancelled"
            self._over.set()

    def wait(self, seconds: float = 60.0) -> None:
        """Wait for its end."""
        self._over.wait(seconds)

    def run(self) -> None:
        """Colour the film; to be called once, in a thread."""
        if self._over.is_set():
            return
        self._state = "colouring"
        try:
            self._colour()
            self._state = "done"
        except _CancelledError:
            self._state = "cancelled"
        except TintlabError as error:
            # The folder's name says nothing to who sent the film.
            self._fault = str(error).replace(f"{self._settings.output.parent}/", "")
            self._state = "failed"
        except Exception:
            _log.exception("colouring a film failed")
            self._fault, self._state = "the server has a fault: its log says more", "failed"
        finally:
            self._over.set()

    def facts(self) -> dict[str, Any]:
        """How far it is: `seconds_left` is None until that is known."""
        new = self._done - self._already
        seconds = time.monotonic() - self._began if self._began else 0.0
        rate = new / seconds if new and seconds else 0.0
        is_running = self._state == "colouring" and rate > 0
        return {
            "state": self._state,
            "done": self._done,
            "frames": self._frames,
            "rate": round(rate, 2),
            "seconds_left": round((self._frames - self._done) / rate) if is_running else None,
            "fault": console.printable(self._fault)[:200],
        }

    def _colour(self) -> None:
        if find_finished(self._settings):
            self._done = self._frames
            return
        with open_colouring(self._settings) as work:
            self._frames = work.frames
            self._done = self._already = work.frames - work.frames_left
            self._began = time.monotonic()
            for shot in work.shots:
                colour_shot(work, shot, self._advance)
            finish_colouring(work)

    def _advance(self, frames: int) -> None:
        self._done += frames
        if self._cancelling.is_set():
            raise _CancelledError
