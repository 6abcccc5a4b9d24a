import numpy as np
import torch

from tintlab.gan.hint_simulation import (
    draw_count,
    draw_region,
    paint_region,
    simulate_guidance,
    simulate_hints,
    turn_colours,
)


def test_a_hint_has_the_mean_colour_of_its_disc() -> None:
    random = np.random.default_rng(0)
    ab = random.uniform(-0.5, 0.5, (2, 40, 60)).astype(np.float32)
    hint_map = simulate_hints(ab, 1, random)
    inside = hint_map[2] == 1
    assert inside.any()
    assert not hint_map[:2, ~inside].any()
    for plane, true in zip(hint_map[:2], ab, strict=True):
        np.testing.assert_allclose(plane[inside], true[inside].mean(), atol=1e-6)


def test_most_pictures_get_few_hints_and_some_get_many() -> None:
    random = np.random.default_rng(1)
    counts = np.array([draw_count(random) for _ in range(4000)])
    assert counts.min() == 1
    assert counts.max() == 64
    assert 0.2 < (counts <= 3).mean() < 0.5
    assert 0.1 < (counts > 20).mean() < 0.35


def test_turning_keeps_greys_and_chroma() -> None:
    ab = np.random.default_rng(2).uniform(-0.3, 0.3, (2, 5, 5)).astype(np.float32)
    ab[:, 0] = 0
    turned = turn_colours(ab, 1.2, 1.5)
    assert not turned[:, 0].any()
    np.testing.assert_allclose(np.hypot(*turned), 1.5 * np.hypot(*ab), rtol=1e-5)
    back = turn_colours(turned, -1.2, 1 / 1.5)
    np.testing.assert_allclose(back, ab, atol=1e-6)


def test_guidance_depends_on_the_seed_alone_and_fits_its_targets() -> None:
    ab = torch.rand(200, 2, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    one, again, other = (simulate_guidance(ab[:, :1], ab, seed) for seed in ([0, 5], [0, 5], [0, 6]))
    assert all(torch.equal(left, right) for left, right in zip(one, again, strict=True))
    assert not torch.equal(one.hints, other.hints)
    has_hints, has_palette = one.hints[:, 2].flatten(1).any(1), one.palettes.any(1)
    assert (has_hints | has_palette).all()
    assert 0.75 < has_hints.float().mean() < 0.95
    assert 0.25 < has_palette.float().mean() < 0.45
    changed = (one.ab != ab).flatten(1).any(1)
    assert 0.3 < changed.float().mean() < 0.6
    assert not changed[~has_hints].any()


def halves() -> tuple[np.ndarray, np.ndarray]:
    """L / 50 - 1 of a picture whose left half is dark, and ab / 110, grey."""
    light = np.where(np.arange(40) < 16, -0.6, 0.3) * np.ones((32, 1))
    return light.astype(np.float32), np.zeros((2, 32, 40), np.float32)


def test_a_region_is_one_of_the_things_and_not_the_other() -> None:
    light, ab = halves()
    found = [draw_region(light, ab, np.random.default_rng(seed)) for seed in range(20)]
    regions = [region for region in found if region is not None]
    assert sum(region[:, :14].all() for region in regions) > 10
    # The right part is more than half of the picture, too much for a region.
    assert not any(region[:, 20:].any() for region in regions)


def test_a_picture_of_one_thing_has_no_region() -> None:
    light = np.zeros((32, 40), np.float32)
    assert draw_region(light, np.zeros((2, 32, 40), np.float32), np.random.default_rng(0)) is None


def test_paint_colours_even_grey_things_and_nothing_else() -> None:
    light, ab = halves()
    region = np.zeros(light.shape, bool)
    region[4:20, 2:12] = True
    for seed in range(10):
        random = np.random.default_rng(seed)
        painted = paint_region(light, ab, region, random)
        assert np.hypot(*painted[:, region]).min() > 0.05
        assert not painted[:, ~region].any()
        hint_map = simulate_hints(painted, 1, random, region)
        hinted = hint_map[2] == 1
        assert hinted.any()
        assert not (hinted & ~region).any()
        np.testing.assert_allclose(hint_map[:2, hinted], painted[:, hinted], atol=1e-6)
