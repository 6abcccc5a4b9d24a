"""Train on several devices: one process for each takes the same step on its share of the global batch."""

import os
from typing import Any, cast

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn

from tintlab.system.errors import TintlabError


def is_first_process() -> bool:
    """Whether this is the process of a training that writes and reports: the only one, or the first."""
    return os.environ.get("RANK", "0") == "0"


def launched_fabric(device: str, precision: str = "auto") -> Fabric:
    """Set up device and precision of this process; with WORLD_SIZE, which `torchrun` sets, one of several.

    Raises:
        TintlabError: there is no such device.
    """
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    mixed = precision == "bf16" or (precision == "auto" and cuda)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    try:
        fabric = Fabric(
            accelerator=device,
            devices=local,
            num_nodes=world // local,
            # Each phase of the training uses other parameters; batch statistics are kept equal below.
            strategy=DDPStrategy(find_unused_parameters=True, forward_sync_buffers=False)
            if world > 1
            else "auto",
            precision="bf16-mixed" if mixed else "32-true",
        )
        fabric.launch()
    except RuntimeError as error:
        raise TintlabError(
            f"train.device is {device!r}, and torch finds no such device here: set it to auto or cpu"
        ) from error
    return fabric


def of_all_processes(values: Tensor) -> Tensor:
    """Collect a vector from each process: `(processes, n)`; `(1, n)` if there is only one."""
    if not dist.is_initialized():
        return values[None]
    gathered = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, values)
    return torch.stack(gathered)


class _Sum(torch.autograd.Function):
    """The sum over all processes, through which gradients flow."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch norm by the statistics of the global batch, on any device (torch's own works only on GPUs)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(n, channels, h, w)`; all processes must have equal shapes."""
        if not self.training:
            return super().forward(x)
        moments = torch.stack([x.mean(dim=(0, 2, 3)), x.square().mean(dim=(0, 2, 3))])
        summed = cast(Tensor, _Sum.apply(moments))  # type: ignore[no-untyped-call]
        mean, square = summed.div(dist.get_world_size()).unbind()
        variance = square - mean.square()
        count = x.numel() / x.shape[1] * dist.get_world_size()
        with torch.no_grad():
            self.running_mean.lerp_(mean, cast(float, self.momentum))  # type: ignore[union-attr]
            self.running_var.lerp_(variance * (count / (count - 1)), cast(float, self.momentum))  # type: ignore[union-attr]
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


def with_global_batches(network: nn.Module) -> nn.Module:
    """Make all batch norms of a network use the global batch, in place; returns the network."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            # Parameters and buffers stay; only `forward` changes.
            module.__class__ = GlobalBatchNorm2d
    return network
