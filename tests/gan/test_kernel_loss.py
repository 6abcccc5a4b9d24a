import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import polynomial_kernel

from tintlab.evaluation import metrics
from tintlab.gan.kernel_loss import KernelLoss, kernel_distance


def features(count: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.rand(count, 24, generator=torch.Generator().manual_seed(seed)) + shift


def test_the_distance_is_the_one_that_judges_models() -> None:
    one, other = features(30, 0, 0.1), features(30, 1)
    expected = metrics.kernel_distance(metrics.kernel_terms(one.double().numpy(), other.double().numpy()))[0]
    assert kernel_distance(one, other) == pytest.approx(expected, rel=1e-9)
    assert kernel_distance(one[:1], other[:1]) == 0


def test_the_loss_is_the_discrepancy_to_what_is_remembered() -> None:
    loss = KernelLoss(24, kept=64)
    seen, wanted, before, true_before = (features(10, seed, 0.05 * seed) for seed in range(4))
    assert float(loss(seen, wanted)) == 0
    loss.remember(before, true_before)

    def mean(left: torch.Tensor, right: torch.Tensor) -> float:
        return float(np.mean(polynomial_kernel(left, right, degree=3, gamma=1 / 24, coef0=1)))

    expected = mean(seen, before) - mean(seen, true_before) + mean(wanted, true_before) - mean(wanted, before)
    assert float(loss(seen, wanted)) == pytest.approx(expected, abs=1e-5)


def test_only_the_last_pictures_are_remembered() -> None:
    loss, fresh = KernelLoss(24, kept=8), KernelLoss(24, kept=8)
    for seed in range(5):
        loss.remember(features(4, seed, 0.1), features(4, seed + 50))
    for seed in (3, 4):
        fresh.remember(features(4, seed, 0.1), features(4, seed + 50))
    assert float(loss(features(3, 9), features(3, 8))) == pytest.approx(
        float(fresh(features(3, 9), features(3, 8))), abs=1e-6
    )


def test_its_gradients_bring_the_sets_together() -> None:
    """Remembering comes before the gradients are taken, as in training."""
    loss = KernelLoss(24, kept=64)
    learned = torch.zeros(24, requires_grad=True)
    optimizer = torch.optim.SGD([learned], lr=0.5)
    for step in range(200):
        wanted = features(16, step)
        seen = features(16, step + 1000) + 0.5 + learned
        found = loss(seen, wanted)
        loss.remember(seen, wanted)
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
    assert learned.mean().item() == pytest.approx(-0.5, abs=0.1)
