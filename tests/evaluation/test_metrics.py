import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import linalg, ndimage, stats
from skimage.color import deltaE_ciede2000
from skimage.metrics import peak_signal_noise_ratio

from tintlab.evaluation import metrics
from tintlab.imaging import color

RANDOM = np.random.default_rng(0)


def photo(height: int = 60, width: int = 80, seed: int = 0) -> color.Byte:
    noise = np.random.default_rng(seed).normal(0, 1, (height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (4, 4, 0))
    return np.clip(128 + 600 * smooth, 0, 255).astype(np.uint8)


def flat(level: int, shape: tuple[int, int] = (20, 30)) -> color.Byte:
    return np.full((*shape, 3), level, np.uint8)


def test_psnr_of_a_worked_example() -> None:
    """Every value off by 16: 20·log10(255 / 16)."""
    assert metrics.psnr(flat(100), flat(116)) == pytest.approx(20 * math.log10(255 / 16))
    one_off = flat(100)
    one_off[3, 4, 1] = 103  # 9 in 20·30·3 values
    assert metrics.psnr(one_off, flat(100)) == pytest.approx(10 * math.log10(255**2 * 1800 / 9))


def test_psnr_agrees_with_scikit_image() -> None:
    for seed in range(5):
        first, second = photo(700, 300, seed), photo(700, 300, seed + 100)  # more than one strip
        assert metrics.psnr(first, second) == pytest.approx(peak_signal_noise_ratio(second, first), abs=1e-6)


def test_equal_photos_have_a_finite_psnr() -> None:
    assert metrics.psnr(photo(), photo()) == metrics.HIGHEST_PSNR


def ssim_written_out(first: color.Byte, second: color.Byte) -> float:
    """Wang et al. 2004, eq. 13, with an 11×11 Gaussian window of 1.5 pixels, where it fits into the photo."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    means = []
    for channel in range(3):
        windows = [
            np.lib.stride_tricks.sliding_window_view(image[..., channel].astype(float), (11, 11))
            for image in (first, second)
        ]
        mean_x, mean_y = ((weights * window).sum(axis=(2, 3)) for window in windows)
        x, y = windows[0] - mean_x[..., None, None], windows[1] - mean_y[..., None, None]
        var_x, var_y, cov = ((weights * product).sum(axis=(2, 3)) for product in (x * x, y * y, x * y))
        numerator = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
        means.append((numerator / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())
    return float(np.mean(means))


def test_ssim_agrees_with_the_formula_written_out() -> None:
    first = photo(40, 50)
    for noise in (0, 5, 40):
        second = np.clip(first + RANDOM.normal(0, noise, first.shape), 0, 255).astype(np.uint8)
        assert metrics.ssim(first, second) == pytest.approx(ssim_written_out(first, second), abs=1e-6)


def test_ssim_of_a_worked_example() -> None:
    """Flat photos have no structure: (2·100·150 + c1) / (100² + 150² + c1)."""
    c1 = (0.01 * 255) ** 2
    assert metrics.ssim(flat(100), flat(150)) == pytest.approx((30000 + c1) / (32500 + c1))
    assert metrics.ssim(flat(100, (3, 1)), flat(150, (3, 1))) == pytest.approx((30000 + c1) / (32500 + c1))


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [  # Sharma, Wu & Dalal 2005, table 1, pairs 1, 4, 7, 13, 17, 21, 25, 34
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, -0.001, 2.49), (50, 0.0009, -2.49), 4.8045),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((50, 2.5, 0), (50, 3.1736, 0.5854), 1.0000),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_formula_behind_delta_e00_is_the_published_one(
    first: tuple[float, ...], second: tuple[float, ...], difference: float
) -> None:
    assert deltaE_ciede2000(np.array(first), np.array(second)) == pytest.approx(difference, abs=5e-5)


def test_delta_e00_is_the_mean_over_all_pixels() -> None:
    """Half of the photo equal, half black against white, which differ by 100."""
    true = flat(0, (600, 500))
    half = true.copy()
    half[:300] = 255
    assert metrics.delta_e00(half, true) == pytest.approx(50, abs=0.01)
    assert metrics.delta_e00(true, true) == 0


def step_across(profile: NDArray[np.float64], lightness: tuple[float, float] = (35, 70)) -> color.Byte:
    """Two halves of unlike lightness; their colour goes from (10, 30) to (-10, -10) as `profile` says."""
    lab = np.zeros((80, len(profile), 3), np.float32)
    lab[..., 0] = np.where(np.arange(len(profile)) < len(profile) // 2, *lightness)
    lab[..., 1:] = np.array([10, 30]) + profile[:, None] * np.array([-20, -40])
    return color.to_bytes(color.lab_to_rgb(lab))


def ramp(half_width: float, shift: float = 0.0, width: int = 120) -> NDArray[np.float64]:
    """From 0 to 1 across the middle, evenly over twice `half_width` pixels."""
    distance = np.arange(width) - (width - 1) / 2 - shift
    return np.clip(distance / (2 * half_width) + 0.5, 0, 1)


def test_spill_of_worked_examples() -> None:
    sharp = step_across(ramp(0.5))
    assert metrics.colour_spill(sharp, sharp) == pytest.approx(0, abs=0.02)
    assert metrics.colour_spill(step_across(ramp(8)), sharp) == pytest.approx(1 - 2 / 8, abs=0.02)
    assert metrics.colour_spill(step_across(ramp(4)), sharp) == pytest.approx(1 - 2 / 4, abs=0.02)
    assert metrics.colour_spill(step_across(ramp(0.5, shift=5)), sharp) == pytest.approx(1, abs=0.02)


def test_spill_asks_where_colours_change_not_which() -> None:
    """Other colours than the true ones, of another strength, on their edges: nothing spills."""
    sharp = step_across(ramp(0.5))
    lab = color.rgb_to_lab(sharp)
    lab[..., 1:] = lab[..., :0:-1] * -0.8
    assert metrics.colour_spill(color.to_bytes(color.lab_to_rgb(lab)), sharp) == pytest.approx(0, abs=0.03)


def test_spill_is_the_same_in_any_direction_and_size() -> None:
    sharp, smeared = step_across(ramp(0.5)), step_across(ramp(4))
    spill = metrics.colour_spill(smeared, sharp)
    turned = [np.ascontiguousarray(image.transpose(1, 0, 2)) for image in (smeared, sharp)]
    assert metrics.colour_spill(*turned) == pytest.approx(spill, abs=0.02)
    wide = [step_across(ramp(half, width=2048)).repeat(26, axis=0)[:2048] for half in (16, 0.5)]
    assert metrics.colour_spill(*wide) == pytest.approx(spill, abs=0.05)


def test_what_has_no_colour_spills_none() -> None:
    sharp = step_across(ramp(0.5))
    grey = color.to_bytes(np.repeat(color.lightness_to_grey(color.lightness(sharp))[..., None], 3, axis=-1))
    assert metrics.colour_spill(grey, sharp) == 0
    assert metrics.colour_spill(flat(100), flat(100)) == 0
    assert metrics.colour_spill(photo(1, 1), photo(1, 1)) == 0


def test_similarity() -> None:
    features = np.array([[3.0, 4.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    true = np.array([[4.0, 3.0], [2.0, 0.0], [-1.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(metrics.similarity(features, true), [24 / 25, 1, -1, 0])


def kernel_distance_written_out(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Pair by pair, as in Gretton et al. 2012, lemma 6."""

    def k(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
        return float((sum(first * second) / len(first) + 1) ** 3)

    n = len(x)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    return sum(k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(x[j], y[i]) for i, j in pairs) / (
        n * (n - 1)
    )


def test_kernel_distance_of_a_worked_example() -> None:
    """d = 1, x = (0, 1), y = (1, 2): k(0,1) + k(1,2) - k(0,2) - k(1,1) = 1 + 27 - 1 - 8 for both pairs."""
    x, y = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    assert metrics.kernel_distance(metrics.kernel_terms(x, y)) == pytest.approx(19)


def test_kernel_distance_agrees_with_the_sum_written_out() -> None:
    x, y = RANDOM.normal(0, 1, (9, 5)), RANDOM.normal(0.5, 1, (9, 5))
    terms = metrics.kernel_terms(x, y)
    assert metrics.kernel_distance(terms)[0] == pytest.approx(kernel_distance_written_out(x, y))
    assert metrics.kernel_distance(metrics.kernel_terms(x, x))[0] == pytest.approx(0, abs=1e-9)


def test_kernel_distance_is_unbiased_for_paired_pictures() -> None:
    """Both sets of one distribution, in pairs that nearly agree: 0 in the mean, unlike plain cross terms."""
    ours, plain = [], []
    for _ in range(2000):
        x = RANDOM.normal(0, 1, (8, 4))
        y = x + RANDOM.normal(0, 0.1, x.shape)
        x = x * math.sqrt(1.01)  # the same spread as y
        terms = metrics.kernel_terms(x, y)
        ours.append(metrics.kernel_distance(terms)[0])
        plain.append(ours[-1] - 2 * (((x * y).sum(axis=1) / 4 + 1) ** 3).mean() / 8)
    error = np.std(ours) / math.sqrt(len(ours))
    assert abs(np.mean(ours)) < 4 * error
    assert np.mean(plain) < -10 * error


def test_weights_count_photos_as_often_as_they_say() -> None:
    x, y = RANDOM.normal(0, 1, (6, 5)), RANDOM.normal(1, 1, (6, 5))
    without_last = metrics.kernel_distance(metrics.kernel_terms(x[:5], y[:5]))
    weights = np.array([[1.0, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]])
    found = metrics.kernel_distance(metrics.kernel_terms(x, y), weights)
    assert found[0] == pytest.approx(without_last[0])
    assert found[1] == pytest.approx(metrics.kernel_distance(metrics.kernel_terms(x, y))[0])


def test_one_photo_has_no_kernel_distance() -> None:
    terms = metrics.kernel_terms(RANDOM.normal(0, 1, (3, 5)), RANDOM.normal(0, 1, (3, 5)))
    assert np.isnan(metrics.kernel_distance(terms, np.array([[0.0, 3, 0]]))).all()
    ends = metrics.bootstrap_interval(terms, ["a", "b", "c"], metrics.kernel_distance, n=500)
    assert np.isfinite(ends).all()


def test_frechet_distance_of_a_worked_example() -> None:
    """One dimension: (m₁ - m₂)² + (s₁ - s₂)², with the samples' own means and deviations."""
    x, y = RANDOM.normal(0, 1, (50, 1)), RANDOM.normal(3, 2, (50, 1))
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert metrics.frechet_distance(x, y) == pytest.approx(expected)


def test_frechet_distance_agrees_with_the_matrix_root_of_scipy() -> None:
    x, y = RANDOM.normal(0, 1, (60, 6)), RANDOM.normal(0.3, 1, (80, 6)) @ RANDOM.normal(0, 1, (6, 6))
    first, second = np.cov(x.T), np.cov(y.T)
    root = linalg.sqrtm(first @ second).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert metrics.frechet_distance(x, y) == pytest.approx(expected)
    assert metrics.frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_refuses_small_samples() -> None:
    x = RANDOM.normal(0, 1, (6, 6))
    assert metrics.frechet_distance(x, x) is None
    assert metrics.frechet_distance(RANDOM.normal(0, 1, (7, 6)), RANDOM.normal(0, 1, (7, 6))) is not None


def test_interval_agrees_with_scipy() -> None:
    values = RANDOM.gamma(2, 3, 80)
    ours = metrics.bootstrap_interval(values, [str(k) for k in range(80)])
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=1
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.06)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(300):
        values = np.random.default_rng(seed).normal(7, 2, 40)
        low, high = metrics.bootstrap_interval(values, [str(k) for k in range(40)], n=1000, seed=seed)
        covered += low <= 7 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_twins_tell_no_more_than_one_photo() -> None:
    """Each photo four times: the interval of the single ones, where counting photos would halve it."""
    values = RANDOM.normal(0, 1, 30)
    clusters = [f"c{k}" for k in range(30)]
    single = metrics.bootstrap_interval(values, clusters)
    fourfold = metrics.bootstrap_interval(np.tile(values, 4), clusters * 4)
    assert fourfold == pytest.approx(single)
    low, high = metrics.bootstrap_interval(np.tile(values, 4), [str(k) for k in range(120)])
    assert high - low < 0.6 * (single[1] - single[0])


def test_any_statistic_has_an_interval() -> None:
    x = RANDOM.normal(0, 1, (40, 3))
    y = x + 1
    terms = metrics.kernel_terms(x, y)
    low, high = metrics.bootstrap_interval(
        terms, [str(k) for k in range(40)], metrics.kernel_distance, n=2000
    )
    assert low < metrics.kernel_distance(terms)[0] < high


def test_several_figures_at_once() -> None:
    values, clusters = RANDOM.normal(0, 1, (20, 3)), [str(k) for k in range(20)]
    together = metrics.bootstrap_interval(values, clusters, n=500)
    alone = [metrics.bootstrap_interval(values[:, k], clusters, n=500) for k in range(3)]
    np.testing.assert_allclose(together, np.column_stack(alone))


def test_intervals_repeat_and_follow_the_seed() -> None:
    values, clusters = RANDOM.normal(0, 1, 20), [str(k) for k in range(20)]
    first = metrics.bootstrap_interval(values, clusters, n=2500, seed=3)
    np.testing.assert_array_equal(metrics.bootstrap_interval(values, clusters, n=2500, seed=3), first)
    assert (metrics.bootstrap_interval(values, clusters, n=2500, seed=4) != first).all()


def test_one_cluster_has_no_interval() -> None:
    with pytest.raises(ValueError, match="two clusters"):
        metrics.bootstrap_interval(np.arange(5.0), ["same"] * 5)
