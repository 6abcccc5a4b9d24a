from itertools import combinations

import numpy as np
import pytest

from tests.explore.conftest import Z_DIM, generator, painter
from tintlab.explore import contrast, measures
from tintlab.explore.dropout import dropping, predict_with_dropout
from tintlab.explore.subjects import Subject
from tintlab.gan.unet import UNet
from tintlab.inference.colorizer import Colorizer, Settings
from tintlab.system.errors import TintlabError


def test_the_expected_best_is_the_mean_over_all_choices() -> None:
    values = np.random.default_rng(0).normal(size=7)
    found = measures.expected_best(values, (1, 2, 4, 7))
    for n, value in zip((1, 2, 4, 7), found, strict=True):
        assert value == pytest.approx(np.mean([min(chosen) for chosen in combinations(values, n)]))


def test_variety_by_hand() -> None:
    variants = np.zeros((3, 2, 2, 2), np.float32)
    variants[1, ..., 0] = 3
    variants[1, ..., 1] = 4
    assert measures.pairwise_ab(variants) == pytest.approx((5 + 0 + 5) / 3)
    assert measures.pairwise_features(np.array([[1.0, 0], [0, 2], [3, 0]])) == pytest.approx(2 / 3)


def test_dropout_varies_only_by_seed_and_restores_the_model(scenes: list[Subject]) -> None:
    colorizer = Colorizer(generator(), 32, Settings(working_size=64, flip_average=True))
    lightness = scenes[0].lightness
    before = colorizer.predict_working_ab(lightness[None])
    first = predict_with_dropout(colorizer, lightness, 0, 3)
    assert first.shape == (3, *lightness.shape, 2)
    assert (first[0] != first[1]).any()
    assert (first[1] != first[2]).any()
    assert (predict_with_dropout(colorizer, lightness, 0, 2) == first[:2]).all()
    assert (predict_with_dropout(colorizer, lightness, 1, 1) != first[:1]).any()
    assert (colorizer.predict_working_ab(lightness[None]) == before).all()
    assert not any(module.training for module in colorizer.generator.modules())


def test_a_model_without_dropout_is_refused() -> None:
    with pytest.raises(TintlabError, match="no dropout"), dropping(UNet(32, 4, 0.0).eval(), 0):
        pass


class Eyes:
    """Features that are the mean colours: of the judge this needs, and checks, the place and shape alone."""

    def look(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return views.astype(np.float64).mean(axis=(1, 2)), np.zeros(len(views), np.int64)


def test_more_noise_is_more_variety_and_is_not_dropout(
    scenes: list[Subject],
) -> None:
    little, much = (
        measures.make_section(
            measures.measure(painter(size * np.eye(Z_DIM, 2)), scenes, Eyes(), 0),
            "",  # type: ignore[arg-type]
        )[0].figures
        for size in (0.1, 1.0)
    )
    assert much["samples.noise.pairwise_ab"] > 5 * little["samples.noise.pairwise_ab"]
    assert much["samples.noise.pairwise_features"] > little["samples.noise.pairwise_features"]
    best = [much[f"samples.noise.best_of_{n}"] for n in measures.COUNTS]
    assert best == sorted(best, reverse=True)
    assert best[-1] < much["samples.without_noise.delta_e00"] < best[0]
    assert not any("dropout" in name for name in much)


def test_contrast_and_brightness_by_hand() -> None:
    lightness = np.array([[40.0, 60.0]], np.float32)
    assert contrast.change(lightness, 1.5, 0).tolist() == [[35, 65]]
    assert contrast.change(lightness, 1, 45).tolist() == [[85, 100]]
    assert (contrast.change(lightness, 1, 0) == lightness).all()


def test_an_unchanged_photo_has_no_difference(
    scenes: list[Subject],
) -> None:
    found, pictures = contrast.make_section(
        contrast.measure(painter(np.eye(Z_DIM, 2)).colorizer, scenes[:2]), ""
    )
    assert set(found.figures.values()) == {0.0}
    assert len(pictures) == len(found.pictures) == 3
    colorizer = Colorizer(generator(), 32, Settings(working_size=64))
    photo = scenes[0]
    colourings = contrast.sweep(colorizer, photo, [(1.0, 0.0), (1.6, 0.0), (1.0, 30.0)])
    off = contrast.differences(photo, colourings, colorizer.predict_variants(photo.lightness, None)[0])
    assert off[0] == 0
    assert (off[1:] > 0).all()
