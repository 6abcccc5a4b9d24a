"""Compute figures that describe a photograph, and the summary of a training set that its model stores.

The figures describe the L* of a photo, which is all that a network sees, and not its colours. So grey scans
have them too. `drift` compares the figures of new photographs with those of the training set.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.ndimage import laplace

from tintlab.imaging import color
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json

HISTOGRAM = tuple(f"l{number:02}" for number in range(10))
"""Shares of the pixels whose L* lies in [0, 10), [10, 20), … [90, 100]."""

SCALARS = ("l_mean", "l_spread", "sharpness", "near_black", "near_white", "megapixels")

BINS = 10
"""A figure's range is cut at the training set's deciles."""

_SIDE = 224  # a photo is reduced, or enlarged, to about this squared, as networks see it
_NEAR_BLACK, _NEAR_WHITE = 5.0, 95.0


def summarize(lightness: color.Float) -> dict[str, float]:
    """The figures of one photo, those of `HISTOGRAM` and `SCALARS`.

    All but `megapixels` are of the photo at about 224² pixels in its own proportions, so that scans of any
    resolution compare.

    - `l_mean`, `l_spread`: mean and standard deviation of L*;
    - `sharpness`: variance of the Laplacian of L* (Pech-Pacheco et al. 2000);
    - `near_black`, `near_white`: shares of the pixels with L* below 5, above 95.

    Args:
        lightness: L* `(h, w)` in [0, 100], at the photo's full size.
    """
    small = _resize(lightness)
    counts, _ = np.histogram(small, bins=len(HISTOGRAM), range=(0, 100))
    return dict(zip(HISTOGRAM, (counts / small.size).tolist(), strict=True)) | {
        "l_mean": _round_figure(small.mean(dtype=np.float64)),
        "l_spread": _round_figure(small.std(dtype=np.float64)),
        "sharpness": _round_figure(laplace(small).var(dtype=np.float64)),
        "near_black": float((small < _NEAR_BLACK).mean()),
        "near_white": float((small > _NEAR_WHITE).mean()),
        "megapixels": lightness.size / 1e6,
    }


def _round_figure(figure: np.floating) -> float:
    """Round a figure to six digits: later digits depend on the processor's vector instructions."""
    return float(f"{figure:.6g}")


def _resize(lightness: color.Float) -> color.Float:
    height, width = lightness.shape
    scale = _SIDE / math.sqrt(height * width)
    target = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(np.ascontiguousarray(lightness, dtype=np.float32))
    small: color.Float = np.asarray(image.resize(target, Image.Resampling.LANCZOS, reducing_gap=3.0))
    return np.clip(small, 0, 100)


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Bins(_Stored):
    """The distribution of one figure over a set: the number of photos in each bin."""

    edges: tuple[float, ...]
    """Between two bins, ascending; a value on an edge belongs to the lower bin."""
    counts: tuple[int, ...]
    """One more than there are edges."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.counts) != len(self.edges) + 1 or list(self.edges) != sorted(set(self.edges)):
            raise ValueError("edges must ascend, and be one fewer than counts")
        return self

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Self:
        """Cut the range of `values` `(n,)` at its deciles; there are fewer bins if many values are equal."""
        if len(values) == 0:
            return cls(edges=(), counts=(0,))
        shares = np.arange(1, BINS) / BINS
        # Edges are values that occur, so equal values share a bin. The maximum is not an edge, because the
        # bin above it would be empty.
        quantiles = np.unique(np.quantile(values, shares, method="inverted_cdf"))
        edges = tuple(float(edge) for edge in quantiles if edge < values.max())
        return cls(edges=edges, counts=count_by_bin(values, edges))


class Reference(_Stored):
    """Description of a training set: the content of `training_summary.json`."""

    photos: int = Field(ge=0)
    """Number of photographs."""
    bins: dict[str, Bins]
    """The distribution of each of `SCALARS`."""
    histogram: tuple[float, ...]
    """Mean of each share of `HISTOGRAM`."""
    covariance: tuple[tuple[float, ...], ...]
    """Covariance of the shares of `HISTOGRAM` over the photographs."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        rows = {len(self.histogram), len(self.covariance), *map(len, self.covariance)}
        if set(self.bins) != set(SCALARS) or rows != {len(HISTOGRAM)}:
            raise ValueError("figures are missing, or unknown")
        return self

    @classmethod
    def of(cls, photos: pd.DataFrame | Iterable[Mapping[str, float]]) -> Self:
        """Summarise a set from the figures of its photos, a row each; see `summarize`."""
        rows = photos if isinstance(photos, pd.DataFrame) else pd.DataFrame([dict(one) for one in photos])
        table = rows.reindex(columns=[*HISTOGRAM, *SCALARS]).astype(np.float64)
        shares = table[list(HISTOGRAM)].to_numpy()
        count = len(HISTOGRAM)
        means = shares.mean(axis=0) if len(table) else np.zeros(count)
        apart = shares - means
        # Not with a matrix product: its last digits depend on the number of threads.
        covariance = np.einsum("ni,nj->ij", apart, apart) / max(len(table) - 1, 1)
        return cls(
            photos=len(table),
            bins={name: Bins.of(table[name].to_numpy()) for name in SCALARS},
            histogram=tuple(map(_round_figure, means)),
            covariance=tuple(tuple(map(_round_figure, row)) for row in covariance),
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file written by `write_json` from `model_dump`.

        Raises:
            FileNotFoundError: there is no such file.
            TintlabError: it is damaged, or of another version.
        """
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"])) or "the summary"
            raise TintlabError(f"{path}: {where}: {fault['msg']}: restore it or train again") from None


def count_by_bin(values: NDArray[np.float64], edges: tuple[float, ...]) -> tuple[int, ...]:
    """Count the `values` `(n,)` in each of the bins between `edges`."""
    places = np.searchsorted(np.asarray(edges, np.float64), values, side="left")
    return tuple(np.bincount(places, minlength=len(edges) + 1).tolist())
