"""Sections of params.yaml about decisions: promotion, drift, new photographs."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from tintlab.system.sections import Count, NonNegative, Positive, Section


class ToleranceParams(Section):
    """How much worse than the champion a challenger may be, at the worse end of a 95 % interval."""

    psnr: NonNegative
    """In dB."""
    delta_e00: NonNegative
    """In units of CIEDE2000; 1 is just visible."""
    ssim: NonNegative
    """In [0, 1]."""


class PromotionParams(Section):
    """Conditions for replacing the champion; see docs/judgement.md."""

    min_gain: NonNegative
    """The interval of the gain in `judge_similarity` must lie above this."""
    tolerance: ToleranceParams
    """How much worse the other figures may be."""
    colourfulness: Annotated[tuple[NonNegative, NonNegative], Field(strict=False)]
    """Least and greatest mean colourfulness, as a share of the true photographs'."""

    @model_validator(mode="after")
    def _band_is_a_band(self) -> Self:
        if self.colourfulness[0] > self.colourfulness[1]:
            raise ValueError(f"colourfulness {list(self.colourfulness)}: the least comes first")
        return self


class DriftParams(Section):
    """When scored photographs count as different from the training photographs."""

    threshold: Positive
    """Least population stability index, corrected for chance, that counts as drift."""
    significance: Annotated[float, Field(gt=0, lt=1)]
    """Probability that photographs like those of the training raise a false warning."""
    min_photos: Count
    """With fewer photographs there is no verdict."""


class WatchParams(Section):
    """When new photographs start a retraining."""

    min_new_photos: Count
    """Least number of new colour photographs in data/inbox."""
