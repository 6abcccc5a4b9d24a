"""An exponential moving average of a generator's weights: calmer colours than any single step's."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """A copy of `network` that `update_parameters` draws towards it, weights and batch statistics alike.

    Early on it follows faster, by (1 + n) / (10 + n) after n updates: the first weights are soon forgotten.
    """

    def towards(average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        if not average.is_floating_point():
            return current
        keep = min(decay, (1 + int(updates)) / (10 + int(updates)))
        # lerp leaves equal values exactly equal: a frozen encoder stays itself.
        return torch.lerp(average, current, 1 - keep)

    return AveragedModel(network, avg_fn=towards, use_buffers=True).eval()
