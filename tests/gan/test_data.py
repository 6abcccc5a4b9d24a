import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tintlab.gan.data import Augmentation, Batches, Mixture, Pool, Squares, centre_crops, scaled
from tintlab.imaging import color


@pytest.fixture
def squares() -> Squares:
    """Ten squares of 24 px; L tells which square it is, a the row, b the column."""
    grid = np.zeros((10, 24, 24, 3), np.uint8)
    grid[..., 0] = 20 * np.arange(10)[:, None, None]
    grid[..., 1] = 100 + np.arange(24)[None, :, None]
    grid[..., 2] = 100 + np.arange(24)[None, None, :]
    return grid


PLAIN = Augmentation(crop=(16, 16))


def which(L: torch.Tensor) -> list[int]:
    return [round((value + 1) * 127.5 / 20) for value in L[:, 0, 0, 0].tolist()]


def test_scaling_matches_the_colour_module(squares: Squares) -> None:
    lab = scaled(squares)
    true = color.dequantise(squares)
    np.testing.assert_allclose(lab.L.numpy()[:, 0], true[..., 0] / 50 - 1, atol=1e-6)
    np.testing.assert_allclose(lab.ab.numpy().transpose(0, 2, 3, 1), true[..., 1:] / 110, atol=1e-6)


def test_every_square_is_seen_once_a_pass_in_fresh_order(squares: Squares) -> None:
    batches = Batches(squares, 16, batch_size=5, iterations=6, seed=3, augmentation=PLAIN)
    seen = [which(batches[iteration].L) for iteration in range(6)]
    passes = [seen[0] + seen[1], seen[2] + seen[3], seen[4] + seen[5]]
    assert all(sorted(one) == list(range(10)) for one in passes)
    assert len({tuple(one) for one in passes}) == 3


def test_batches_larger_than_the_set_cycle_it(squares: Squares) -> None:
    seen = which(Batches(squares, 16, batch_size=25, iterations=1, seed=0, augmentation=PLAIN)[0].L)
    assert sorted(seen[:10]) == sorted(seen[10:20]) == list(range(10))


def test_crops_move_and_half_are_mirrored(squares: Squares) -> None:
    batches = Batches(squares, 16, batch_size=10, iterations=60, seed=1, augmentation=PLAIN)
    ab = torch.cat([batches[iteration].ab for iteration in range(60)]) * 110 + 28
    tops = ab[:, 0, 0, 0].round().int()
    mirrored = ab[:, 1, 0, 0] > ab[:, 1, 0, -1]
    assert set(tops.tolist()) == set(range(9))  # 24 - 16 + 1 places
    assert 0.4 < mirrored.float().mean() < 0.6


def test_a_batch_depends_on_seed_and_number_alone(squares: Squares) -> None:
    batches = Batches(squares, 16, batch_size=4, iterations=9, seed=7, augmentation=PLAIN)
    direct = batches[5]
    for workers in (0, 2):
        loaded = list(DataLoader(batches, batch_size=None, sampler=range(3, 9), num_workers=workers))
        assert torch.equal(loaded[2].L, direct.L)
        assert torch.equal(loaded[2].ab, direct.ab)
    other = Batches(squares, 16, batch_size=4, iterations=9, seed=8, augmentation=PLAIN)[5]
    assert not torch.equal(other.ab, direct.ab)


def test_centre_crops_are_centred(squares: Squares) -> None:
    middle = centre_crops(squares, 16)
    assert middle.shape == (10, 16, 16, 3)
    assert middle[0, 0, 0].tolist() == [0, 104, 104]


