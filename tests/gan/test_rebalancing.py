import numpy as np
import pytest
import torch

from tintlab.gan.rebalancing import colour_weights, weights_of


def squares() -> np.ndarray:
    """Nine of ten pixels grey, one of ten red (a* = 60, b* = 40)."""
    grid = np.full((6, 20, 20, 3), 128, np.uint8)
    grid[:, :, ::10, 1:] = [188, 168]
    return grid


def test_rare_colours_weigh_more_and_the_mean_is_one() -> None:
    ab = torch.zeros(1, 2, 20, 20)
    ab[:, 0, :, ::10], ab[:, 1, :, ::10] = 60 / 110, 40 / 110
    means = []
    for power in (0.25, 1.0):
        table = colour_weights(squares(), power)
        assert table is not None
        weights = weights_of(table, ab)
        assert weights.shape == (1, 1, 20, 20)
        means.append(float(weights[0, 0, 0, 0] / weights[0, 0, 0, 1]))
    # ((1 - u) * p + u / 313) ** -power for both colours; sub-sampling every fourth pixel keeps one of five red
    assert 1 < means[0] < means[1]
    assert means[0] == pytest.approx(means[1] ** 0.25, rel=1e-4)


def test_the_mean_weight_of_what_was_counted_is_one() -> None:
    random = np.random.default_rng(0)
    grid = random.integers(80, 180, (30, 16, 16, 3)).astype(np.uint8)
    table = colour_weights(grid, 0.5)
    assert table is not None
    ab = (torch.from_numpy(grid[:, ::4, ::4, 1:].astype(np.float32)).permute(0, 3, 1, 2) - 128) / 110
    assert float(weights_of(table, ab).mean()) == pytest.approx(1, rel=1e-3)


def test_no_power_is_no_table() -> None:
    assert colour_weights(squares(), 0) is None
