"""A loss that compares coloured pictures with photographs as sets, by the encoder's features.

L1 and the perceptual loss compare each picture with its own truth. So both prefer muted colours where the
truth is uncertain, and a set of muted pictures does not look like a set of photographs. This loss is the
squared maximum mean discrepancy of the two sets (generative moment matching; Li et al. 2015, arXiv
1502.02761). It works on the encoder's pooled features, with the kernel of Bińkowski et al. 2018 (arXiv
1801.01401). A single batch is too small a set, so each batch is compared with the pictures before it.
"""

import torch
from torch import Tensor, nn

_KEPT = 128


def kernel(first: Tensor, second: Tensor) -> Tensor:
    """k(x, y) = (x·y / d + 1)³ of the rows of `(n, d)` and `(m, d)`: `(n, m)`."""
    return (first @ second.T / first.shape[1] + 1) ** 3


def kernel_distance(features: Tensor, true: Tensor) -> float:
    """The discrepancy of two paired sets `(n, d)`, unbiased as in `evaluation.metrics`; 0 for one picture."""
    count = len(features)
    if count < 2:
        return 0.0
    features, true = features.double(), true.double()
    across = kernel(features, true)
    terms = kernel(features, features) + kernel(true, true) - across - across.T
    return float((terms.sum() - terms.diagonal().sum()) / (count * (count - 1)))


class KernelLoss(nn.Module):
    """The discrepancy between a batch and the most recent pictures before it.

    Args:
        features: their number, d.
        kept: how many pictures are remembered.
    """

    count: Tensor
    seen: Tensor
    wanted: Tensor

    def __init__(self, features: int, kept: int = _KEPT) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seen", torch.zeros(kept, features))
        self.register_buffer("wanted", torch.zeros(kept, features))

    def forward(self, seen: Tensor, wanted: Tensor) -> Tensor:
        """The loss, a scalar: features of coloured `(n, d)` and true pictures. 0 while nothing is remembered."""
        known = min(int(self.count), len(self.seen))
        if not known:
            return seen.sum() * 0
        # Copies, because `remember` writes in place before the gradients are computed.
        before, true_before = self.seen[:known].clone(), self.wanted[:known].clone()
        coloured = kernel(seen, before).mean() - kernel(seen, true_before).mean()
        true = kernel(wanted, true_before).mean() - kernel(wanted, before).mean()
        return coloured + true

    def remember(self, seen: Tensor, wanted: Tensor) -> None:
        """Put the features of a batch in the place of the oldest ones."""
        places = (int(self.count) + torch.arange(len(seen), device=self.seen.device)) % len(self.seen)
        self.seen[places] = seen.detach()
        self.wanted[places] = wanted.detach()
        self.count += len(seen)
