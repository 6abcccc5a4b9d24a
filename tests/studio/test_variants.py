"""Which draws are chosen, and which colours are likely."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tintlab.imaging import color
from tintlab.studio.variants import (
    Draws,
    choose_variants,
    farthest_points,
    hex_colour,
    likely_colours,
    pairwise_distances,
)


def flat(*colours: tuple[float, float]) -> np.ndarray:
    """Colourings of one colour each, `(n, 4, 6, 2)`."""
    return np.stack([np.broadcast_to(np.array(one, np.float32), (4, 6, 2)) for one in colours])


def draws(*colours: tuple[float, float]) -> Draws:
    return Draws(0, np.full((4, 6), 60, np.float32), flat(*colours))


def test_distances_are_mean_euclidean_ones() -> None:
    found = pairwise_distances(flat((0, 0), (3, 4), (0, 10)))
    np.testing.assert_allclose(found, [[0, 5, 10], [5, 0, np.sqrt(45)], [10, np.sqrt(45), 0]])


def test_the_farthest_are_chosen_and_twins_are_not() -> None:
    found = choose_variants(draws((0, 0), (1, 0), (0, 30), (1, 1), (-40, 0), (40, 0), (0, -30)), 4)
    assert sorted(variant.number for variant in found) == [2, 4, 5, 6]
    assert all(variant.distance == pytest.approx(50, abs=1) for variant in found)


@given(st.integers(2, 12), st.integers(1, 12), st.integers(0, 1000))
def test_farthest_points_are_apart_by_half_of_the_best_at_least(count: int, wanted: int, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(count, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    chosen = farthest_points(distances, wanted)
    assert len(chosen) == len(set(chosen)) == min(wanted, count)
    if 1 < len(chosen) < count:
        # Gonzalez 1985: every point is nearer to a chosen one than the chosen ones are to each other.
        among = distances[np.ix_(chosen, chosen)] + np.diag(np.full(len(chosen), np.inf))
        assert distances[:, chosen].min(axis=1).max() <= among.min() + 1e-9


def test_a_model_without_noise_has_no_variants() -> None:
    assert choose_variants(draws((0, 0)), 6) == []


def test_likely_colours_are_the_groups_of_the_draws() -> None:
    lightness, found = likely_colours(draws((0, 0), (50, 0), (51, 0), (50, 1), (0, 1)), 0.5, 0.5)
    assert lightness == 60
    assert [(round(colour.a), round(colour.b)) for colour in found] == [(50, 0), (0, 0)]
    assert [colour.share for colour in found] == [0.6, 0.4]


def test_a_likely_colour_has_the_lightness_of_the_place() -> None:
    text = hex_colour(60, 20, 30)
    rgb = np.array([[int(text[at : at + 2], 16) for at in (1, 3, 5)]], np.uint8)
    np.testing.assert_allclose(color.rgb_to_lab(rgb)[0], [60, 20, 30], atol=0.6)


@pytest.mark.parametrize("place", [(0.0, 0.0), (1.0, 1.0), (0.5, 1.0)])
def test_places_at_the_border_are_places(place: tuple[float, float]) -> None:
    assert likely_colours(draws((1, 2)), *place)[1][0].a == 1


def test_drawing_is_the_same_each_time(colorizer: object, model: object, photo: bytes) -> None:
    from tintlab.imaging.photos import read_photo
    from tintlab.studio.models import load
    from tintlab.studio.variants import draw

    loaded = load(str(model))
    lightness = read_photo(photo, 200).lightness()
    sha256 = hashlib.sha256(photo).hexdigest()
    first, second = (draw(loaded, lightness, sha256, 5, 8) for _ in range(2))
    np.testing.assert_array_equal(first.ab, second.ab)
    assert first.ab.shape[0] == 9
