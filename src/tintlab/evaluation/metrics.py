"""Compare coloured photos with the true ones: figures of one photo, distances of sets, intervals.

Pure functions of arrays; no torch. PSNR and ΔE00 alone reward grey: read them beside colourfulness and the
judge's figures.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates, sobel
from skimage.color import deltaE_ciede2000
from skimage.feature import canny
from skimage.metrics import structural_similarity

from tintlab.imaging import color

Numbers = NDArray[np.float64]

HIGHEST_PSNR = 100.0
"""PSNR of equal photos, for which the formula gives infinity."""

_SSIM_WINDOW = 11  # pixels, of Wang et al. 2004
_SPILL_AREA = 512 * 512  # pixels; larger photos are reduced to it
_SPILL_NEAR, _SPILL_FAR = 2.0, 8.0  # pixels from an edge
_SPILL_STEP, _SPILL_SHARP = 10.0, 0.8  # ab units, share
_EDGE_SIGMA = 1.5  # pixels
_EDGE_LOW, _EDGE_HIGH = 2.0, 6.0  # gradient of L*, units a pixel
_RESAMPLINGS_AT_ONCE = 1000


def psnr(rgb: color.Byte, true: color.Byte) -> float:
    """Peak signal-to-noise ratio in dB over all channels of two 8-bit photos; at most `HIGHEST_PSNR`."""
    squared = sum(
        float(np.square(rgb[rows].astype(np.float32) - true[rows]).sum(dtype=np.float64))
        for rows in color.strips(rgb.shape)
    )
    if squared == 0:
        return HIGHEST_PSNR
    return min(HIGHEST_PSNR, 10 * float(np.log10(255**2 * rgb.size / squared)))


def ssim(rgb: color.Byte, true: color.Byte) -> float:
    """Mean structural similarity of two 8-bit photos over channels (Wang et al. 2004, Gaussian window)."""
    missing = [max(0, _SSIM_WINDOW - side) for side in rgb.shape[:2]]
    pads = [(0, missing[0]), (0, missing[1]), (0, 0)]
    similarity = structural_similarity(
        np.pad(rgb, pads, mode="symmetric"),
        np.pad(true, pads, mode="symmetric"),
        channel_axis=-1,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(similarity)


def delta_e00(rgb: color.Byte, true: color.Byte) -> float:
    """Mean colour difference CIEDE2000 between two 8-bit photos: 1 is just visible, 10 plain at a glance."""
    total = 0.0
    for rows in color.strips(rgb.shape):
        differences = deltaE_ciede2000(color.rgb_to_lab(true[rows]), color.rgb_to_lab(rgb[rows]))
        total += float(differences.sum(dtype=np.float64))
    return float(total / (rgb.shape[0] * rgb.shape[1]))


def unsigned_colourfulness(rgb: color.Byte) -> float:
    """Colourfulness as published colorization results report it, of an sRGB photo `(h, w, 3)`.

    Hasler and Süsstrunk's formula (2003, eq. 7) with the absolute values of the opponent axes, as in the
    evaluation code of DDColor (Kang et al. 2023, arXiv 2212.11613). It is lower than `color.colourfulness`,
    because taking the absolute values narrows the spread.
    """
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    rg, yb = np.abs(red - green), np.abs((red + green) / 2 - blue)
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def colour_spill(rgb: color.Byte, true: color.Byte) -> float:
    """The share of a photo's colour change that lies off the edges of the true photo's colours.

    With c(d) the ab at d pixels along the normal of an edge of L* (Canny, in the true photo),
    s = c(far) - c(-far) is the change across the edge and t = c(near) - c(-near) its part at the edge;
    near = 2, far = 8 pixels. Counted are the pixels of edges where the true colour changes sharply,
    |s| ≥ 10 and t·s/|s| ≥ 0.8·|s|, and the photo's colour changes too, |s| ≥ 10. Over these, with the
    photo's own s and t,

        spill = 1 - Σ t·s/|s| / Σ |s|        (0 where there is no such pixel, as in a grey photo)

    A change on the edge gives 0, a change smeared evenly from -far to far gives 1 - near/far = 0.75, and a
    change elsewhere gives 1. Colours need not be right; they must only stay within their edges. Photos above
    512² pixels are reduced to that.
    """
    true_lab = color.rgb_to_lab(_at_most(true, _SPILL_AREA))
    lab = color.rgb_to_lab(_at_most(rgb, _SPILL_AREA))
    edges = canny(true_lab[..., 0], _EDGE_SIGMA, low_threshold=8 * _EDGE_LOW, high_threshold=8 * _EDGE_HIGH)
    smooth = gaussian_filter(true_lab[..., 0], _EDGE_SIGMA)
    normals = np.stack([sobel(smooth, axis)[edges] for axis in (0, 1)])
    normals = normals / np.maximum(np.hypot(*normals), 1e-9)
    places = np.argwhere(edges).T

    def changes(ab: color.Float) -> tuple[Numbers, Numbers]:
        """|s|, and t·s/|s| up to |s|, at every pixel of the edges."""
        whole, at_edge = (
            _sampled(ab, places + distance * normals) - _sampled(ab, places - distance * normals)
            for distance in (_SPILL_FAR, _SPILL_NEAR)
        )
        size = np.hypot(*whole)
        return size, np.minimum((whole * at_edge).sum(axis=0) / np.maximum(size, 1e-9), size)

    true_size, true_at_edge = changes(true_lab[..., 1:])
    size, at_edge = changes(lab[..., 1:])
    counted = (true_size >= _SPILL_STEP) & (true_at_edge >= _SPILL_SHARP * true_size) & (size >= _SPILL_STEP)
    return float(1 - at_edge[counted].sum() / size[counted].sum()) if counted.any() else 0.0


def _sampled(ab: color.Float, places: Numbers) -> Numbers:
    """ab `(2, n)` at fractional places `(2, n)`, interpolated linearly."""
    return np.stack(
        [map_coordinates(ab[..., channel], places, order=1, mode="nearest") for channel in (0, 1)]
    )


def similarity(features: Numbers, true: Numbers) -> Numbers:
    """Cosine similarity of each row of `(n, d)` with the same row of another: `(n,)` in [-1, 1]."""
    lengths = np.linalg.norm(features, axis=1) * np.linalg.norm(true, axis=1)
    return np.asarray((features * true).sum(axis=1) / np.maximum(lengths, 1e-12))


def kernel_terms(features: Numbers, true: Numbers) -> Numbers:
    """The terms h `(n, n)` of the kernel distance of coloured photos from true ones.

    h(i, j) = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i), with the polynomial kernel of degree 3 of
    Bińkowski et al. 2018 (arXiv 1801.01401), k(x, y) = (x·y/d + 1)³; x and y are rows of `(n, d)`.
    """

    def kernel(first: Numbers, second: Numbers) -> Numbers:
        return np.asarray((first @ second.T / first.shape[1] + 1) ** 3)

    across = kernel(features, true)
    return kernel(features, features) + kernel(true, true) - across - across.T


def kernel_distance(terms: Numbers, weights: Numbers | None = None) -> Numbers:
    """Squared maximum mean discrepancy of two paired sets, unbiased: the mean of h(i, j) over i ≠ j.

    Row i of both sets is the same photo, coloured and true, so the pairs i = j are left out of the cross terms
    too (Gretton et al. 2012, lemma 6). With them, the likeness of two pictures of one photo would count as
    likeness of the sets. The distance can be below 0 by chance, and is NaN for a single photo.

    Args:
        terms: of `kernel_terms`.
        weights: `(r, n)`, how often each photo counts in r resamplings; None counts each once.

    Returns:
        The distances, `(r,)`; one if `weights` is None.
    """
    times = np.ones((1, len(terms))) if weights is None else weights
    own = np.diag(terms)
    total = ((times @ terms) * times).sum(axis=1) - times**2 @ own
    pairs = times.sum(axis=1) ** 2 - (times**2).sum(axis=1)
    return np.asarray(np.divide(total, pairs, out=np.full(len(times), np.nan), where=pairs > 0))


def frechet_distance(features: Numbers, true: Numbers) -> float | None:
    """Fréchet distance of two Gaussians fitted to the rows of `(n, d)` arrays; None if n ≤ d in either.

    |μ₁ - μ₂|² + Tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½), as in Heusel et al. 2017 (arXiv 1706.08500). With no more photos
    than dimensions the covariances are singular, and the figure reflects the sample's size more than the photos.
    """
    if min(len(features), len(true)) <= features.shape[1]:
        return None
    shift = features.mean(axis=0) - true.mean(axis=0)
    first, second = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (features, true))
    # The eigenvalues of Σ₁Σ₂ are those of the symmetric Σ₁^½ Σ₂ Σ₁^½: real, and below 0 only by rounding.
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ second @ root)
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * np.sqrt(np.maximum(mixed, 0)).sum())


def weighted_mean(values: Numbers, weights: Numbers) -> Numbers:
    """Means of `values` `(n,)` or `(n, k)` under each row of `weights` `(r, n)`: `(r,)` or `(r, k)`."""
    return np.asarray((weights / weights.sum(axis=1, keepdims=True)) @ values)


def bootstrap(
    values: Numbers,
    clusters: Sequence[str],
    statistic: Callable[[Numbers, Numbers], Numbers] = weighted_mean,
    n: int = 10_000,
    seed: int = 0,
) -> Numbers:
    """Resample whole clusters of near-duplicates, and compute a statistic of the photos each time.

    Args:
        values: input of the statistic; rows belong to photos.
        clusters: the cluster of each photo. Photos of one cluster are drawn together.
        statistic: called with `values` and weights `(r, photos)`, how often each photo was drawn; returns
            `(r,)`, or `(r, k)` for k figures at once.
        n: number of resamplings.
        seed: of the resampling. The same seed draws the same photos.

    Returns:
        Its values, `(n,)` or `(n, k)`.

    Raises:
        ValueError: fewer than two clusters, which say nothing about the variation.
    """
    names, membership = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) < 2:
        raise ValueError("an interval needs at least two clusters")
    random = np.random.default_rng(seed)
    results = []
    for start in range(0, n, _RESAMPLINGS_AT_ONCE):
        count = min(_RESAMPLINGS_AT_ONCE, n - start)
        draws = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
        results.append(statistic(values, draws[:, membership].astype(np.float64)))
    return np.concatenate(results)


def bootstrap_interval(
    values: Numbers,
    clusters: Sequence[str],
    statistic: Callable[[Numbers, Numbers], Numbers] = weighted_mean,
    n: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Numbers:
    """Percentile interval of `bootstrap`: low and high end, `(2,)` or `(2, k)`.

    Args:
        values: see `bootstrap`, also for the next four. Draws with a NaN statistic are left out.
        clusters: the cluster of each photo.
        statistic: of values and weights.
        n: number of resamplings.
        seed: of the resampling.
        level: confidence level.

    Raises:
        ValueError: fewer than two clusters.
    """
    return percentiles(bootstrap(values, clusters, statistic, n, seed), level)


def percentiles(draws: Numbers, level: float) -> Numbers:
    """The ends `(2,)` or `(2, k)` between which the middle share `level` of `draws` `(n,)` or `(n, k)` lies."""
    return np.asarray(np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0))


def _at_most(rgb: color.Byte, area: int) -> color.Byte:
    height, width = rgb.shape[:2]
    scale = np.sqrt(area / (height * width))
    if scale >= 1:
        return rgb
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))
