"""Keep the photographs that pages have open: in memory only, within limits, until an hour after their last use.

Nothing is written to the disk, so a killed server leaves no files. Ids are random, so they can't be guessed or
name a path.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from tintlab.studio.limits import Limits
from tintlab.studio.models import Model
from tintlab.studio.photo import OpenPhoto
from tintlab.studio.problems import Problem
from tintlab.studio.variants import DRAWN_SIDE, Draws, draw


@dataclass
class Held:
    """A photograph of a page.

    Attributes:
        data: the file's bytes.
        used: when, on the monotonic clock.
        opened: decoded; None where it was put away for others.
        draws: the last ones, and the model's key.
    """

    data: bytes
    used: float
    opened: OpenPhoto | None = None
    draws: tuple[str, Draws] | None = None


class Store:
    """Photographs by their ids; can be used from several threads.

    Args:
        limits: see `Limits`.
        clock: in seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def held_bytes(self) -> int:
        """Of all files."""
        return sum(len(held.data) for held in self._held.values())

    def add(self, data: bytes) -> str:
        """Decode and keep a photograph; its id.

        Raises:
            PhotoError: it can't be used.
            Problem: there is no room for it, as all others were used within the hour.
        """
        photo = OpenPhoto(data, self._limits.max_megapixels)
        with self._lock:
            self.sweep()
            if len(self) >= self._limits.held_photos or self.held_bytes + len(data) > self._limits.held_bytes:
                raise Problem(
                    507, "too many photographs are open: remove some from the list, or wait for an hour"
                )
            photo_id = secrets.token_urlsafe(16)
            self._held[photo_id] = Held(data, self._clock(), photo)
            self._put_others_away(photo_id)
            return photo_id

    def open(self, photo_id: str) -> OpenPhoto:
        """A photograph, decoded again where it was put away.

        Raises:
            Problem: there is none of that id.
        """
        held = self._find(photo_id)
        opened = held.opened
        if opened is None:
            opened = OpenPhoto(held.data, self._limits.max_megapixels)
            with self._lock:
                held.opened = opened
                self._put_others_away(photo_id)
        return opened

    def data(self, photo_id: str) -> bytes:
        """The bytes of a photograph's file.

        Raises:
            Problem: there is none of that id.
        """
        return self._find(photo_id).data

    def draws(self, photo_id: str, model: Model, seed: int) -> Draws:
        """Many small colourings of a photograph, kept for the next question.

        Raises:
            Problem: there is no such photograph.
        """
        held = self._find(photo_id)
        if held.draws is None or held.draws[0] != model.key or held.draws[1].seed != seed:
            photo = self.open(photo_id)
            held.draws = model.key, draw(model, photo.lightness_at(DRAWN_SIDE), photo.sha256, seed)
        return held.draws[1]

    def touch(self, photo_id: str) -> None:
        """Keep a photograph for another hour.

        Raises:
            Problem: there is none of that id.
        """
        self._find(photo_id)

    def remove(self, photo_id: str) -> None:
        """Forget a photograph.

        Raises:
            Problem: there is none of that id.
        """
        with self._lock:
            self._find(photo_id)
            del self._held[photo_id]

    def sweep(self) -> int:
        """Forget what was not used for an hour; how many."""
        with self._lock:
            oldest = self._clock() - self._limits.held_seconds
            old = [photo_id for photo_id, held in self._held.items() if held.used < oldest]
            for photo_id in old:
                del self._held[photo_id]
            return len(old)

    def _find(self, photo_id: str) -> Held:
        with self._lock:
            held = self._held.get(photo_id)
            if held is None:
                raise Problem(404, "this photograph is not open any more: add it to the list once more")
            held.used = self._clock()
            self._held.move_to_end(photo_id)
            return held

    def _put_others_away(self, photo_id: str) -> None:
        """Keep the decoded photographs below their limit: those that were used last stay."""
        room = self._limits.open_megapixels
        for other, held in reversed(self._held.items()):
            if held.opened is None:
                continue
            room -= held.opened.megapixels
            if room < 0 and other != photo_id:
                held.opened = None
                held.draws = None
