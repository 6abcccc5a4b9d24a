"""A palette moves colours towards its mean and covariance, within limits; hints keep their colours."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tintlab.gan.hint_maps import palette_vector
from tintlab.inference.hints import Hint
from tintlab.inference.palettes import Palette, find_move, follow


def cloud(mean: tuple[float, float], spread: tuple[float, float], seed: int = 0) -> np.ndarray:
    """Colours ab `(50, 60, 2)`."""
    drawn = np.random.default_rng(seed).normal(size=(50, 60, 2))
    return (drawn * spread + mean).astype(np.float32)


def test_statistics_are_those_of_the_colours() -> None:
    colours = cloud((12, -7), (14, 9))
    mean, covariance = Palette(palette_vector(colours)).statistics()
    flat = colours.reshape(-1, 2)
    np.testing.assert_allclose(mean, flat.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(covariance, np.cov(flat.T), atol=15)


def test_the_whole_way_is_to_the_palettes_mean_and_covariance() -> None:
    wanted = cloud((15, 5), (12, 8), 1)
    moved = find_move(cloud((0, 0), (8, 8)), Palette(palette_vector(wanted), 1.0)).apply(
        cloud((0, 0), (8, 8))
    )
    np.testing.assert_allclose(moved.mean(axis=(0, 1)), [15, 5], atol=0.5)
    np.testing.assert_allclose(np.cov(moved.reshape(-1, 2).T), np.cov(wanted.reshape(-1, 2).T), atol=18)


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_the_mean_goes_a_share_of_the_way(strength: float) -> None:
    colours = cloud((0, 0), (8, 8))
    moved = find_move(colours, Palette(palette_vector(cloud((20, 0), (8, 8))), strength)).apply(colours)
    np.testing.assert_allclose(moved.mean(axis=(0, 1)), [20 * strength, 0], atol=0.3)


def test_colours_move_within_limits() -> None:
    far = Palette(palette_vector(cloud((80, 80), (1, 1))), 1.0)
    for colours in (cloud((-60, -60), (30, 30)), np.zeros((5, 5, 2), np.float32)):
        move = find_move(colours, far)
        assert np.hypot(*(move.apply(colours) - colours).mean(axis=(0, 1))) <= 30.01
        assert np.linalg.eigvalsh(move.matrix).min() >= 0.5 - 1e-9
        assert np.linalg.eigvalsh(move.matrix).max() <= 2 + 1e-9


@pytest.mark.parametrize(("shift", "expected"), [((0.0, 0.0), 0.0), ((9.0, 0.0), 9 * 2 / np.pi)])
def test_the_distance_of_shifted_colours(shift: tuple[float, float], expected: float) -> None:
    # A shift by d is d |cos| in a direction, and the mean of |cos| is 2 / pi.
    found = Palette(palette_vector(cloud((0, 0), (25, 20)))).distance(cloud(shift, (25, 20)))
    assert found == pytest.approx(expected, abs=0.6)


def test_a_generator_that_turns_away_is_not_given_the_palette() -> None:
    rng = np.random.default_rng(0)
    two = np.concatenate([cloud((20, 20), (3, 3)), cloud((-20, -20), (3, 3))])
    answers = {True: cloud((-50, 40), (2, 2)), False: two * np.float32(0.7)}
    palette = Palette(palette_vector(two))
    ab, move, given = follow(lambda each: answers[each is not None], palette)
    assert given is None and ab is answers[False]
    assert palette.distance(move.apply(ab)) < palette.distance(ab)
    answers = {True: two, False: rng.normal(size=(50, 60, 2)).astype(np.float32)}
    assert follow(lambda each: answers[each is not None], palette)[2] is palette


@given(st.floats(-60, 60), st.floats(-60, 60), st.floats(0, 1), st.floats(0.5, 2))
def test_a_hint_keeps_its_colour(a: float, b: float, strength: float, factor: float) -> None:
    move = find_move(cloud((3, 1), (8, 5)), Palette(palette_vector(cloud((9, 9), (9, 4))), strength), factor)
    before = move.undo(Hint(0.1, 0.2, a, b, 0.05))
    assert (before.x, before.y, before.radius) == (0.1, 0.2, 0.05)
    if max(abs(before.a), abs(before.b)) < 128:
        found = move.apply(np.array([[[before.a, before.b]]], np.float32))
        np.testing.assert_allclose(found[0, 0], [a, b], atol=1e-2)
