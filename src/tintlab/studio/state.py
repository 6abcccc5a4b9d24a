"""The parts that one server holds: models, photographs, and the limits of simultaneous work."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from tintlab.imaging.photos import megapixels_of
from tintlab.scoring.threads import Budget
from tintlab.studio.films import Films
from tintlab.studio.limits import Limits, Slots
from tintlab.studio.look import Look
from tintlab.studio.metrics import Metrics
from tintlab.studio.models import Models
from tintlab.studio.photo import OpenPhoto
from tintlab.studio.requests import Sent
from tintlab.studio.store import Store


@dataclass(frozen=True)
class Studio:
    """The parts of a server.

    Attributes:
        models: that it offers.
        limits: of what it takes.
        slots: that requests need.
        store: the photographs of its pages.
        films: the films of its pages.
        budget: megapixels in work at a time.
        metrics: what it counts.
    """

    models: Models
    limits: Limits
    slots: Slots
    store: Store
    films: Films
    budget: Budget
    metrics: Metrics

    @contextmanager
    def opening(self, sent: Sent) -> Iterator[tuple[OpenPhoto, Look]]:
        """What came by plain HTTP: the photograph and its look; waits until there is memory for both pictures.

        Raises:
            PhotoError: it can't be used.
            TintlabError: the hints or the reference can't.
        """
        most = self.limits.max_megapixels
        size = megapixels_of(sent.image, most) + (megapixels_of(sent.like, most) if sent.like else 0.0)
        with self.budget.take(size):
            photo = OpenPhoto(sent.image, most)
            yield photo, sent.look(photo.shape, most)


def make_studio(models: Models, limits: Limits) -> Studio:
    """The parts of a new server."""
    slots, store, films, metrics = Slots(limits), Store(limits), Films(limits), Metrics()
    metrics.watch("tintlab_admitted", "Requests with work under way.", lambda: slots.admitted)
    metrics.watch("tintlab_photographs", "Photographs that pages have open.", lambda: len(store))
    metrics.watch("tintlab_photograph_bytes", "Bytes of these photographs.", lambda: store.held_bytes)
    metrics.watch("tintlab_films", "Films that pages have open.", lambda: len(films))
    return Studio(models, limits, slots, store, films, Budget(limits.open_megapixels), metrics)


def _of_app(request: Request) -> Studio:
    return cast(Studio, request.app.state.studio)


StudioOfApp = Annotated[Studio, Depends(_of_app)]
"""The parts of the server that a request came to."""
