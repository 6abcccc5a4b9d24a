"""What one server holds: models, photographs, and how much is done at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from tintlab.imaging.photos import megapixels_of
from tintlab.scoring.threads import Budget
from tintlab.studio.limits import Limits, Slots
from tintlab.studio.metrics import Metrics
from tintlab.studio.models import Models
from tintlab.studio.photo import OpenPhoto
from tintlab.studio.store import Store


@dataclass(frozen=True)
class Studio:
    """The parts of a server.

    Attributes:
        models: that it offers.
        limits: of what it takes.
        slots: that requests need.
        store: the photographs of its pages.
        budget: megapixels in work at a time.
        metrics: what it counts.
    """

    models: Models
    limits: Limits
    slots: Slots
    store: Store
    budget: Budget
    metrics: Metrics

    @contextmanager
    def opening(self, data: bytes) -> Iterator[OpenPhoto]:
        """A photograph that came by plain HTTP; waits until there is memory for it.

        Raises:
            PhotoError: it can't be used.
        """
        with self.budget.taking(megapixels_of(data, self.limits.max_megapixels)):
            yield OpenPhoto(data, self.limits.max_megapixels)


def make_studio(models: Models, limits: Limits) -> Studio:
    """The parts of a new server."""
    slots, store, metrics = Slots(limits), Store(limits), Metrics()
    metrics.watch("tintlab_admitted", "Requests with work under way.", lambda: slots.admitted)
    metrics.watch("tintlab_photographs", "Photographs that pages have open.", lambda: len(store))
    metrics.watch("tintlab_photograph_bytes", "Bytes of these photographs.", lambda: store.held_bytes)
    return Studio(models, limits, slots, store, Budget(limits.open_megapixels), metrics)


def _of_app(request: Request) -> Studio:
    return cast(Studio, request.app.state.studio)


StudioOfApp = Annotated[Studio, Depends(_of_app)]
"""The parts of the server that a request came to."""