def test_crops_of_another_size_are_resampled_not_cut(squares: Squares) -> None:
    """A crop of 24 px at 16 px: a step of 1.5 rows a pixel."""
    whole = Augmentation(crop=(24, 24))
    batch = Batches(squares, 16, batch_size=10, iterations=1, seed=0, augmentation=whole)[0]
    rows = (batch.ab[:, 0] * 110 + 28)[:, :, 0]
    assert batch.L.shape == (10, 1, 16, 16)
    assert (rows[:, 8] - rows[:, 4]).numpy() == pytest.approx(6, abs=1)
    sides = Augmentation(crop=(12, 24))
    spans = {
        round(float((batch.ab[place, 0, -1, 0] - batch.ab[place, 0, 0, 0]) * 110))
        for iteration in range(8)
        for batch in [
            Batches(squares, 16, batch_size=10, iterations=8, seed=0, augmentation=sides)[iteration]
        ]
        for place in range(10)
    }
    assert min(spans) <= 12
    assert max(spans) >= 21


def test_contrast_and_brightness_change_L_in_bounds_and_never_ab() -> None:
    grey = np.full((1, 16, 16, 3), [191, 128, 140], np.uint8)  # L* 74.9
    augmentation = Augmentation(crop=(16, 16), contrast=0.2, brightness=4)
    batches = Batches(grey, 16, batch_size=4, iterations=100, seed=0, augmentation=augmentation)
    lightness = torch.cat([batches[iteration].L[:, 0, 0, 0] for iteration in range(100)]) * 50 + 50
    low, high = 50 + 24.9 * 0.8 - 4, 50 + 24.9 * 1.2 + 4
    assert low <= lightness.min() < low + 1.5
    assert high - 1.5 < lightness.max() <= high
    assert all(torch.allclose(batches[i].ab[:, 1], torch.tensor(12 / 110)) for i in range(3))


@pytest.mark.parametrize("rehearsed", [0, 1, 3])
def test_a_mixture_keeps_its_share_and_takes_each_square_once(squares: Squares, rehearsed: int) -> None:
    focus, others = np.array([1, 4, 7, 8]), np.array([0, 2, 9])
    mixture = Mixture(focus, others, rehearsed)
    batches = Batches(squares, 16, batch_size=4, iterations=12, seed=3, augmentation=PLAIN, mixture=mixture)
    learnt, remembered = [], []
    for iteration in range(12):
        seen = which(batches[iteration].L)
        learnt += seen[: 4 - rehearsed]
        remembered += seen[4 - rehearsed :]
        assert set(seen[: 4 - rehearsed]) <= set(focus.tolist())
    assert np.bincount(learnt, minlength=10)[focus].tolist() == [3 * (4 - rehearsed)] * 4
    assert len(remembered) == 12 * rehearsed
    if rehearsed:
        assert np.bincount(remembered, minlength=10)[others].tolist() == [4 * rehearsed] * 3


def test_a_mixture_of_all_is_none(squares: Squares) -> None:
    everything = Mixture(np.arange(10), np.arange(0))
    plain, mixed = (Batches(squares, 16, 5, 4, 3, PLAIN, mixture) for mixture in (None, everything))
    for iteration in range(4):
        assert torch.equal(plain[iteration].L, mixed[iteration].L)
        assert torch.equal(plain[iteration].ab, mixed[iteration].ab)


@pytest.mark.parametrize(("power", "shares"), [(1, (8, 2)), (0.5, (4, 2)), (0, (2, 2))])
def test_a_power_draws_large_categories_less(squares: Squares, power: float, shares: tuple[int, int]) -> None:
    every = np.arange(10)
    mixture = Mixture(every, every[:0], categories=(every >= 8).astype(np.int64), power=power)
    total = sum(shares)
    pool = Pool(every, mixture, seed=1, stream=0)
    passes = [pool.take(turn * total, total) for turn in range(8)]
    for one in passes:
        assert (sum(place < 8 for place in one), sum(place >= 8 for place in one)) == shares
    drawn = np.bincount(np.concatenate(passes), minlength=10)
    # Each category goes through all its squares before it repeats one.
    assert drawn[:8].max() - drawn[:8].min() <= 1
    assert drawn[8:].tolist() == [8, 8]
    assert pool.take(3, 5) == [*passes[0], *passes[1]][3:8]
