"""An exponential moving average of a generator's weights: calmer colours than any single step's."""

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

_Tensors = tuple[Tensor, ...] | list[Tensor]


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """A copy of `network` that `update_parameters` draws towards it, weights and batch statistics alike.

    Early on it follows faster, by (1 + n) / (10 + n) after n updates: the first weights are soon forgotten.
    """

    def towards(averages: _Tensors, currents: _Tensors, updates: Tensor | int) -> None:
        keep = min(decay, (1 + int(updates)) / (10 + int(updates)))
        for average, current in zip(averages, currents, strict=True):
            if average.is_floating_point():
                # lerp leaves equal values exactly equal: a frozen encoder stays itself.
                average.lerp_(current, 1 - keep)
            else:
                average.copy_(current)

    # All at once: asking a GPU for the number of updates at every weight would stall it hundreds of times.
    return AveragedModel(network, multi_avg_fn=towards, use_buffers=True).eval()
